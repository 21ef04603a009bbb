"""What a source hands out, and the thread that decodes one picture ahead of the network."""

import queue
import threading
from typing import Callable, Iterable, Iterator, NamedTuple, Optional

import numpy as np

TICK_S = 1.0  # how often the loop is let know that time passes while no frame is ready


class Frame(NamedTuple):
    """One picture, or the reason why there is none."""

    source: str  # path of the file, or name of the drawing
    key: str  # tells this very picture from others: path, size and time of change
    image_bgr: Optional[np.ndarray]  # (h, w, 3) uint8 BGR; None when error is set
    data: Optional[bytes]  # the picture file as it was read, where there is one
    captured_mono_s: float
    captured_wall_s: float
    decode_ms: float
    error: str = ""


class Prefetch:
    """Iterates over frames in a thread, depth frames ahead, so that decoding overlaps inference.

    stop is what the frames themselves wait on (a watched folder with nothing new): it is set when the loop over this
    object is left early, else the thread would wait for ever. tick is called in the loop's thread while no frame is
    ready.
    """

    def __init__(self, frames: Iterable[Frame], depth: int = 2, stop: Optional[threading.Event] = None,
                 tick: Callable[[], None] = lambda: None):
        self._frames, self._stop_frames, self._tick = frames, stop, tick
        self._ready: queue.Queue = queue.Queue(maxsize=depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        self._thread.start()
        try:
            while True:
                try:
                    frame = self._ready.get(timeout=TICK_S)
                except queue.Empty:
                    self._tick()
                    continue
                if frame is None or isinstance(frame, BaseException):
                    break
                yield frame
        except BaseException:  # GeneratorExit when the loop was left, or a signal
            self.close()
            raise
        self._thread.join()
        if frame is not None:
            raise frame

    def close(self) -> None:
        """Stop the thread; frames that it had ready are dropped."""
        self._stopped.set()
        if self._stop_frames is not None:
            self._stop_frames.set()
        while self._thread.is_alive():
            try:
                self._ready.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)

    def _work(self) -> None:
        try:
            for frame in self._frames:
                self._ready.put(frame)
                if self._stopped.is_set():
                    return
            self._ready.put(None)
        except BaseException as error:  # handed to the loop, which reports it
            self._ready.put(error)
