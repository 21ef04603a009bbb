"""How much of what comes is sorted: all, or less while the machine is too hot.

What waits for the loop, as files do, comes slower. What moves on a belt waits for nobody: some things are recorded as
not sorted and go the way of what must be reviewed; no ejector of a class ever fires for them.
"""

from typing import Callable

LONGEST_REST_S = 10.0


class Intake:
    """The loop asks about each item."""

    def __init__(self, moving: bool = False, share: Callable[[], float] = lambda: 1.0,
                 why: Callable[[], str] = lambda: ""):
        """share: 1 to 0, of what comes; why: for the records of what is left out."""
        self._moving, self._share, self._why = moving, share, why
        self._credit = 0.0

    def refuses(self) -> str:
        """Why the next thing on a moving belt is not to be classified; empty: it is."""
        share = self._share()
        if not self._moving or share >= 1:
            return ""
        self._credit += share
        if self._credit >= 1:
            self._credit -= 1
            return ""
        return "too hot, not classified: {}".format(self._why())

    @property
    def is_stopped(self) -> bool:
        """Whether what can wait has to."""
        return not self._moving and self._share() <= 0

    def rest_s(self, busy_s: float) -> float:
        """How long to rest after so much work on something that can wait."""
        share = self._share()
        return 0.0 if self._moving or not 0 < share < 1 else min(LONGEST_REST_S, busy_s * (1 / share - 1))
