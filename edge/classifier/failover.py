"""The belt goes on when a backend fails, and takes a better engine as soon as there is one.

One classifier answers. While that computes on a GPU, a second one for the CPU stands by, open and checked, so that a
failure costs milliseconds. What failed is tried again only when its file changes, or by the next run. A thread of its
own opens and checks; the loop's thread only changes over, always between two answers.
"""

import os
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edge import plans, settings
from edge.bundles import Bundle
from edge.classifier.base import Answer, Classifier
from edge.classifier.choose import Candidate, Choice, candidates, once, open_classifier, open_first, why_not
from edge.classifier.onnxruntime import CPU
from edge.clock import Clock
from edge.errors import BackendError
from edge.health import State
from edge.logs import log

CONDITION = "backend"
LOOK_S = 1.0  # between two looks at the folder of the engines
CLOSE_S = 5.0  # a backend that takes longer to close is left as it is
END_S = 30.0  # at the end of a run an engine that is just being opened is waited for: a process cannot end within it


class Opened(NamedTuple):
    """A candidate with its open classifier."""

    candidate: Candidate
    classifier: Classifier


def open_for_run(bundle: Bundle, wishes: settings.Model, state: str, conditions: State,
                 clock: Clock = Clock()) -> Classifier:
    """The classifier of a run: what was asked for by name and nothing else, or one that falls back and up again.

    conditions learns backend, precision and device, now and whenever they change. Raises BackendError or BundleError.
    """
    if wishes.backend == "onnxruntime":
        classifier = open_classifier(bundle, wishes.backend, wishes.precision, state, wishes.cuda_memory)
        conditions.fact(backend=classifier.backend, precision=classifier.precision, device=classifier.device,
                        notes=classifier.notes)
        return classifier
    return Failover(bundle, wishes, state, conditions, clock).open()


class Failover(Classifier):
    """Answers by the best candidate that works; backend, precision, role and device are those of the latest answer.

    The condition `backend` says why nothing better is used; notes are those of the classifier in use.
    """

    def __init__(self, bundle: Bundle, wishes: settings.Model, state: str, conditions: State, clock: Clock = Clock(),
                 watch: bool = True):
        """watch: look every second, in a thread of its own; without it, call look."""
        super().__init__(bundle, next(iter(bundle.files)))
        self._wishes, self._state, self._folder = wishes, state, plans.folder_of(state)
        self._conditions, self._clock = conditions, clock
        self._choice = Choice([], [], [])  # of the latest look
        self._why_not: Dict[Tuple[Any, ...], str] = {}  # of candidates that are not tried again, by key
        self._failures = 0  # of answers
        self._seen: List[Tuple[Any, ...]] = []  # the engines' folder when candidates were looked for
        self._listed: List[Tuple[Any, ...]] = []  # and at the latest look
        self._again = False  # candidates are to be looked for though the folder is the same
        self._refused = ""  # why the plan in use must not be used any more
        self._standby: Optional[Opened] = None
        self._ready: Optional[Opened] = None  # better than what answers; waits for the next item
        self._opening = threading.Lock()  # held while a standby is opened
        self._changing = threading.Lock()  # of what the condition is made from; never held for long
        self._closing: List[Tuple[threading.Thread, str, float]] = []  # and until when each should be done
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="failover", daemon=True) if watch else None

    # ---------------------------------------------------------------- as any classifier

    def open(self) -> "Failover":
        """Open the best there is, and look after the rest in a thread. Raises BackendError or BundleError."""
        self._seen = self._listed = _listing(self._folder)  # first: what is built meanwhile is seen
        self._choice = self._candidates()
        self._golden = self.bundle.golden()
        candidate, classifier, self._why_not = open_first(
            self.bundle, self._wishes.backend, self._wishes.precision, self._choice, self._golden)
        self._active = Opened(candidate, classifier)
        self._said = set(classifier.notes)  # whoever opens a classifier says its notes
        self._is_open = True
        self._tell()
        if self._thread is not None:
            self._thread.start()
        return self

    def classify(self, views: Sequence[np.ndarray]) -> Answer:
        """As Classifier.classify; BackendError only when the last one has failed, too."""
        return self._answer(lambda classifier: classifier.classify(views))

    def classify_resized(self, image_rgb: np.ndarray) -> Answer:
        """As Classifier.classify_resized; BackendError only when the last one has failed, too."""
        return self._answer(lambda classifier: classifier.classify_resized(image_rgb))

    def close(self) -> None:
        """Close all that is open, within bounds; may be called twice."""
        if not self._is_open:
            return
        self._is_open = False
        self._stop.set()
        if self._thread is not None:
            self._thread.join(END_S)
            if self._thread.is_alive():
                log.warning("an engine that is being opened does not come back within %g s; it is left", END_S)
        for opened in (self._active, self._standby, self._ready):
            if opened is not None:
                self._close_aside(opened)
        deadline_s = time.monotonic() + CLOSE_S
        for thread, text, _ in self._closing:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            if thread.is_alive():
                log.warning("%s does not close; it is left", text)

    # ---------------------------------------------------------------- the loop's thread

    def _answer(self, ask: Callable[[Classifier], Answer]) -> Answer:
        """The answer of what works; an item whose backend fails is asked again of the next, none is lost."""
        if not self._is_open:
            raise BackendError("classify before open or after close")
        if self._refused:
            key = self._active.candidate.key
            self._fail_over(BackendError(self._refused))
            self._why_not.pop(key, None)  # its sidecar says so, and may take it back
        if self._ready is not None:
            self._change_over()
        started, lost_ms = time.perf_counter(), 0.0
        while True:
            classifier = self._active.classifier
            classifier.timed = self.timed
            try:
                answer = ask(classifier)
            except BackendError as error:
                self._fail_over(error)
                lost_ms = (time.perf_counter() - started) * 1000
                continue
            self.stages_ms = classifier.stages_ms
            return answer._replace(infer_ms=answer.infer_ms + lost_ms) if lost_ms else answer

    def _fail_over(self, error: BackendError) -> None:
        """Put the standby, or else the next that opens, in the place of what has failed; error when there is none."""
        broken = self._active
        with self._changing:
            self._why_not[broken.candidate.key] = "{} failed: {}".format(broken.candidate.text, error)
            self._failures += 1
            dropped, self._ready = self._ready, None  # it was checked before; on the same GPU, who knows
        if dropped is not None:
            self._close_aside(dropped)
        with self._opening:  # one that is just being opened is waited for
            following, self._standby = self._standby, None
            # The CPU's first: what is wrong with a GPU may be wrong for all on it, or hang
            following = following or self._open_next(sorted(self._choice.usable, key=lambda one: one.device != CPU))
        if following is None:
            raise error
        self._active, self._again, self._refused = following, True, ""
        self._close_aside(broken)
        self._tell()

    def _change_over(self) -> None:
        """Take what is better, between two items."""
        with self._changing:
            ready, self._ready, old = self._ready, None, self._active
        if ready is not None:
            self._active = ready
            log.info("now %s, was %s", ready.candidate.text, old.candidate.text)
            self._tell()
            if not self._stands_by_now(old):
                self._close_aside(old)

    def _stands_by_now(self, old: Opened) -> bool:
        """Have what answered on the CPU stand by, unless another does; never waits."""
        if old.candidate.device != CPU or not self._opening.acquire(blocking=False):
            return False
        try:
            if self._standby is not None:
                return False
            self._standby = old
            return True
        finally:
            self._opening.release()

    def _tell(self) -> None:
        """Say to all who ask what answers now, and why nothing better."""
        with self._changing:
            candidate, classifier = self._active
            self.backend, self.role, self.precision = classifier.backend, classifier.role, classifier.precision
            self.device, self.notes = classifier.device, list(classifier.notes)
            self._conditions.fact(backend=self.backend, precision=self.precision, device=self.device, notes=self.notes)
            troubles = once(self._choice.reasons + [
                self._why_not[one.key] for one in self._choice.usable
                if one.rank < candidate.rank and one.key in self._why_not])
            self._conditions.condition(CONDITION, "; ".join(troubles + ["in use: " + candidate.text])
                                       if troubles else "")
        for note in self.notes:
            if note not in self._said:
                self._said.add(note)
                log.warning("%s", note)

    # ---------------------------------------------------------------- the thread beside it

    def _watch(self) -> None:
        said = ""
        while True:
            try:
                self.look()
            except Exception as error:  # of whatever library: the belt goes on with what it has
                if said != repr(error):
                    log.warning("looking for a better backend failed: %r", error)
                said = repr(error)
            if self._clock.wait(self._stop, LOOK_S):
                return

    def look(self) -> None:
        """One look: has all closed that should, does a standby stand by, is there anything better?"""
        self._look_at_closing()
        if self._active.candidate.device != CPU:
            with self._opening:
                if self._standby is None:
                    self._standby = self._open_next([one for one in self._choice.usable if one.device == CPU])
        listing, before = _listing(self._folder), self._listed
        self._listed = listing
        if self._ready is None and listing == before and (listing != self._seen or self._again):
            self._seen, self._again = listing, False  # the same twice: nobody is just writing there
            self._look_at_the_active()
            self._look_for_better()
            if self._ready is None and not self._refused:  # else it is told with the next item
                self._tell()

    def _look_at_the_active(self) -> None:
        """What `engines verify` has found wrong with the plan in use meanwhile."""
        key = self._active.candidate.key
        self._refused = next((plan.sidecar.refused for plan in plans.find(self._folder)[0]
                              if key[:2] == (plan.path, plan.sidecar.plan_sha256)), "")

    def _look_for_better(self) -> None:
        """Open the best candidate that is better than what answers, and have it wait for the next item."""
        failures = self._failures
        self._choice = self._candidates()
        for candidate in self._choice.usable:
            if candidate.rank >= self._active.candidate.rank or self._stop.is_set():
                return
            opened = None if candidate.key in self._why_not else self._try(candidate)
            if opened is not None:
                with self._changing:
                    if self._failures == failures:
                        self._ready = opened
                        return
                self._close_aside(opened)  # something has failed meanwhile: once more, and checked anew
                self._again = True
                return

    def _candidates(self) -> Choice:
        wishes = self._wishes
        return candidates(self.bundle, wishes.backend, wishes.precision, self._state, wishes.cuda_memory)

    def _open_next(self, those: Sequence[Candidate]) -> Optional[Opened]:
        """The first of those after the one that answers that opens."""
        for candidate in those:
            if candidate.rank > self._active.candidate.rank and candidate.key not in self._why_not:
                opened = self._try(candidate)
                if opened is not None:
                    return opened
        return None

    def _try(self, candidate: Candidate) -> Optional[Opened]:
        try:
            return Opened(candidate, candidate.open(self._golden))
        except Exception as error:  # whatever it raises, it is of no use
            with self._changing:
                self._why_not.update(why_not(candidate, error, self._choice.usable))
            return None

    # ---------------------------------------------------------------- closing what may hang

    def _close_aside(self, opened: Opened) -> None:
        """Close in a thread of its own: what is broken may take its time, or never come back."""
        def close() -> None:
            try:
                opened.classifier.close()
            except Exception as error:
                log.warning("%s does not close well: %s", opened.candidate.text, error)
        thread = threading.Thread(target=close, name="closing", daemon=True)
        thread.start()
        self._closing.append((thread, opened.candidate.text, self._clock.mono_s() + CLOSE_S))

    def _look_at_closing(self) -> None:
        for one in list(self._closing):
            thread, text, until_s = one
            if thread.is_alive() and self._clock.mono_s() < until_s:
                continue
            self._closing.remove(one)
            if thread.is_alive():
                log.warning("%s does not close; its memory stays taken until the run ends", text)


def _listing(folder: str) -> List[Tuple[Any, ...]]:
    """What tells whether anything in the folder of the engines has changed."""
    found = []
    try:
        for entry in os.scandir(folder):
            if entry.name.endswith((".plan", ".json")) and not entry.name.startswith("."):
                status = entry.stat()
                found.append((entry.name, status.st_mtime_ns, status.st_size, status.st_ino))
    except OSError:  # it is not there yet, or something vanished meanwhile: the next look sees more
        return []
    return sorted(found)
