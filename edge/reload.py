"""Settings read anew while a belt is sorted: checked beside the loop, taken by it between two items."""

import threading
from typing import Any, Callable, List, NamedTuple, Optional, Union

from edge.bundles import Bundle
from edge.decision import Decider
from edge.errors import ScrapsortError
from edge.settings import SECTIONS, Settings

AT_ONCE = ("decision", "review", "health")  # sections that a running loop can take; the others begin it anew


class Asked(NamedTuple):
    """What a run is asked to do: settings checked as far as can be without opening anything."""

    settings: Settings
    state: str
    bundle: Bundle
    decider: Decider


def differences(now: Asked, new: Asked) -> List[str]:
    """What new changes, as section.key; model.bundle also when another bundle lies there now."""
    found = []
    for section in SECTIONS:
        before, after = getattr(now.settings, section), getattr(new.settings, section)
        found += ["{}.{}".format(section, key) for key in after._fields
                  if getattr(before, key, None) != getattr(after, key)]
    if "model.bundle" not in found and (now.bundle.path, now.bundle.manifest) != (new.bundle.path, new.bundle.manifest):
        found.append("model.bundle")
    return found


def takes_at_once(changed: List[str]) -> bool:
    """Whether a running loop can take these changes between two items."""
    return all(one.partition(".")[0] in AT_ONCE for one in changed)


class Reload:
    """ask from anywhere, look from the loop."""

    def __init__(self, read: Callable[[], Asked]):
        """read: the settings, checked; raises ScrapsortError with the reason why they cannot be used."""
        self._read = read
        self._is_asked = False
        self._thread: Optional[threading.Thread] = None
        self._news: Optional[Union[Asked, ScrapsortError]] = None

    def ask(self) -> None:
        """The settings have changed, somebody says. Safe in a signal's handler."""
        self._is_asked = True

    @property
    def is_busy(self) -> bool:
        """Whether look has anything to do."""
        return self._is_asked or self._thread is not None

    def look(self) -> Optional[Union[Asked, ScrapsortError]]:
        """What was read, once it is; begins to read when that was asked for. Never waits."""
        if self._thread is None:
            if self._is_asked:
                self._is_asked = False
                self._thread = threading.Thread(target=self._work, name="reload", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no memory for it
                    self._thread = None
                    return ScrapsortError("not enough memory to read them")
            return None
        if self._thread.is_alive():
            return None
        self._thread, news, self._news = None, self._news, None
        return news

    def _work(self) -> None:
        try:
            self._news = self._read()
        except ScrapsortError as error:
            self._news = error
        except Exception as error:  # whatever it is, the belt goes on with what it has
            self._news = ScrapsortError("unexpected: {!r}".format(error))


def text_of(error: Any) -> str:
    """An error in one line."""
    return " ".join(str(error).split())
