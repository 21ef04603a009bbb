"""The contract of a classifier backend.

The public methods check state and shapes and call _open, _infer and _close, which is all that a backend writes.
"""

import ctypes
import time
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np

from edge.bundles import Bundle
from edge.errors import BackendError
from edge.preprocess import Preprocessor

MAX_VIEWS = 8  # of one item; buffers for as many exist beforehand


class Answer(NamedTuple):
    """What the network says of one item's k views. The arrays are the classifier's own buffers: valid until the next
    classify.
    """

    logits: np.ndarray  # (k, C) float32
    features: np.ndarray  # (k, 512) float32
    preprocess_ms: float
    infer_ms: float


def _give_back_memory() -> None:
    """Hand what loading has freed back to the system, about 90 MB; only glibc needs to be asked."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):  # another system or C library
        pass


class Classifier:
    """Base of the backends. One thread uses it from open to close."""

    backend = ""  # onnxruntime, tensorrt, openvino

    def __init__(self, bundle: Bundle, role: str):
        self.bundle, self.role = bundle, role
        self.precision = role.partition("_")[0]  # fp32, fp16, int8
        self.device = ""  # what really computes, as the backend reports it once open
        self.notes: List[str] = []  # what the user should know: fall-backs and their reasons
        self.timed = False  # True: stages_ms holds, after each classify, what each stage of its last view took
        self.stages_ms: Dict[str, float] = {}  # such as copy in, kernel, infer, copy out
        self._preprocessor = Preprocessor(bundle.input)
        self._image = np.zeros(bundle.input.shape, np.float32)
        self._logits = np.zeros((MAX_VIEWS, len(bundle.classes)), np.float32)
        self._features = np.zeros((MAX_VIEWS, 512), np.float32)
        self._is_open = False

    def open(self) -> "Classifier":
        """Load the model, allocate everything and warm up. Raises BackendError or BundleError."""
        self._open()
        self._is_open = True
        for _ in range(3):  # the first answers are slow: memory is touched, kernels are chosen
            self._infer(0)
        _give_back_memory()
        return self

    def close(self) -> None:
        """Free the model; may be called twice."""
        if self._is_open:
            self._is_open = False
            self._close()

    def __enter__(self) -> "Classifier":
        return self if self._is_open else self.open()

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def classify(self, views: Sequence[np.ndarray]) -> Answer:
        """Classify the views of one item, each (h, w, 3) uint8 BGR of any size.

        Raises ValueError for a picture of another shape or dtype, BackendError when the backend fails.
        """
        if not 1 <= len(views) <= MAX_VIEWS:
            raise ValueError("{} views: 1 to {} are allowed".format(len(views), MAX_VIEWS))
        preprocess_s = infer_s = 0.0
        for row, view in enumerate(views):
            started = time.perf_counter()
            self._prepare(view)
            prepared = time.perf_counter()
            self._run(row)
            preprocess_s += prepared - started
            infer_s += time.perf_counter() - prepared
        k = len(views)
        return Answer(self._logits[:k], self._features[:k], preprocess_s * 1000, infer_s * 1000)

    def classify_resized(self, image_rgb: np.ndarray) -> Answer:
        """Classify one golden picture, (H, W, 3) uint8 RGB of the network's own size."""
        started = time.perf_counter()
        self._prepare_resized(image_rgb)
        prepared = time.perf_counter()
        self._run(0)
        return Answer(self._logits[:1], self._features[:1], (prepared - started) * 1000,
                      (time.perf_counter() - prepared) * 1000)

    def _run(self, row: int) -> None:
        if not self._is_open:
            raise BackendError("{}: classify before open or after close".format(self.backend))
        self._infer(row)

    def _prepare(self, view: np.ndarray) -> None:
        """Bring a view to where _infer reads it: here to self._image. Raises ValueError for what is no picture."""
        self._preprocessor(view, self._image)

    def _prepare_resized(self, image_rgb: np.ndarray) -> None:
        """As _prepare, of (H, W, 3) uint8 RGB of the network's own size."""
        self._preprocessor.normalise(image_rgb[:, :, ::-1], self._image)

    def _open(self) -> None:
        """Load the model, bind self._image, self._logits and self._features, set self.device."""
        raise NotImplementedError

    def _infer(self, row: int) -> None:
        """Run the network on self._image and fill self._logits[row] and self._features[row]."""
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError
