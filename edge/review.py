"""What happens to an item beyond its decision: a person is asked, its picture is kept, it waits in the queue."""

import os
from typing import Callable, Optional, Sequence, Tuple

import cv2

from edge.clock import Clock
from edge.decision import REVIEW
from edge.errors import UsageError
from edge.gate import Item
from edge.journal.record import Override, Record
from edge.journal.review import resolve_class, user_name


class Reviewer:
    """Applies [review]: override asks a person about every item, active_learning keeps what is worth learning."""

    def __init__(self, classes: Sequence[str], override: bool, active_learning: bool,
                 ask: Optional[Callable[[str], str]] = None, show: Callable[[Record], None] = lambda record: None,
                 clock: Clock = Clock()):
        """ask(prompt) returns a line typed at the terminal and raises EOFError at its end; None: no terminal.

        show is called before a question, so that the person sees what it is about.
        """
        self._classes, self._override, self._active_learning = tuple(classes), override, active_learning
        self._ask, self._show, self._clock, self._by = ask, show, clock, user_name()

    def review(self, record: Record, item: Item) -> Record:
        """The record with a person's word, queue reason and kept picture where they apply."""
        if self._override and self._ask is not None:
            class_name = self._ask_person(record)
            if class_name is not None:
                record = record._replace(override=Override(class_name, self._by, self._clock.wall_s()))
        corrected = record.override is not None and record.override.class_name != record.class_name
        if self._override and self._ask is None:
            reason = "asked"  # nobody is there: the item waits, the belt does not
        elif self._active_learning and corrected:
            reason = "override"
        elif self._active_learning and record.decision == REVIEW:
            reason = record.review_reason or "low_confidence"
        else:
            return record
        record = record._replace(queue_reason=reason)
        return _with_picture(record, item) if self._active_learning else record

    def _ask_person(self, record: Record) -> Optional[str]:
        """The class that a person names or confirms, or None when they skip; a typo is asked again."""
        assert self._ask is not None and record.class_name is not None
        self._show(record)
        prompt = "  {}: {} {:.1%} - right? [y]es, [n]o, [s]kip, or the right class: ".format(
            os.path.basename(record.source), record.class_name, record.confidence or 0.0)
        while True:
            try:
                text = self._ask(prompt).strip()
            except EOFError:  # the terminal is gone; from now on items wait in the queue
                self._ask = None
                return None
            word = text.lower()
            if word and "yes".startswith(word) and word not in self._classes:
                return record.class_name
            if word and "skip".startswith(word) and word not in self._classes:
                return None
            if word and "no".startswith(word) and word not in self._classes:
                prompt = "  right class ({}; s to skip): ".format(", ".join(self._classes))
                continue
            try:
                return resolve_class(text, self._classes)
            except UsageError as error:
                prompt = "  {}; once more: ".format(error)


def _with_picture(record: Record, item: Item) -> Record:
    data, suffix = _picture_file(item)
    return record._replace(picture=data, picture_suffix=suffix)


def _picture_file(item: Item) -> Tuple[bytes, str]:
    """The item's picture as a file: the very bytes where there is a file, else a PNG, which loses nothing."""
    if item.frame.data is not None:
        return bytes(item.frame.data), os.path.splitext(item.frame.source)[1].lower()
    view = item.views[len(item.views) // 2]  # of a thing on a belt the one nearest to the middle of its way
    fine, encoded = cv2.imencode(".png", view)
    if not fine:
        raise ValueError("OpenCV cannot encode a picture of shape {}".format(view.shape))
    return encoded.tobytes(), ".png"
