"""What scripts/gpu-check does: CUDA as scrapsort uses it, on a real GPU, without TensorRT.

Buffers there and back, streams and events, mapped memory, the preprocessing kernel against edge/preprocess.py,
teardown, many frames through edge/classifier/cuda.py without growth, and ONNX Runtime on CUDA with its inputs and
outputs bound to those buffers. Needs pycuda with NumPy and OpenCV, for the kernel nvcc or NVRTC, for the last
onnxruntime-gpu.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

FRAMES = 200000
CYCLES = 20  # of opening and closing
SIZES = ((480, 640), (224, 224), (600, 97), (33, 41), (1080, 1920), (448, 448))  # of pictures, height and width
ALLOWED_8BIT = 1.0  # largest difference of the kernel before normalisation, in 1/255
GROWTH_KB = 8192  # of this process over all frames but the first tenth
GPU_GROWTH = 32000000  # bytes less on the GPU, which other programs use too; a leak is more over all cycles or frames
WAIT_S = 120.0


class LeftOutError(Exception):
    """Why a check cannot be made here."""


def main():
    """Run all checks; exit code 0: those that could be made have passed."""
    parser = argparse.ArgumentParser(prog="scripts/gpu-check", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=FRAMES, metavar="N", help="frames through the buffers "
                        "(default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="FILE", help="result file (default: "
                        "docs/performance/gpu-check-GPU.json)")
    arguments = parser.parse_args()
    try:
        device = find_gpu()
    except Exception as error:
        sys.stderr.write("gpu-check: no GPU that CUDA can use: {}\n".format(first_line(error)))
        return 1
    result = {"what": "scripts/gpu-check", "date_utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
              "command": " ".join(["scripts/gpu-check"] + sys.argv[1:]), "commit": commit(), "device": device,
              "versions": versions(), "checks": {}, "left_out": {}}
    checks = (("buffers", check_buffers), ("streams", check_streams), ("mapped", check_mapped),
              ("kernel", check_kernel), ("teardown", check_teardown),
              ("frames", lambda: check_frames(arguments.frames)), ("onnxruntime", check_onnxruntime))
    print("{gpu}, compute capability {compute_capability}, CUDA {cuda}".format(**device))
    for name, check in checks:
        run(name, check, result)
    path = arguments.output or os.path.join(ROOT, "docs", "performance", "gpu-check-{}.json".format(
        "-".join(device["gpu"].lower().split())))
    with open(path, "w") as file:
        file.write(json.dumps(result, indent=1, sort_keys=True) + "\n")
    print("written to {}".format(os.path.relpath(path)))
    return 0 if all(check["passed"] for check in result["checks"].values()) else 1


def run(name, check, result):
    """One check: its figures, or why it failed or was left out, printed and kept."""
    started = time.time()
    try:
        figures = dict(check(), passed=True)
    except LeftOutError as error:
        result["left_out"][name] = str(error)
        print("{:12s} left out: {}".format(name, error))
        return
    except Exception as error:
        figures = {"passed": False, "error": first_line(error),
                   "where": traceback.format_exc().splitlines()[-3].strip()}
    figures["seconds"] = round(time.time() - started, 2)
    result["checks"][name] = figures
    print("{:12s} {}  {}".format(name, "passed" if figures["passed"] else "FAILED", json.dumps(
        {key: value for key, value in figures.items() if key != "passed"}, sort_keys=True)))


def find_gpu():
    """What the driver says of the first GPU. Raises whatever is wrong."""
    from edge.classifier.cuda import version_text
    from edge.classifier.tensorrt.device import gpu
    device = gpu()
    from pycuda import driver
    return {"gpu": device.name(), "compute_capability": "{}.{}".format(*device.compute_capability()),
            "memory_mb": device.total_memory() // 1000000, "cuda": version_text(driver.get_driver_version()),
            "integrated": bool(device.get_attribute(driver.device_attribute.INTEGRATED))}


def versions():
    """Of all that takes part."""
    import cv2
    import numpy
    import pycuda
    found = {"python": platform.python_version(), "numpy": numpy.__version__, "opencv": cv2.__version__,
             "pycuda": pycuda.VERSION_TEXT, "kernel": platform.release(), "machine": platform.machine()}
    for name in ("onnxruntime", "tensorrt"):
        try:
            found[name] = __import__(name).__version__
        except Exception:
            found[name] = None
    return found


def commit():
    """Of the checkout, with a + where it has changes."""
    try:
        git = ["git", "-C", ROOT]
        name = subprocess.check_output(git + ["rev-parse", "--short", "HEAD"], stderr=subprocess.DEVNULL)
        changed = subprocess.check_output(git + ["status", "--porcelain", "--untracked-files=no"])
        return name.decode("ascii").strip() + ("+" if changed.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def first_line(error):
    """The error in one line, with its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def need(holds, words, *values):
    """Raise AssertionError, which python -O does not leave out."""
    if not holds:
        raise AssertionError(words.format(*values))


class Opened:
    """with Opened() as cuda: a Cuda that is closed at the end, and must close without trouble."""

    def __init__(self):
        from edge.classifier.cuda import Cuda
        self.cuda, self.before = Cuda(), lambda: None

    def __enter__(self):
        self.cuda.open()
        return self

    def __exit__(self, kind, error, where):
        trouble = self.cuda.close(self.before)
        need(kind is not None or not trouble, "closing: {}", trouble)

    def do(self, work):
        """work() on the thread that owns the context."""
        return self.cuda.call(work, WAIT_S, "gpu-check")


# ---------------------------------------------------------------- the checks

def check_buffers():
    """Each kind of bytes goes to the GPU and comes back."""
    import numpy as np
    rng = np.random.RandomState(1)
    with Opened() as opened:
        buffers = [opened.do(lambda shape=shape, kind=kind: opened.cuda.buffer(shape, kind)) for shape, kind in (
            ((1, 3, 224, 224), np.float32), ((1, 6), np.float32), ((1920 * 1080 * 3,), np.uint8))]
        for buffer in buffers:
            need(buffer.address and not buffer.host.any(), "a new buffer has no address or is not zeroed")
            wanted = rng.randint(0, 256, buffer.host.shape).astype(buffer.host.dtype)
            np.copyto(buffer.host, wanted)
            opened.do(lambda buffer=buffer: buffer.upload(opened.cuda.stream))
            opened.do(opened.cuda.stream.synchronize)
            buffer.host.fill(0)
            opened.do(lambda buffer=buffer: buffer.download(opened.cuda.stream))
            opened.do(opened.cuda.stream.synchronize)
            need(np.array_equal(buffer.host, wanted), "what came back of {} is not what went", buffer.host.shape)
        part = buffers[2].host[:999]
        part.fill(7)
        opened.do(lambda: buffers[2].upload_first(part, opened.cuda.stream))
        opened.do(opened.cuda.stream.synchronize)
        buffers[2].host.fill(0)
        opened.do(lambda: buffers[2].download(opened.cuda.stream))
        opened.do(opened.cuda.stream.synchronize)
        need(buffers[2].host[:999].min() == 7 and np.array_equal(buffers[2].host[999:], wanted[999:]),
             "upload_first wrote another part")
        return {"bytes": sum(buffer.nbytes for buffer in buffers)}


def check_streams():
    """The stream is not the default one, and events tell how long a copy takes."""
    import numpy as np
    with Opened() as opened:
        cuda = opened.cuda
        events = opened.do(lambda: [cuda.driver.Event() for _ in range(2)])
        opened.before = events.clear
        need(cuda.stream.handle, "the stream is the default one")
        buffer = opened.do(lambda: cuda.buffer((1920 * 1080 * 3,), np.uint8))

        def work():
            events[0].record(cuda.stream)
            buffer.upload(cuda.stream)
            events[1].record(cuda.stream)
            cuda.stream.synchronize()
            return events[0].time_till(events[1])
        times_ms = [opened.do(work) for _ in range(50)]
        need(min(times_ms) > 0, "an event took {} ms", min(times_ms))
        return {"upload_ms": round(sorted(times_ms)[25], 4),
                "upload_gb_per_s": round(buffer.host.nbytes / sorted(times_ms)[25] / 1e6, 2)}


def check_mapped():
    """What the CPU writes into mapped memory the GPU reads, and the other way round, without a copy of ours."""
    import numpy as np
    with Opened() as opened:
        driver = opened.cuda.driver
        need(opened.cuda.device.get_attribute(driver.device_attribute.CAN_MAP_HOST_MEMORY), "the GPU cannot map memory")
        mapped = opened.do(lambda: opened.cuda.buffer((4096,), np.float32, True))
        other = opened.do(lambda: opened.cuda.buffer((4096,), np.float32, False))
        mapped.host[:] = np.arange(4096)

        def read():  # through the GPU's address of the mapped memory, then back into it
            driver.memcpy_dtoh_async(other.host, mapped.address, opened.cuda.stream)
            opened.cuda.stream.synchronize()
            seen = other.host.copy()
            other.host[:] = -other.host
            driver.memcpy_htod_async(mapped.address, other.host, opened.cuda.stream)
            opened.cuda.stream.synchronize()
            return seen
        need(np.array_equal(opened.do(read), np.arange(4096)), "the GPU does not see what the CPU wrote")
        need(np.array_equal(mapped.host, -np.arange(4096)), "the CPU does not see what the GPU wrote")
        return {"bytes": mapped.nbytes}


class Preprocessing:
    """The kernel with its buffers, as the TensorRT backend has it."""

    def __init__(self, opened, spec, mapped):
        import numpy as np

        from edge.classifier import kernel
        self.opened, self.cuda = opened, opened.cuda
        self.launch = kernel.Launch(spec)
        with tempfile.TemporaryDirectory() as folder:
            compiled = kernel.compile_kernel("{}.{}".format(*self.cuda.device.compute_capability()), folder)
        self.how = compiled.how

        def load():
            self.module = self.cuda.driver.module_from_buffer(compiled.data)
            self.function = self.module.get_function(kernel.ENTRY)
            self.function.prepare(kernel.TYPES)
            largest = max(height * width * 3 for height, width in SIZES)
            self.frame = self.cuda.buffer((largest,), np.uint8, mapped)
            self.image = self.cuda.buffer(spec.shape, np.float32, mapped)
        opened.do(load)
        opened.before = self.forget

    def forget(self):
        """The module goes while its context is there."""
        self.function = self.module = None

    def __call__(self, view):
        """The network's input of a picture, in the buffer's host memory; one call of the owner thread."""
        import numpy as np
        height, width = view.shape[:2]
        part = self.frame.host[:view.size]
        np.copyto(part.reshape(view.shape), view)
        task = self.launch.arguments(self.frame.address, width * 3, (0, 0, width, height), self.image.address)

        def work():
            self.frame.upload_first(part, self.cuda.stream)
            self.function.prepared_async_call(self.launch.grid, self.launch.block, self.cuda.stream, *task)
            self.image.download(self.cuda.stream)
            self.cuda.stream.synchronize()
        self.opened.do(work)
        return self.image.host


def pictures():
    """One of each size: colours that change from pixel to pixel."""
    import numpy as np
    rng = np.random.RandomState(2)
    return [rng.randint(0, 256, (height, width, 3)).astype(np.uint8) for height, width in SIZES]


def preprocessing(opened, spec, mapped):
    """Preprocessing, or LeftOutError where nothing compiles it."""
    from edge.errors import BackendError
    try:
        return Preprocessing(opened, spec, mapped)
    except BackendError as error:
        if "cannot be compiled" in str(error):
            raise LeftOutError(str(error))
        raise


def check_kernel():
    """Each resize rule and size, in both kinds of memory, against the CPU's preprocessing."""
    import numpy as np

    from edge.preprocess import RESIZE_RULES, InputSpec, Preprocessor
    worst, how = 0.0, ""
    for rule in RESIZE_RULES:
        spec = InputSpec(resize=rule)
        on_cpu, wanted = Preprocessor(spec), np.zeros(spec.shape, np.float32)
        scale = np.array(spec.std, np.float32).reshape(1, 3, 1, 1) * 255
        for mapped in (False, True):
            with Opened() as opened:
                on_gpu = preprocessing(opened, spec, mapped)
                how = on_gpu.how
                for view in pictures():
                    on_cpu(view, wanted)
                    worst = max(worst, float(np.abs((on_gpu(view) - wanted) * scale).max()))
    need(worst <= ALLOWED_8BIT, "a value is off by {:.3f}/255", worst)
    return {"worst_8bit": round(worst, 5), "compiled": how, "rules": len(RESIZE_RULES), "sizes": len(SIZES)}


def check_teardown():
    """Opening and closing again and again leaves nothing behind on the GPU."""
    import numpy as np
    free = []
    with Opened() as watcher:  # keeps the primary context, so that only what the others leave counts
        for _ in range(CYCLES):
            with Opened() as opened:
                opened.do(lambda opened=opened: [opened.cuda.buffer((1 << 22,), np.uint8, mapped)
                                                 for mapped in (False, True)])
            free.append(watcher.do(watcher.cuda.driver.mem_get_info)[0])
    need(free[0] - free[-1] < GPU_GROWTH, "{} bytes of the GPU are lost after {} times", free[0] - free[-1], CYCLES - 1)
    return {"cycles": CYCLES, "bytes_lost": free[0] - free[-1]}


def resident_kb():
    """Memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def check_frames(count):
    """Many frames of changing size through the same buffers; every 1,000th is held against the CPU's."""
    import numpy as np

    from edge.preprocess import InputSpec, Preprocessor
    spec = InputSpec()
    on_cpu, wanted, views = Preprocessor(spec), np.zeros(spec.shape, np.float32), pictures()
    times_ms = np.zeros(count)
    with Opened() as opened:
        on_gpu = preprocessing(opened, spec, False)
        made, marks = opened.cuda.allocations, []
        for number in range(count):
            view = views[number % len(views)]
            started = time.perf_counter()
            got = on_gpu(view)
            times_ms[number] = (time.perf_counter() - started) * 1000
            if number % 1000 == 0:
                on_cpu(view, wanted)
                need(np.abs(got - wanted).max() < 0.02, "frame {}: another answer", number)
            if number in (count // 10, count - 1):
                marks.append((resident_kb(), opened.do(opened.cuda.driver.mem_get_info)[0]))
        need(opened.cuda.allocations == made, "{} buffers more", opened.cuda.allocations - made)
    grown_kb, lost = marks[-1][0] - marks[0][0], marks[0][1] - marks[-1][1]
    need(grown_kb <= GROWTH_KB, "this process has grown by {} kB", grown_kb)
    need(lost < GPU_GROWTH, "{} bytes less are free on the GPU", lost)
    return {"frames": count, "grown_kb": grown_kb, "gpu_bytes_lost": lost, "p50_ms": round(float(np.percentile(
        times_ms, 50)), 4), "p99_ms": round(float(np.percentile(times_ms, 99)), 4), "max_ms": round(times_ms.max(), 3)}


def check_onnxruntime():
    """The shipped model on CUDA, its inputs and outputs bound to our buffers' addresses on the GPU."""
    import numpy as np
    try:
        import onnxruntime
    except ImportError as error:
        raise LeftOutError("onnxruntime is not installed ({})".format(error))
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise LeftOutError("onnxruntime {} is built without CUDA: install onnxruntime-gpu".format(
            onnxruntime.__version__))
    from edge.bundles import Bundle
    bundle, role = Bundle(os.path.join(ROOT, "models", "trashnet-resnet18")), "fp16"
    golden, classes = bundle.golden(), len(bundle.classes)
    on_cpu = onnxruntime.InferenceSession(bundle.read(role), providers=["CPUExecutionProvider"])
    with Opened() as opened:
        session = onnxruntime.InferenceSession(bundle.read(role), providers=["CUDAExecutionProvider"])
        need(session.get_providers()[0] == "CUDAExecutionProvider", "ONNX Runtime fell back to {}",
             session.get_providers()[0])
        image, logits, features = (opened.do(lambda shape=shape: opened.cuda.buffer(shape, np.float32)) for shape in (
            bundle.input.shape, (1, classes), (1, 512)))
        binding = session.io_binding()
        binding.bind_input("image", "cuda", 0, np.float32, bundle.input.shape, image.address)
        for name, buffer in (("logits", logits), ("features", features)):
            binding.bind_output(name, "cuda", 0, np.float32, buffer.host.shape, buffer.address)

        def work():
            image.upload(opened.cuda.stream)
            opened.cuda.stream.synchronize()  # ONNX Runtime has a stream of its own
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            for buffer in (logits, features):
                buffer.download(opened.cuda.stream)
            opened.cuda.stream.synchronize()
        from edge.preprocess import Preprocessor
        preprocess, worst, times_ms = Preprocessor(bundle.input), 0.0, []
        for number in range(300):
            preprocess.normalise(golden.images_rgb[number % len(golden.images_rgb)][:, :, ::-1], image.host)
            started = time.perf_counter()
            opened.do(work)
            times_ms.append((time.perf_counter() - started) * 1000)
            if number < len(golden.images_rgb):
                worst = max(worst, float(np.abs(logits.host - on_cpu.run(["logits"], {"image": image.host})[0]).max()))
    need(worst < 0.1, "a logit is off by {:.4f}", worst)
    return {"pictures": len(golden.images_rgb), "worst_logit": round(worst, 5),
            "p50_ms": round(float(np.percentile(times_ms[50:], 50)), 3)}
