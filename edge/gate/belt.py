"""The belt's gate: frames in, each thing on the belt out once, when it crosses the line."""

import logging
from typing import List, Optional, Tuple

import cv2
import numpy as np

from edge import settings as settings_module
from edge.frames.base import Frame
from edge.gate import blobs
from edge.gate.background import Background
from edge.gate.clusters import Clusters
from edge.gate.every import Gate
from edge.gate.item import Item
from edge.gate.region import within
from edge.gate.tracks import Crossing, Track, Tracker
from edge.gate.views import Views

log = logging.getLogger("scrapsort")

WORKING_PX = 320  # the belt is watched at about this length; items are cut from the full picture
STUCK_S = 4.0


class BeltGate(Gate):
    """Watches one belt. The first frame says how large its memory must be; all of it is made then."""

    def __init__(self, settings: settings_module.Gate, region: Tuple[int, int, int, int] = (0, 0, 0, 0),
                 exposure_s: float = 0.0):
        """region: x, y, width and height of the belt in pixels of the frame; zeros: all of it. exposure_s: how long the
        shutter is open; 0: not known."""
        self.settings, self.region, self._exposure_s = settings, region, exposure_s
        self._relearned = self._unseen = 0
        self._said_too_seldom = False
        self.mask: Optional[np.ndarray] = None  # of the last frame, for those who want to see it
        self.crossings: List[Crossing] = []  # of the last frame's items, in their order
        self.scale, self._size, self._origin = 1.0, (0, 0), (0, 0)

    def _open(self, height: int, width: int) -> None:
        x, y, w, h = self.region if any(self.region) else (0, 0, width, height)
        upright = self.settings.direction in ("up", "down")
        self._origin, self._size, self._full = (x, y), (h, w), (height, width)
        self.scale = max(1.0, round((h if upright else w) / WORKING_PX))  # whole: areas then average evenly
        small_h, small_w = int(h / self.scale), int(w / self.scale)
        self._small = np.empty((small_h, small_w, 3), np.uint8)
        length = float(small_h if upright else small_w)
        speed = self.settings.belt_speed_mps * self.settings.pixels_per_metre / self.scale
        self.background = Background(small_h, small_w)
        self.tracker = Tracker(length, self.settings.line * length, speed)
        self.crossings, self._unseen, self._said_too_seldom = [], 0, False
        self._clusters = Clusters()
        self._views = Views(self.settings.views, length, self.scale)

    @property
    def watched(self) -> Tuple[int, int, int, int]:
        """x, y, width and height of the belt in the frame that was offered last."""
        return self._origin + self._size[::-1]

    @property
    def speed_mps(self) -> Optional[float]:
        """Of the belt: as given, else as estimated; 0: it stands; None while it is not known."""
        if any(self._size) and self.tracker.moves is False:
            return 0.0
        if self.settings.belt_speed_mps:
            return self.settings.belt_speed_mps
        ppm = self.settings.pixels_per_metre
        return self.tracker.speed * self.scale / ppm if ppm and any(self._size) and self.tracker.speed else None

    @property
    def in_view(self) -> int:
        """Things that are tracked and have not crossed the line."""
        return sum(not track.handed_on for track in self.tracker.tracks) if any(self._size) else 0

    def offer(self, frame: Frame) -> List[Item]:
        """The items that cross the line in this frame; their views live until the next call.

        Raises SettingsError when the region is not inside the frame.
        """
        image = frame.image_bgr
        if image is None:
            return []
        if not any(self._size) or image.shape[:2] != self._full:
            within(image, self.region)
            self._open(image.shape[0], image.shape[1])
        (x, y), (h, w) = self._origin, self._size
        cv2.resize(image[y:y + h, x:x + w], (self._small.shape[1], self._small.shape[0]), dst=self._small,
                   interpolation=cv2.INTER_AREA)
        self.mask = self.background.offer(self._small, frame.captured_mono_s, self._stuck_s(),
                                          self.tracker.moves)
        if self.background.relearned > self._relearned:
            self._relearned = self.background.relearned
            log.warning("belt: the light has changed, or the region is covered; the empty belt is learned anew, and "
                        "what passes in the next two seconds is not counted")
        self.crossings = []
        if self.mask is None:
            return []
        found = blobs.find(self.mask, self._small, self.settings.direction,
                           self.settings.min_area_px / self.scale ** 2)
        crossings = self.tracker.offer(found, frame.captured_mono_s)
        self._warn()
        joined = self._join(crossings, frame.captured_mono_s)
        self.crossings = [crossing for crossing, _ in joined]
        crossed = {crossing.track.number for crossing in self.crossings}
        self._views.keep([t for t in self.tracker.tracks if not t.handed_on or t.number in crossed], image,
                         frame.captured_mono_s, self._origin)
        return [self._item(crossing, several, frame) for crossing, several in joined]

    def _join(self, crossings: List[Crossing], time_s: float) -> List[Tuple[Crossing, bool]]:
        """What crosses, and whether it is several; pieces of one thing are handed on with the first of them."""
        joined = []
        absorbed: List[Track] = []
        crossed = [crossing.track for crossing in crossings]
        for crossing in crossings:
            if crossing.track in absorbed:
                continue
            near = [track for track in self.tracker.tracks if track is not crossing.track and track not in absorbed
                    and track.seen_s == time_s and (not track.handed_on or track in crossed)]
            pieces = self._clusters.pieces(crossing.track, near)
            for piece in pieces:
                piece.handed_on = True
            absorbed += pieces + [crossing.track]
            joined.append((crossing, bool(pieces) or self._clusters.is_one(crossing.track)))
        return joined

    def _warn(self) -> None:
        """Say what cannot be sorted: once that the frames are too few, and of long things at 1, 2, 4, 8 and so on."""
        if self.tracker.unseen >= max(1, 2 * self._unseen):
            self._unseen = self.tracker.unseen
            log.warning("belt: %d things passed that never were whole in view for three frames, and are not sorted; "
                        "show more of the belt, or raise [source] fps", self._unseen)
        if self.tracker.too_seldom and not self._said_too_seldom:
            self._said_too_seldom = True
            log.warning("belt: most things are seen once or twice only: they move farther than their own length from "
                        "frame to frame, and are not counted; raise [source] fps, show more of the belt, or set "
                        "belt_speed_mps and pixels_per_metre")

    def _stuck_s(self) -> float:
        """No item covers one place for so long while the belt moves."""
        speed = self.tracker.speed
        return max(STUCK_S, 1.5 * self.tracker.length / speed) if speed else 2.5 * STUCK_S

    def _item(self, crossing: Crossing, several: bool, frame: Frame) -> Item:
        speed = self.speed_mps  # before it is known, this thing's own is the best there is
        if not speed and self.settings.pixels_per_metre:
            speed = crossing.speed * self.scale / self.settings.pixels_per_metre
        smear_px = crossing.speed * self.scale * self._exposure_s
        views = self._views.take(crossing.track, self.background.belt(), smear_px,
                                 self.settings.direction in ("up", "down"))
        return Item(frame, views, crossing.line_s, speed, several)
