"""drawn: - drawn items without end, one a picture, the same for a seed."""

import threading
import time
from typing import Iterator
from urllib.parse import parse_qsl

import numpy as np

from edge.clock import Clock
from edge.errors import UsageError
from edge.frames.base import Frame
from edge.frames.drawn import MATERIALS, draw_named

MAX_SEED, ITEMS_APART = 10 ** 6, 1000  # drawings of one seed and the next; below the trainer's and the golden ones


class DrawnFrames:
    """Drawn items in random order. The material stands in the frame's source: drawn:glass/17."""

    def __init__(self, seed: int = 0, stop: threading.Event = threading.Event(), clock: Clock = Clock()):
        self.seed, self._stop, self._clock = seed, stop, clock

    @classmethod
    def from_uri(cls, uri: str, stop: threading.Event, clock: Clock) -> "DrawnFrames":
        """drawn: or drawn:?seed=7. Raises UsageError."""
        name, _, query = uri.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        seed = options.pop("seed", "0")
        if name != "drawn:" or options or not seed.isdigit() or int(seed) >= MAX_SEED:
            raise UsageError("source {}: drawn: or drawn:?seed=NUMBER, below {}, is allowed".format(uri, MAX_SEED))
        return cls(int(seed), stop, clock)

    def __iter__(self) -> Iterator[Frame]:
        order = np.random.RandomState(self.seed)
        number = 0
        while not self._stop.is_set():
            material = MATERIALS[order.randint(len(MATERIALS))]
            captured_mono_s, captured_wall_s = self._clock.mono_s(), self._clock.wall_s()
            started = time.perf_counter()
            image_bgr = draw_named(material, (self.seed * ITEMS_APART + number) % (MAX_SEED * ITEMS_APART))
            name = "drawn:{}/{}".format(material, number)
            yield Frame(name, "{}|{}".format(name, self.seed), image_bgr, None, captured_mono_s, captured_wall_s,
                        (time.perf_counter() - started) * 1000)
            number += 1
