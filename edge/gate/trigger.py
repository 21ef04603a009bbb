"""A photo-eye says when something passes; the first frame after its signal shows it."""

from collections import deque
from typing import Deque, List, Optional, Tuple

from edge.frames.base import Frame
from edge.gate.every import Gate
from edge.gate.item import Item
from edge.gate.region import within

BOUNCE_S = 0.02  # signals closer than that are one
LATE_S = 0.5  # a frame that is later does not show it any more
NO_FRAME = "the photo-eye gave a signal, but no frame came within 0.5 s of it: is the camera well?"


class TriggerGate(Gate):
    """An item for each signal. signal may be called from another thread than offer."""

    def __init__(self, delay_s: float = 0.0, region: Tuple[int, int, int, int] = (0, 0, 0, 0),
                 speed_mps: float = 0.0):
        """delay_s: from the signal until the thing lies in the middle of the picture; region: x, y, width, height in
        pixels of the frame, zeros: all of it; speed_mps: of the belt, 0: not known."""
        self._delay_s, self._region, self._speed_mps = delay_s, region, speed_mps
        self._due_s: Deque[float] = deque()
        self._last_s = float("-inf")

    @property
    def speed_mps(self) -> Optional[float]:
        """As given."""
        return self._speed_mps or None

    def signal(self, mono_s: float) -> None:
        """The photo-eye saw something at that monotonic time."""
        if mono_s - self._last_s >= BOUNCE_S:
            self._due_s.append(mono_s + self._delay_s)
        self._last_s = mono_s

    def offer(self, frame: Frame) -> List[Item]:
        """The things whose moment has come; one whose moment was long before this frame has no view.

        Raises SettingsError when the region is not inside the frame.
        """
        if frame.image_bgr is None:
            return []
        items = []
        while self._due_s and self._due_s[0] <= frame.captured_mono_s:
            due_s = self._due_s.popleft()
            if frame.captured_mono_s - due_s > LATE_S:
                items.append(Item(frame._replace(image_bgr=None, error=NO_FRAME), (), due_s, self.speed_mps))
            else:
                items.append(Item(frame, (within(frame.image_bgr, self._region),), due_s, self.speed_mps))
        return items
