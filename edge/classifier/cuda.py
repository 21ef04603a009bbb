"""CUDA through pycuda: one thread that owns the context, and memory that exists before the first picture.

TensorRT works in the primary context, so that is the one retained. Everything that touches CUDA is handed to the owner
thread; whoever hands it over waits for a bounded time, so that a GPU that hangs does not take the belt along.
"""

import threading
from typing import Any, Callable, List, Optional

import numpy as np

from edge.errors import BackendError

OPEN_S = 120.0  # loading CUDA and a plan on a Nano takes seconds; a driver that hangs takes for ever
CLOSE_S = 5.0


class Buffer:
    """Memory that the CPU writes or reads as `host` and the GPU at `address`.

    Kind copy: pinned host memory and device memory, moved by upload and download. Kind mapped: one piece of pinned
    memory that both see, where upload and download do nothing; made for boards whose CPU and GPU share their memory.
    Use it on the owner thread alone, but for `host`.
    """

    def __init__(self, driver: Any, shape: Any, dtype: Any, mapped: bool = False):
        """shape, dtype: of host, which is zeroed. Raises pycuda's MemoryError."""
        self._driver, self.mapped = driver, mapped
        flags = driver.host_alloc_flags.DEVICEMAP if mapped else 0
        self.host: np.ndarray = driver.pagelocked_empty(shape, dtype, mem_flags=flags)
        self.host.fill(0)
        self._allocation: Any = None if mapped else driver.mem_alloc(self.host.nbytes)
        base: Any = self.host.base  # pycuda's, which NumPy's types do not know
        address: Any = base.get_device_pointer() if mapped else self._allocation
        self.address = int(address)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes of the memory, host and device together."""
        return self.host.nbytes * (1 if self.mapped else 2)

    def upload(self, stream: Any) -> None:
        """Queue the copy to the GPU of the whole."""
        if not self.mapped:
            self._driver.memcpy_htod_async(self.address, self.host, stream)

    def upload_first(self, part: np.ndarray, stream: Any) -> None:
        """Queue the copy of part, an array at the beginning of host."""
        if not self.mapped:
            self._driver.memcpy_htod_async(self.address, part, stream)

    def download(self, stream: Any) -> None:
        """Queue the copy from the GPU of the whole; host holds it once the stream is synchronised."""
        if not self.mapped:
            self._driver.memcpy_dtoh_async(self.host, self.address, stream)

    def free(self) -> None:
        """Give the memory back; host must not be used any more."""
        if self._allocation is not None:
            self._allocation.free()
            self._allocation = None
        owner: Any = self.host.base
        self.host = np.empty(0, self.host.dtype)
        owner.free()


class Cuda:
    """The first GPU: its primary context, a stream and buffers, all of one thread's.

    call runs something on that thread; the thread ends with close, and gives everything back there, last things first.
    """

    def __init__(self, mapped: bool = False):
        """mapped: whether buffers are of the kind mapped; refused where CPU and GPU have memory of their own."""
        self.driver: Any = _driver()
        self.mapped = mapped
        self.device: Any = None
        self.stream: Any = None
        self.buffers: List[Buffer] = []  # none is made after open: `allocations` shows it
        self.allocations = 0
        self._context: Any = None
        self._work: Optional[Callable[[], Any]] = None
        self._result: Any = None
        self._error: Optional[BaseException] = None
        self._go, self._done = threading.Lock(), threading.Lock()  # plain locks: waiting on them allocates nothing
        self._go.acquire()
        self._done.acquire()
        self._stuck = ""
        self._thread = threading.Thread(target=self._serve, name="cuda", daemon=True)

    def open(self) -> "Cuda":
        """Start the thread and make context and stream. Raises BackendError."""
        self._thread.start()
        self.call(self._make, OPEN_S, "opening the GPU")
        return self

    def buffer(self, shape: Any, dtype: Any, mapped: Optional[bool] = None) -> Buffer:
        """A new buffer; on the owner thread. mapped: as this Cuda unless given."""
        self.allocations += 1
        self.buffers.append(Buffer(self.driver, shape, dtype, self.mapped if mapped is None else mapped))
        return self.buffers[-1]

    def call(self, work: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """What work() gives, run on the owner thread. One caller at a time.

        Raises BackendError when it fails, does not end in time, or an earlier one did not.
        """
        if self._stuck or not self._thread.is_alive():
            raise BackendError("CUDA: {}".format(self._stuck or "is closed"))
        self._work = work
        self._go.release()
        if not self._done.acquire(timeout=timeout_s):
            self._stuck = "{} did not end within {:g} s".format(what, timeout_s)
            raise BackendError("CUDA: {}".format(self._stuck))
        error, self._error = self._error, None
        if isinstance(error, BackendError):
            raise error
        if error is not None:
            raise BackendError("CUDA: {} failed: {}".format(what, first_line(error)))
        result, self._result = self._result, None
        return result

    def close(self, before: Callable[[], Any] = lambda: None) -> str:
        """Run before(), free buffers and stream, release the context and end the thread; returns what went wrong.

        A thread that hangs in the driver is left behind: it is a daemon, and its memory goes with the process.
        """
        if not self._thread.is_alive() or self._stuck:
            return self._stuck
        try:
            self.call(lambda: self._unmake(before), CLOSE_S, "closing the GPU")
        except BackendError as error:
            self._stuck = str(error)
        if not self._stuck or "did not end" not in self._stuck:
            self._work = None
            self._go.release()
            self._thread.join(CLOSE_S)
        return self._stuck

    def _serve(self) -> None:
        while True:
            self._go.acquire()
            work = self._work
            if work is None:
                return
            try:
                self._result = work()
            except BaseException as error:  # noqa: BLE001  # it belongs to the caller's thread
                self._error = error
            work = self._work = None
            self._done.release()

    def _make(self) -> None:
        self.driver.init()
        if not self.driver.Device.count():
            raise BackendError("CUDA: no GPU found; is the driver loaded, and may this user open /dev/nvhost-gpu or "
                               "/dev/nvidia0?")
        self.device = self.driver.Device(0)
        if self.mapped and not self.device.get_attribute(self.driver.device_attribute.INTEGRATED):
            raise BackendError("[model] cuda_memory = mapped: {} has memory of its own; use copy".format(
                self.device.name()))
        self._context = self.device.retain_primary_context()
        self._context.push()
        self.stream = self.driver.Stream()

    def _unmake(self, before: Callable[[], Any]) -> None:
        """Newest first; a step that fails does not keep the others from being done."""
        troubles: List[str] = []
        steps: List[Callable[[], Any]] = [before] + [buffer.free for buffer in reversed(self.buffers)]
        for step in steps:
            _attempt(step, troubles)
        self.buffers, self.stream = [], None
        if self._context is not None:
            _attempt(self._context.pop, troubles)
            _attempt(self._context.detach, troubles)
            self._context = None
        if troubles:
            raise BackendError("CUDA: closing: {}".format("; ".join(troubles)))


def _attempt(step: Callable[[], Any], troubles: List[str]) -> None:
    try:
        step()
    except Exception as error:  # noqa: BLE001  # pycuda's, TensorRT's
        troubles.append(first_line(error))


def version_text(number: int) -> str:
    """10.2 of 10020, as CUDA writes its versions."""
    return "{}.{}".format(number // 1000, number % 1000 // 10)


def first_line(error: BaseException) -> str:
    """The error in one line, with its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _driver() -> Any:
    try:
        import pycuda.driver
    except ImportError as error:
        raise BackendError("pycuda is not installed ({}); on a Jetson: CUDA_ROOT=/usr/local/cuda "
                           "PATH=$PATH:/usr/local/cuda/bin python3 -m pip install pycuda".format(first_line(error)))
    return pycuda.driver
