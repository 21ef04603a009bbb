"""What the tests of cameras share: a size, videos that are written here, and what takes frames within a time."""

import threading
import time

import cv2
from helpers import LIMIT_S, until
from stream_server import number_in

from edge.settings import Source

SIZE = Source(width=480, height=360)


def write_video(path, pictures, fps=30.0):
    pictures = list(pictures)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps,
                             (pictures[0].shape[1], pictures[0].shape[0]))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return str(path)


def take(frames, count, within_s=LIMIT_S):
    """The next frames of an iterator, within a time."""
    deadline, taken = time.monotonic() + within_s, []
    for frame in frames:
        taken.append(frame)
        assert time.monotonic() < deadline
        if len(taken) == count:
            break
    return taken


class Watching(threading.Thread):
    """Takes frames in a thread; numbers are those in the pictures."""

    def __init__(self, source):
        super().__init__(daemon=True)
        self.source, self.numbers, self.shapes, self.error = source, [], [], None
        self.start()

    def run(self):
        try:
            for frame in self.source:
                self.numbers.append(number_in(frame.image_bgr))
                self.shapes.append(frame.image_bgr.shape[:2])
        except BaseException as error:
            self.error = error

    def more(self, count=5):
        wanted = len(self.numbers) + count
        until(lambda: len(self.numbers) >= wanted or self.error)
        assert self.error is None, self.error

    def end(self):
        self.source.stop.set()
        self.join(LIMIT_S)
        assert not self.is_alive() and self.error is None, self.error
