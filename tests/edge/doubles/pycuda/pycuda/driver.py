"""A double of pycuda.driver, with the names and signatures of the real one that scrapsort uses.

Device memory is memory of its own, reached by address; what is queued on a stream is done when the stream is waited
for, not before; whatever needs a current context fails on a thread that has none. So wiring, order and lifetimes are
exercised. Environment: PYCUDA_DOUBLE_FAULTS names a file whose words are faults that happen from then on (htod, sync,
hang, init, nogpu,
alloc, kernel); PYCUDA_DOUBLE_DEVICE is NAME/CAPABILITY/integrated, such as `NVIDIA Tegra X1/5.3/1`;
PYCUDA_DOUBLE_TWIN is a shared library made of preprocess.cu for the CPU, which runs in the place of a kernel.
"""

import ctypes
import os
import struct
import threading
import time

import numpy as np


class Error(Exception):
    """Base of CUDA's errors."""


class LogicError(Error):
    """A call that cannot be right."""


class MemoryError(Error):  # noqa: A001  # as the real one is called
    """Out of memory."""


class LaunchError(Error):
    """A kernel that failed."""


class RuntimeError(Error):  # noqa: A001  # as the real one is called
    """Something else."""


class device_attribute:  # noqa: N801  # as the real one is called
    """What can be asked of a device."""

    INTEGRATED = "INTEGRATED"
    CAN_MAP_HOST_MEMORY = "CAN_MAP_HOST_MEMORY"


class host_alloc_flags:  # noqa: N801  # as the real one is called
    """Kinds of pinned memory."""

    PORTABLE, DEVICEMAP, WRITECOMBINED = 1, 2, 4


class event_flags:  # noqa: N801  # as the real one is called
    """Kinds of events."""

    DEFAULT, BLOCKING_SYNC, DISABLE_TIMING, INTERPROCESS = 0, 1, 2, 4


_current = threading.local()
_streams = {}
_live = {}  # address: (memory, bytes), of device and mapped memory
counters = {"allocated": 0, "freed": 0, "retained": 0, "released": 0}  # of the double alone: tests look at it


def _faults():
    try:
        with open(os.environ.get("PYCUDA_DOUBLE_FAULTS", "")) as file:
            return file.read().split()
    except OSError:
        return []


def _need_context(what):
    if not getattr(_current, "stack", None):
        raise LogicError("{} failed: invalid device context".format(what))


def init(flags=0):
    """Load the driver."""
    if "init" in _faults():
        raise Error("cuInit failed: no CUDA-capable device is detected")


def get_driver_version():
    """As CUDA writes it."""
    return 10020


def get_version():
    """Of the toolkit it was built with."""
    return (10, 2, 0)


def mem_get_info():
    """Free and total bytes."""
    _need_context("cuMemGetInfo")
    return ((2 << 30) - sum(nbytes for _, nbytes in _live.values()), 4 << 30)


class Context:
    """A context; only the primary one is made here."""

    def push(self):
        """Make it the thread's current one."""
        if not hasattr(_current, "stack"):
            _current.stack = []
        _current.stack.append(self)

    @staticmethod
    def pop():
        """Take the thread's current one off."""
        _need_context("cuCtxPopCurrent")
        _current.stack.pop()

    def detach(self):
        """Release it."""
        counters["released"] += 1

    @staticmethod
    def synchronize():
        """Wait for everything."""
        _need_context("cuCtxSynchronize")
        for stream in list(_streams.values()):
            stream.synchronize()


class Device:
    """A GPU."""

    def __init__(self, number):
        self._name, self._capability, integrated = os.environ.get(
            "PYCUDA_DOUBLE_DEVICE", "NVIDIA Tegra X1/5.3/1").split("/")
        self._integrated = int(integrated)

    @staticmethod
    def count():
        """How many there are."""
        return 0 if "nogpu" in _faults() else 1

    def name(self):
        """Its name."""
        return self._name

    def compute_capability(self):
        """(major, minor)."""
        return tuple(map(int, self._capability.split(".")))

    def get_attribute(self, attr):
        """One of device_attribute."""
        return {device_attribute.INTEGRATED: self._integrated, device_attribute.CAN_MAP_HOST_MEMORY: 1}[attr]

    def total_memory(self):
        """Bytes."""
        return 4 << 30

    def retain_primary_context(self):
        """The context that the runtime and TensorRT share; not current yet."""
        counters["retained"] += 1
        return Context()


class Stream:
    """A queue of work, done when it is waited for."""

    def __init__(self, flags=0):
        _need_context("cuStreamCreate")
        self._waiting = []
        self.handle = id(self)
        _streams[self.handle] = self

    def synchronize(self):
        """Do what is queued."""
        _need_context("cuStreamSynchronize")
        faults = _faults()
        if "hang" in faults:
            time.sleep(3600)
        if "sync" in faults:
            raise LaunchError("cuStreamSynchronize failed: an illegal memory access was encountered")
        while self._waiting:
            self._waiting.pop(0)()


class Event:
    """A point in a stream, with its time."""

    def __init__(self, flags=0):
        _need_context("cuEventCreate")
        self._at_s = None

    def record(self, stream=None):
        """Mark the stream's present end."""
        def mark():
            self._at_s = time.perf_counter()
        stream._waiting.append(mark)
        return self

    def synchronize(self):
        """Wait for it."""
        return self

    def time_till(self, event):
        """Milliseconds."""
        if self._at_s is None or event._at_s is None:
            raise LogicError("cuEventElapsedTime failed: device not ready")
        return (event._at_s - self._at_s) * 1000


class DeviceAllocation:
    """Memory of the GPU."""

    def __init__(self, bytes_):
        self._memory = ctypes.create_string_buffer(bytes_)
        self._address = ctypes.addressof(self._memory)
        _live[self._address] = (self._memory, bytes_)
        counters["allocated"] += 1

    def __int__(self):
        return self._address

    __index__ = __int__

    def free(self):
        """Give it back."""
        _need_context("cuMemFree")
        if _live.pop(self._address, None) is None:
            raise LogicError("cuMemFree failed: invalid argument")
        counters["freed"] += 1


def mem_alloc(bytes):  # noqa: A002  # as the real one is called
    """Memory of the GPU."""
    _need_context("cuMemAlloc")
    if "alloc" in _faults():
        raise MemoryError("cuMemAlloc failed: out of memory")
    return DeviceAllocation(bytes)


class PagelockedHostAllocation:
    """The owner of pinned memory: the base of the array that pagelocked_empty makes."""

    def __init__(self, shape, dtype, mapped):
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._memory = ctypes.create_string_buffer(nbytes)
        self._address = ctypes.addressof(self._memory)
        self.__array_interface__ = {"shape": tuple(np.atleast_1d(shape)), "typestr": np.dtype(dtype).str,
                                    "data": (self._address, False), "version": 3}
        if mapped:
            _live[self._address] = (self._memory, nbytes)
        counters["allocated"] += 1

    def get_device_pointer(self):
        """Where the GPU sees it."""
        return self._address

    def free(self):
        """Give it back."""
        _need_context("cuMemFreeHost")
        _live.pop(self._address, None)
        counters["freed"] += 1


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    """An array in pinned memory."""
    _need_context("cuMemHostAlloc")
    owner = PagelockedHostAllocation(shape, dtype, mem_flags & host_alloc_flags.DEVICEMAP)
    array = np.asarray(owner)
    assert array.base is owner
    return array


def _check(address, nbytes, what):
    """An address may be inside an allocation."""
    for start, (_, size) in _live.items():
        if start <= address and address + nbytes <= start + size:
            return
    raise LogicError("{} failed: invalid argument".format(what))


def memcpy_htod_async(dest, src, stream=None):
    """Queue a copy to the GPU."""
    _need_context("cuMemcpyHtoDAsync")
    if "htod" in _faults():
        raise LogicError("cuMemcpyHtoDAsync failed: an illegal memory access was encountered")
    if not src.flags["C_CONTIGUOUS"]:
        raise ValueError("ndarray is not contiguous")
    address = int(dest)
    _check(address, src.nbytes, "cuMemcpyHtoDAsync")
    stream._waiting.append(lambda: ctypes.memmove(address, src.ctypes.data, src.nbytes))


def memcpy_dtoh_async(dest, src, stream=None):
    """Queue a copy from the GPU."""
    _need_context("cuMemcpyDtoHAsync")
    address = int(src)
    _check(address, dest.nbytes, "cuMemcpyDtoHAsync")
    stream._waiting.append(lambda: ctypes.memmove(dest.ctypes.data, address, dest.nbytes))


def queue(stream_handle, work):
    """Of the double alone: TensorRT's double puts its inferences into a stream by its handle."""
    _streams[stream_handle]._waiting.append(work)


def memory_at(address, shape, dtype):
    """Of the double alone: the array that lies at an address of the GPU."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    _check(address, nbytes, "access")
    return np.frombuffer((ctypes.c_char * nbytes).from_address(address), dtype).reshape(shape)


class Function:
    """A kernel of a module, run when the stream is waited for."""

    def __init__(self, run):
        self._run, self._format = run, None

    def prepare(self, arg_types, texrefs=()):
        """Tell the types of the arguments, as struct has them."""
        _need_context("cuFuncSetAttribute")
        self._format = arg_types if isinstance(arg_types, str) else "".join(arg_types)
        return self

    def prepared_async_call(self, grid, block, stream, *args, **kwargs):
        """Queue a launch."""
        _need_context("cuLaunchKernel")
        if len(grid) > 3 or len(block) != 3 or block[0] * block[1] * block[2] > 1024:
            raise LogicError("cuLaunchKernel failed: invalid argument")
        packed = struct.pack(self._format, *args)
        stream._waiting.append(lambda: self._run(packed))


def _preprocess(packed):
    """What preprocess.cu computes, by OpenCV, as edge/preprocess.py does. Of the double alone."""
    import cv2
    source, out, _, _, pitch, x, y, w, h, wide, high, left, top, width, height, rule = struct.unpack(
        "PPdd" + "i" * 12, packed[:80])
    mean_std = np.frombuffer(packed[80:104], np.float32)
    frame = memory_at(source, (h + y - 1, pitch), np.uint8) if y + h > 1 else np.empty((0, pitch), np.uint8)
    last = memory_at(source + (y + h - 1) * pitch, ((x + w) * 3,), np.uint8)  # the last row may end with its pixels
    rows = np.concatenate([frame[y:, x * 3:(x + w) * 3], last[None, x * 3:]]).reshape(h, w, 3)
    picture = np.full((high, wide, 3), 114, np.uint8)
    picture[top:top + height, left:left + width] = cv2.resize(
        rows, (width, height), interpolation=cv2.INTER_AREA if rule else cv2.INTER_LINEAR)
    values = (picture[:, :, ::-1].astype(np.float32) / 255 - mean_std[:3]) / mean_std[3:]
    memory_at(out, (3, high, wide), np.float32)[...] = values.transpose(2, 0, 1)


class Module:
    """Code that was loaded."""

    def __init__(self, buffer):
        twin = os.environ.get("PYCUDA_DOUBLE_TWIN", "")
        if not buffer or "kernel" in _faults():
            raise LogicError("cuModuleLoadDataEx failed: no kernel image is available for execution on the device")
        self._library = ctypes.CDLL(twin) if twin else None

    def get_function(self, name):
        """A kernel by its name."""
        if self._library is None:
            return Function({"preprocess": _preprocess}[name])
        return Function(getattr(self._library, name))


def module_from_buffer(buffer):
    """Load a cubin or PTX; whatever it holds, it stands for preprocess.cu."""
    _need_context("cuModuleLoadDataEx")
    return Module(buffer)
