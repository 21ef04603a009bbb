"""Gates that look at nothing but the time: each frame is an item, or one every so often."""

from typing import List, Optional

from edge.frames.base import Frame
from edge.gate.item import Item


class Gate:
    """The contract: frames in, in order; items out, each once."""

    @property
    def speed_mps(self) -> Optional[float]:
        """Of the belt as of the last frame; 0: it stands; None: not known."""
        return None

    @property
    def in_view(self) -> int:
        """Things on the belt that are seen and not handed on yet: lost when the run ends now."""
        return 0

    def offer(self, frame: Frame) -> List[Item]:
        """The items that this frame completes; their views live until the next call."""
        raise NotImplementedError


class EveryFrame(Gate):
    """Each frame is one item. A frame that could not be decoded is an item without views."""

    def offer(self, frame: Frame) -> List[Item]:
        """The frame."""
        return [Item(frame, () if frame.image_bgr is None else (frame.image_bgr,))]


class Interval(Gate):
    """A frame every interval_s is an item: for a camera above things that are put there one after the other."""

    def __init__(self, interval_s: float):
        self._interval_s = interval_s
        self._due_s: Optional[float] = None

    def offer(self, frame: Frame) -> List[Item]:
        """The frame, when it is time."""
        now_s = frame.captured_mono_s
        if self._due_s is None:
            self._due_s = now_s
        if now_s < self._due_s or frame.image_bgr is None:
            return []
        self._due_s += self._interval_s
        if self._due_s <= now_s:  # what was missed is not made up for
            self._due_s = now_s + self._interval_s
        return [Item(frame, (frame.image_bgr,))]
