"""A GPU through NVIDIA's driver library alone, by ctypes: enough to run one kernel where nothing else is installed."""

import contextlib
import ctypes

import numpy as np
from kernel_cases import task

from edge.classifier.kernel import ENTRY, Launch

MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
BUFFER, BUFFER_SIZE, END = 1, 2, 0  # CU_LAUNCH_PARAM_…
Address = ctypes.c_uint64  # CUdeviceptr
BYTES = 1 << 24  # of each of the two buffers


class Gpu:
    """The first GPU. Raises OSError where there is none."""

    def __init__(self):
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._call("cuInit", 0)
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), 0)
        self._call("cuDeviceGetAttribute", ctypes.byref(major), MAJOR, device)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), MINOR, device)
        self.compute_capability = "{}.{}".format(major.value, minor.value)
        name = ctypes.create_string_buffer(100)
        self._call("cuDeviceGetName", name, len(name), device)
        self.name, self._device = name.value.decode(), device

    @contextlib.contextmanager
    def loaded(self, kernel):
        """fill(spec, frame, region) -> (1, 3, H, W) float32 by the kernel, a cubin or PTX."""
        context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        try:
            self._call("cuCtxSetCurrent", context)
            self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(kernel + b"\0"))
            self._call("cuModuleGetFunction", ctypes.byref(function), module, ENTRY.encode())
            frame, out = Address(), Address()
            self._call("cuMemAlloc_v2", ctypes.byref(frame), ctypes.c_size_t(BYTES))
            self._call("cuMemAlloc_v2", ctypes.byref(out), ctypes.c_size_t(BYTES))
            yield lambda spec, picture, region: self._fill(function, frame, out, spec, picture, region)
            self._call("cuMemFree_v2", frame)
            self._call("cuMemFree_v2", out)
            self._call("cuModuleUnload", module)
        finally:
            self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _fill(self, function, frame, out, spec, picture, region):
        result = np.full(spec.shape, np.nan, np.float32)
        assert picture.flags["C_CONTIGUOUS"] and max(picture.nbytes, result.nbytes) <= BYTES
        self._call("cuMemcpyHtoD_v2", frame, ctypes.c_void_p(picture.ctypes.data), ctypes.c_size_t(picture.nbytes))
        self._call("cuMemcpyHtoD_v2", out, ctypes.c_void_p(result.ctypes.data), ctypes.c_size_t(result.nbytes))
        packed = ctypes.create_string_buffer(task(spec, picture, region, out.value, source=frame.value))
        size = ctypes.c_size_t(len(packed) - 1)  # without the zero that ctypes appends
        extra = (ctypes.c_void_p * 5)(BUFFER, ctypes.addressof(packed), BUFFER_SIZE, ctypes.addressof(size), END)
        launch = Launch(spec)
        self._call("cuLaunchKernel", function, *(launch.grid + (1,) + launch.block + (0, None, None, extra)))
        self._call("cuCtxSynchronize")
        self._call("cuMemcpyDtoH_v2", ctypes.c_void_p(result.ctypes.data), out, ctypes.c_size_t(result.nbytes))
        return result

    def _call(self, name, *arguments):
        code = getattr(self._cuda, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._cuda.cuGetErrorString(code, ctypes.byref(text))
            raise OSError("{}: {}".format(name, text.value.decode() if text.value else "error {}".format(code)))
