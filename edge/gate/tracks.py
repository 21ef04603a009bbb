"""From blobs to things that move with the belt: each is handed on once, when its middle crosses the line."""

from collections import deque
from typing import Deque, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edge.gate.blobs import Blob

KEEP_POINTS, FIT_POINTS = 48, 36  # places of a thing that are kept, and the latest of these that a line goes through
FORGET_S = 0.4  # a track that is seen nowhere for so long is gone
LEAST_POINTS = 3  # seen whole at least so often before it counts
LEAST_TRAVEL = 0.04  # share of the view that it must have moved along
STAND_S = 0.3  # over so long a thing is looked at to tell whether the belt stands ...
CREEP_PX = 5.0  # a second: slower, it stands, while the belt's speed is not known
STANDING, MOVING = 0.3, 0.7  # ... below the first share of the belt's speed it does, above the second it moves again
OWED = 16  # things that left the view backwards are remembered, the latest so many
LAST, LEAST_LAST = 20, 6  # of so many things that are gone, from so many on, it is told if most were seen too seldom,
LAST_S = 10.0  # and have been for so long: a hand before the camera is many things, but soon gone
ASTRAY = 0.15  # of the view: what came on so far while it seemed to stand moves, and the belt's speed was wrong
FAR = 0.5  # of its own length in one frame: a thing's own few places are a worse guide than the belt's known speed
REACH, REACH_PX = 0.25, 3.0  # of that step: so near to the place where it should be, a blob may be the thing
GRAIN_PX = 3.0  # the mask is so much longer than the thing, and the camera shakes
ALIKE = 0.15  # an estimated speed is known when those it is from differ by less; one that is given may be as wrong
STEPS = 9  # the time between frames is the median of so many
ASTRAY_SPEED = 0.3  # two places that say another speed than the belt's are not believed
SPEEDS, LEAST_SPEEDS = 9, 3  # the speed is the median of so many crossings, from so many on


class Point(NamedTuple):
    """A track at one time, in pixels of the reduced picture."""

    time_s: float
    middle: float
    whole: bool


class Track:
    """One thing on the belt."""

    def __init__(self, number: int, blob: Blob, time_s: float):
        self.number = number
        self.points: Deque[Point] = deque(maxlen=KEEP_POINTS)
        self.blob = blob
        self.seen_s = time_s
        self.whole_seen = self.merged_seen = 0
        self.handed_on = self.standing = self.watched = False
        self.start = self.stood_at = blob.middle
        self.first, self.sightings, self.longest = blob, 0, 0.0  # pixels, while it was whole
        self.entered = False  # it was not in view before: no part of another, and nothing that crossed before
        self.parted: List[float] = []  # of each time when it was whole, as its blob's, ...
        self.lengths: List[float] = []  # ... and its longer side
        self.add(blob, time_s, False, 0.0)

    def add(self, blob: Blob, time_s: float, merged: bool, speed: float) -> None:
        """The track was seen as blob; merged: together with another track; speed: of the belt, 0 while not known."""
        self.seen_s = time_s
        self.sightings += 1
        self.merged_seen += merged
        if merged:
            return
        self.blob = blob
        self.points.append(Point(time_s, blob.middle, blob.whole))
        self._watch_for_standstill(speed)
        if blob.whole:
            self.whole_seen += 1
            self.longest = max(self.longest, blob.front - blob.back)
            if len(self.parted) < KEEP_POINTS:
                self.parted.append(blob.parted)
                self.lengths.append(max(blob.rectangle[1]) + 1)

    def _watch_for_standstill(self, speed: float) -> None:
        """Forget where it was before and while it stood: a straight line goes through the rest alone."""
        last = self.points[-1]
        before = next((p for p in reversed(self.points) if last.time_s - p.time_s >= STAND_S), None)
        if before is None:
            return
        own = (last.middle - before.middle) / (last.time_s - before.time_s)
        stood, self.watched = self.standing, True
        self.standing = own < ((MOVING if stood else STANDING) * speed if speed else CREEP_PX)
        if self.standing and not stood:
            self.stood_at = last.middle
        if stood or self.standing:
            while last.time_s - self.points[0].time_s > STAND_S:
                self.points.popleft()

    def line(self) -> Optional[Tuple[float, float]]:
        """(speed in pixels a second, position at time 0 of the last point) by least squares over the latest points
        at which it was seen whole; None of fewer than two."""
        latest = [p for p in self.points if p.whole][-FIT_POINTS:]
        if len(latest) < 2 or latest[-1].time_s <= latest[0].time_s:
            return None
        times = np.array([p.time_s - self.points[-1].time_s for p in latest])
        places = np.array([p.middle for p in latest])
        times_mean, places_mean = times.mean(), places.mean()
        spread = ((times - times_mean) ** 2).sum()
        speed = float(((times - times_mean) * (places - places_mean)).sum() / spread)
        return speed, float(np.median(places - speed * times))

    def line_at(self, speed: float) -> Optional[Tuple[float, float]]:
        """As line, of a thing that was seen whole seldom, on a belt of known speed; None: never whole."""
        own = self.line()
        if own is not None and abs(own[0] - speed) <= ASTRAY_SPEED * speed:
            return own
        last_s = self.points[-1].time_s
        places = [p.middle + speed * (last_s - p.time_s) for p in self.points if p.whole]
        return (speed, float(np.median(places))) if places else None

    @property
    def went_back(self) -> bool:
        """Whether it was on its way back to where it came from when it was seen last."""
        return self.points[-1].middle < self.points[0].middle

    def predicted(self, time_s: float, speed: float) -> Tuple[float, float]:
        """(back, front) at time_s, when it moves at speed."""
        moved = speed * (time_s - self.points[-1].time_s)
        return self.blob.back + moved, self.blob.front + moved


class Crossing(NamedTuple):
    """A track that has crossed the line."""

    track: Track
    line_s: float
    speed: float  # pixels a second


class Tracker:
    """Follows what is on the belt. length: pixels of the view along the belt; line: where items are handed on."""

    def __init__(self, length: float, line: float, speed: float = 0.0):
        """speed: pixels a second, where it is known; 0: estimated from what passes."""
        self.length, self._line = length, line
        self._given, self.speed = bool(speed), speed
        self.tracks: List[Track] = []
        self._speeds: Deque[float] = deque(maxlen=SPEEDS)
        self._made = 0
        self._owed: Deque[Track] = deque(maxlen=OWED)
        self._seldom: Deque[bool] = deque(maxlen=LAST)
        self._seldom_since_s: Optional[float] = None
        self.too_seldom = False  # most things are seen once or twice and no more: they move too far between frames
        self._steps_s: Deque[float] = deque(maxlen=STEPS)
        self._last_s: Optional[float] = None
        self._stood = False
        self._before_s: Optional[float] = None  # of the frame before
        self._step = 0.0  # pixels from frame to frame; 0: the speed is not known well
        self.unseen = 0  # things that passed the line but were not seen whole often enough to be handed on

    def offer(self, blobs: Sequence[Blob], time_s: float) -> List[Crossing]:
        """The tracks that have crossed the line with this frame's blobs."""
        self._measure_step(time_s)
        self._match(blobs, time_s)
        self._doubt_speed()
        crossings = []
        for track in self.tracks:
            if not track.handed_on and self._has_crossed(track, time_s):
                crossing = self._crossing(track)
                if crossing is not None:
                    track.handed_on = True
                    crossings.append(crossing)
        crossed = [crossing.track for crossing in crossings]  # they stay until their views are taken
        gone = [track for track in self.tracks if time_s - track.seen_s > FORGET_S and track not in crossed]
        for track in gone:
            self._forget(track)
        self.tracks = [track for track in self.tracks if track not in gone]
        return crossings

    def _measure_step(self, time_s: float) -> None:
        """The median: a camera that was lost for a while is no slow one."""
        if self._last_s is not None and time_s > self._last_s:
            self._steps_s.append(time_s - self._last_s)
        self._before_s, self._last_s = self._last_s, time_s
        # Where things were taken for one another, the speeds that they seem to have differ
        sure = self._given or (self.speed > 0 and max(self._speeds) - min(self._speeds) < ALIKE * self.speed)
        self._step = self.speed * float(np.median(self._steps_s)) if sure and self._steps_s else 0.0

    def _is_far(self, track: Track) -> bool:
        return self._step > FAR * max(track.longest, track.blob.front - track.blob.back)

    def _has_crossed(self, track: Track, time_s: float) -> bool:
        """Seen beyond the line; or, where few frames show it, gone out of the view at the time when it should be."""
        if track.seen_s == time_s:
            return self._middle_at(track, time_s) >= self._line
        line = track.line_at(self.speed) if self._is_seldom(track) else None
        if line is None:
            return False
        middle = line[1] + line[0] * (time_s - track.points[-1].time_s)
        return middle >= self.length and time_s - track.seen_s < 1.5 * self._step / self.speed

    def _needed(self, track: Track) -> int:
        """How often it must have been seen whole: three times, or as often as a thing of its length is sure to be."""
        if not self._step:
            return LEAST_POINTS
        sure = (self.length - 2 - GRAIN_PX - track.longest) / (self._step * (1 + ALIKE))
        return int(min(LEAST_POINTS, max(1.0, sure)))

    def _is_seldom(self, track: Track) -> bool:
        """Whether few frames show it, so that the belt's known speed has to help."""
        return self._is_far(track) or self._needed(track) < LEAST_POINTS

    @property
    def moves(self) -> Optional[bool]:
        """Whether what is seen on the belt, alone and whole, moves; None: nothing is, or not for long enough."""
        latest_s = max([track.seen_s for track in self.tracks], default=0.0)
        seen = [track for track in self.tracks if track.watched and track.whole_seen >= LEAST_POINTS
                and track.points[-1].whole and track.points[-1].time_s == latest_s]
        return not all(track.standing for track in seen) if seen else None

    def _doubt_speed(self) -> None:
        """A hand or a sheet over the belt may pass for things at any speed; beside that all others would seem to stand
        for ever, and what stands says nothing of the speed."""
        # What moves far from frame to frame was taken for the next thing while the speed was not known: no doubt of it
        if self._speeds and any(track.standing and track.points[-1].whole and not self._is_far(track)
                                and track.points[-1].middle - track.stood_at > ASTRAY * self.length
                                for track in self.tracks):
            self._speeds.clear()
            self.speed = 0.0

    def _forget(self, track: Track) -> None:
        """Of what left the view backwards, remember that it did: the belt brings it again, the last one first."""
        if track.went_back and track.blob.back <= 1:
            self._owed.append(track)
        self._seldom.append(track.sightings < LEAST_POINTS and not track.handed_on)
        most = len(self._seldom) >= LEAST_LAST and sum(self._seldom) > 0.5 * len(self._seldom)
        since_s = self._seldom_since_s if most else None
        self._seldom_since_s = track.seen_s if most and since_s is None else since_s
        self.too_seldom = most and track.seen_s - (self._seldom_since_s or track.seen_s) >= LAST_S
        if (not track.handed_on and track.whole_seen < LEAST_POINTS and track.sightings >= LEAST_POINTS
                and track.first.back <= 1 and track.blob.front >= self.length - 1 and not track.went_back):
            self.unseen += 1

    def _begin(self, blob: Blob, time_s: float) -> None:
        """A new track, unless it is one that left backwards and was handed on before."""
        self._made += 1
        track = Track(self._made, blob, time_s)
        track.entered = blob.back <= max(1.0, self._step + REACH_PX)
        if self._owed and blob.back <= 1:
            # What lies on a belt comes back in turn; one that lies elsewhere across it is no longer the same
            last = self._owed.pop()
            shared = min(blob.high, last.blob.high) - max(blob.low, last.blob.low)
            track.handed_on = last.handed_on and shared > 0
        self.tracks.append(track)

    def _match(self, blobs: Sequence[Blob], time_s: float) -> None:
        """Give each blob to the tracks whose expected place it covers; a blob without one is a new track."""
        owners: List[List[Track]] = [[] for _ in blobs]
        stands = self._stands(blobs, time_s)
        for track in self.tracks:
            far = self._is_far(track)
            known = track.line_at(self.speed) if far else None
            speed = 0.0 if far and stands else known[0] if known else self._speed_of(track)
            back, front = track.predicted(time_s, speed)
            best, most = -1, 0.0
            for index, blob in enumerate(blobs):
                across = min(blob.high, track.blob.high) - max(blob.low, track.blob.low)
                along = min(blob.front, front) - max(blob.back, back)
                if across > 0 and along > 0 and along * across > most:
                    best, most = index, along * across
            if best < 0 and far:
                best = self._nearest(track, blobs, back, front)
            if best >= 0:
                owners[best].append(track)
        for blob, owning in zip(blobs, owners):
            if not owning:
                self._begin(blob, time_s)
            kept = self._one_or_apart(owning)
            for track in kept:
                track.add(blob, time_s, len(kept) > 1, self.speed)

    def _nearest(self, track: Track, blobs: Sequence[Blob], back: float, front: float) -> int:
        """The blob whose nearer end is nearest to where the track's should be; -1: none is near."""
        best, least = -1, REACH * self._step + REACH_PX
        for index, blob in enumerate(blobs):
            away = min(abs(blob.front - front), abs(blob.back - back))
            if min(blob.high, track.blob.high) > max(blob.low, track.blob.low) and away < least:
                best, least = index, away
        return best

    def _stands(self, blobs: Sequence[Blob], time_s: float) -> bool:
        """Whether more things lie where they were than where a belt of the known speed would have brought them: at few
        frames a second the next one may come to lie where the last one was."""
        votes = 0
        for track in self.tracks:
            if track.seen_s != self._before_s or not track.blob.whole or not self._is_far(track):
                continue
            own = track.line_at(self.speed) if track.whole_seen > 1 else None
            speed, reach = (own[0], REACH_PX) if own else (self.speed, REACH_PX + REACH * self._step)
            back, front = track.predicted(time_s, speed)
            if front < self.length:
                votes += self._is_at(track, blobs, track.blob.back, track.blob.front, REACH_PX)
                votes -= self._is_at(track, blobs, back, front, reach)
        if votes:
            self._stood = votes > 0
        return self._stood

    def _is_at(self, track: Track, blobs: Sequence[Blob], back: float, front: float, reach: float) -> bool:
        return any(max(abs(blob.back - back), abs(blob.front - front)) < reach
                   and blob.low < track.blob.high and blob.high > track.blob.low for blob in blobs)

    def _one_or_apart(self, tracks: List[Track]) -> List[Track]:
        """Tracks that share a blob: things that were seen whole and apart touch now; the others are parts of one."""
        if len(tracks) < 2:
            return tracks
        apart = [track for track in tracks if track.whole_seen >= self._needed(track)]
        kept = apart or [max(tracks, key=lambda track: (track.blob.area, -track.number))]
        self.tracks = [track for track in self.tracks if track in kept or track not in tracks]
        return kept

    def _middle_at(self, track: Track, time_s: float) -> float:
        """Where its middle is; of one that is seen together with another, where it should be."""
        seldom = self._is_seldom(track)
        line = track.line_at(self.speed) if seldom else track.line()
        if line is None or (track.points[-1].time_s == time_s and (track.blob.whole or not seldom)):
            return track.blob.middle
        return line[1] + line[0] * (time_s - track.points[-1].time_s)

    def _speed_of(self, track: Track) -> float:
        line = track.line()
        return line[0] if line is not None else float(np.median(self._speeds)) if self._speeds else self.speed

    def _crossing(self, track: Track) -> Optional[Crossing]:
        """When the middle crossed, from a straight line through the latest places."""
        needed = self._needed(track)
        seldom = self._is_seldom(track)
        line = track.line_at(self.speed) if seldom else track.line()
        if line is None or track.whole_seen < needed or line[0] <= 0 or track.standing:
            return None
        if self._line - track.start < LEAST_TRAVEL * self.length and not track.entered:
            return None
        speed, place = line
        if not self._given and (not seldom or track.whole_seen > 1):
            self._speeds.append(speed)  # the middle one of the latest: a wrong one changes nothing
            self.speed = float(np.median(self._speeds)) if len(self._speeds) >= LEAST_SPEEDS else 0.0
        return Crossing(track, track.points[-1].time_s + (self._line - place) / speed, speed)
