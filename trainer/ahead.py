"""Make items one thread ahead of whoever uses them."""

from __future__ import annotations

import queue
import threading
from typing import Iterable, Iterator, TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], size: int = 4) -> Iterator[T]:
    """The same items, at most size of them waiting; an exception of theirs is raised here."""
    ready: queue.Queue = queue.Queue(maxsize=size)
    gone, end = threading.Event(), object()

    def work() -> None:
        try:
            for item in items:
                ready.put((item, None))
                if gone.is_set():
                    return
            ready.put((end, None))
        except BaseException as error:
            ready.put((end, error))

    threading.Thread(target=work, name="ahead", daemon=True).start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        gone.set()
        while not ready.empty():  # a full queue would keep the thread waiting for ever
            ready.get_nowait()
