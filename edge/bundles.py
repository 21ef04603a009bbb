"""Model bundles: a folder or .tar with manifest.json, ONNX files by role, and golden answers.

Everything is read through its hash: a file that does not match the manifest is refused before it is used.
"""

import hashlib
import io
import json
import os
import site
import sys
import sysconfig
import tarfile
from collections import OrderedDict
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edge.errors import BundleError
from edge.preprocess import RESIZE_RULES, InputSpec

FORMAT = "scrapsort-bundle-1"
MANIFEST = "manifest.json"
ROLES = ("fp32", "fp16", "int8_trt", "int8_cpu")
MAX_INPUT_PX = 4096
FEATURES = 512  # of the output `features`
STRANGER_SCORES = ("max_probability", "max_logit", "energy", "feature_distance")  # simplest first; see edge.strangers


class BundleFile(NamedTuple):
    """One file of a bundle. tolerance is the largest difference of a probability from the golden answers."""

    path: str
    sha256: str
    tolerance: float = 0.0


class Golden(NamedTuple):
    """Pictures with known answers: images (N, H, W, 3) uint8 RGB of the network's size, logits (N, C) float32."""

    images_rgb: np.ndarray
    logits: Mapping[str, np.ndarray]  # by role


class Stranger(NamedTuple):
    """How strangers are told: an item is one when its score, higher for stranger things, is above threshold."""

    score: str  # one of STRANGER_SCORES
    threshold: float
    temperature: float = 1.0  # of the score energy
    file: Optional[BundleFile] = None  # of the score feature_distance: its FeatureSpace


class FeatureSpace(NamedTuple):
    """Where the classes lie, for the score feature_distance."""

    means: np.ndarray  # (C, d) float32, projected
    projection: np.ndarray  # (512, d) float32


class Bundle:
    """A bundle whose manifest has been checked; its files are checked as they are read."""

    def __init__(self, path: str):
        """Open a folder or a .tar. Raises BundleError when the manifest is missing, damaged or not for us."""
        self.path = path
        self.manifest = self._read_manifest()
        check = _Check(self.path, self.manifest)
        self.name, self.version = check.text("name"), check.text("version")
        self.classes = check.classes()
        self.input = check.input()
        self.temperature = check.number("temperature", 1.0, 0.05, 20.0)
        thresholds = check.table("thresholds")
        self.threshold = check.number("thresholds.default", thresholds.get("default", 0.7), 0.0, 1.0)
        self.thresholds = check.per_class(thresholds.get("per_class", {}))  # None: never accepted, always reviewed
        self.threshold_policy = check.policy(thresholds.get("policy"))
        self.stranger = check.stranger(self.manifest.get("stranger"))  # None: the bundle cannot tell strangers
        self.files = check.files()
        self.golden_file = check.file("golden", check.table("golden"))

    def read(self, role: str) -> bytes:
        """The ONNX model of a role. Raises BundleError when the bundle has no such role or the file was changed."""
        if role not in self.files:
            raise BundleError("{}: has no {} model; it has {}".format(self.path, role, ", ".join(sorted(self.files))))
        return self._read_checked(self.files[role])

    def golden(self) -> Golden:
        """The golden pictures and answers. Raises BundleError when they are damaged or do not fit the classes."""
        arrays = self._read_arrays(self.golden_file, ("images_rgb",))
        golden = Golden(arrays["images_rgb"], {key[len("logits_"):]: value for key, value in arrays.items()
                                               if key.startswith("logits_")})
        size = (self.input.height_px, self.input.width_px, 3)
        if golden.images_rgb.shape[1:] != size or golden.images_rgb.dtype != np.uint8 or not len(golden.images_rgb):
            raise BundleError("{}: golden pictures of shape {}: (N, {}, {}, 3) uint8 is needed".format(
                self.path, golden.images_rgb.shape, *size[:2]))
        for role in self.files:
            shape = golden.logits[role].shape if role in golden.logits else None
            if shape != (len(golden.images_rgb), len(self.classes)):
                raise BundleError("{}: golden answers of {} have shape {}: ({}, {}) is needed".format(
                    self.path, role, shape, len(golden.images_rgb), len(self.classes)))
        return golden

    def feature_space(self) -> FeatureSpace:
        """What the score feature_distance measures with. Raises BundleError when there is none, or it is damaged."""
        if self.stranger is None or self.stranger.file is None:
            raise BundleError("{}: {}: stranger names no feature space".format(self.path, MANIFEST))
        arrays = self._read_arrays(self.stranger.file, ("means", "projection"))
        space = FeatureSpace(arrays["means"], arrays["projection"])
        wide = space.projection.shape[1] if space.projection.ndim == 2 else 0
        if not 1 <= wide <= FEATURES or (space.projection.shape[0], space.means.shape) != (
                FEATURES, (len(self.classes), wide)):
            raise BundleError("{}: {}: means of shape {} and projection of shape {}: ({}, d) and ({}, d) is needed, d "
                              "from 1 to {}".format(self.path, self.stranger.file.path, space.means.shape,
                                                    space.projection.shape, len(self.classes), FEATURES, FEATURES))
        if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in space):
            raise BundleError("{}: {}: means and projection must be float32 and finite".format(
                self.path, self.stranger.file.path))
        return space

    def verify(self) -> None:
        """Check the hash of every file. Raises BundleError at the first that is wrong."""
        for role in sorted(self.files):
            self.read(role)
        self.golden()
        if self.stranger is not None and self.stranger.file is not None:
            self.feature_space()

    def check_any(self) -> None:
        """Check that there is a model to sort with. Raises BundleError when none is as it should be, of the last."""
        self.golden()
        for number, role in enumerate(sorted(self.files), 1):
            try:
                self.read(role)
                return
            except BundleError:
                if number == len(self.files):
                    raise

    def _read_manifest(self) -> Dict[str, Any]:
        try:
            manifest = json.loads(self._read_file(MANIFEST).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BundleError("{}: {} is not JSON: {}".format(self.path, MANIFEST, error))
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
            raise BundleError("{}: format {!r} of {}: {!r} is needed".format(self.path, found, MANIFEST, FORMAT))
        if manifest.get("seal") != seal(manifest)["seal"]:
            raise BundleError("{}: {} is damaged or was edited: its seal does not fit; install the bundle again".format(
                self.path, MANIFEST))
        return manifest

    def _read_arrays(self, file: BundleFile, needed: Sequence[str]) -> Dict[str, np.ndarray]:
        data = self._read_checked(file)
        try:
            with np.load(io.BytesIO(data)) as arrays:
                found = {name: arrays[name] for name in arrays.files}
        except Exception as error:  # NumPy, zipfile and zlib each have their own
            raise BundleError("{}: {}: {!r}".format(self.path, file.path, error))
        for name in needed:
            if name not in found:
                raise BundleError("{}: {}: has no array {}".format(self.path, file.path, name))
        return found

    def _read_checked(self, file: BundleFile) -> bytes:
        data = self._read_file(file.path)
        digest = hashlib.sha256(data).hexdigest()
        if digest != file.sha256:
            raise BundleError("{}: {} is damaged: sha256 {}… instead of {}…; install the bundle again".format(
                self.path, file.path, digest[:12], file.sha256[:12]))
        return data

    def _read_file(self, name: str) -> bytes:
        try:
            if os.path.isdir(self.path):
                with open(os.path.join(self.path, name), "rb") as file:
                    return file.read()
            with tarfile.open(self.path, "r:") as archive:
                return _read_member(archive, name)
        except FileNotFoundError as error:
            raise BundleError("{}: not found; give a bundle folder or .tar".format(error.filename or self.path))
        except KeyError:
            raise BundleError("{}: no {} in it".format(self.path, name))
        except (OSError, tarfile.TarError) as error:
            raise BundleError("{}: {} cannot be read: {}".format(self.path, name, error))


def seal(manifest: Mapping[str, Any]) -> Dict[str, Any]:
    """The manifest with its field `seal`: the SHA-256 of all its other fields, as JSON with sorted keys."""
    content = {key: value for key, value in manifest.items() if key != "seal"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return dict(content, seal=hashlib.sha256(text.encode("utf-8")).hexdigest())


def _read_member(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of a tar made of the folder itself or of its contents."""
    for member in archive:
        if member.isfile() and os.path.normpath(member.name).split(os.sep)[-1] == name:
            stream = archive.extractfile(member)
            assert stream is not None  # isfile() was true
            return stream.read()
    raise KeyError(name)


class _Check:
    """Reads fields of a manifest, naming bundle and field in each error."""

    def __init__(self, path: str, manifest: Mapping[str, Any]):
        self.path, self.manifest = path, manifest

    def fail(self, field: str, value: Any, allowed: str) -> BundleError:
        return BundleError("{}: {}: {} = {!r}: {} is needed".format(self.path, MANIFEST, field, value, allowed))

    def text(self, field: str) -> str:
        value = self.manifest.get(field)
        if not isinstance(value, str) or not value:
            raise self.fail(field, value, "a text")
        return value

    def table(self, field: str) -> Mapping[str, Any]:
        value = self.manifest.get(field)
        if not isinstance(value, dict):
            raise self.fail(field, value, "an object")
        return value

    def number(self, field: str, value: Any, low: float, high: float) -> float:
        value = self.manifest.get(field, value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.fail(field, value, "a number from {} to {}".format(low, high))
        return float(value)

    def classes(self) -> Tuple[str, ...]:
        value = self.manifest.get("classes")
        if (not isinstance(value, list) or len(value) < 2 or len(set(map(str, value))) != len(value)
                or not all(isinstance(name, str) and name for name in value)):
            raise self.fail("classes", value, "a list of two or more different names")
        return tuple(value)

    def per_class(self, value: Any) -> Dict[str, Optional[float]]:
        if not isinstance(value, dict):
            raise self.fail("thresholds.per_class", value, "an object")
        for name, threshold in value.items():
            if name not in self.manifest["classes"]:
                raise self.fail("thresholds.per_class", name, "one of the classes")
            if threshold is not None:
                self.number("thresholds.per_class." + name, threshold, 0.0, 1.0)
        return dict(value)

    def policy(self, value: Any) -> Any:
        if value is not None and not isinstance(value, (str, dict)):
            raise self.fail("thresholds.policy", value, "a text or an object")
        return value

    def stranger(self, value: Any) -> Optional[Stranger]:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.fail("stranger", value, "an object or null")
        score = value.get("score")
        if score not in STRANGER_SCORES:
            raise self.fail("stranger.score", score, " or ".join(STRANGER_SCORES))
        threshold = self.number("stranger.threshold", value.get("threshold"), -1e9, 1e9)
        temperature = self.number("stranger.temperature", value.get("temperature", 1.0), 0.05, 1000.0)
        file = self.file("stranger.file", value.get("file")) if score == "feature_distance" else None
        return Stranger(score, threshold, temperature, file)

    def input(self) -> InputSpec:
        value = self.table("input")
        shape, resize = value.get("shape"), value.get("resize")
        if (not isinstance(shape, list) or len(shape) != 4 or shape[:2] != [1, 3]
                or not all(type(size) is int and 1 <= size <= MAX_INPUT_PX for size in shape[2:])):
            raise self.fail("input.shape", shape, "[1, 3, height, width], up to {} pixels each".format(MAX_INPUT_PX))
        if value.get("dtype") != "float32" or value.get("colour_order") != "RGB":
            raise self.fail("input", value, "dtype float32 and colour_order RGB")
        if resize not in RESIZE_RULES:
            raise self.fail("input.resize", resize, " or ".join(RESIZE_RULES))
        for field in ("mean", "std"):
            numbers = value.get(field)
            if not isinstance(numbers, list) or len(numbers) != 3:
                raise self.fail("input." + field, numbers, "three numbers")
            for number in numbers:
                self.number("input." + field, number, -1e6 if field == "mean" else 1e-6, 1e6)
        return InputSpec(shape[2], shape[3], resize, tuple(value["mean"]), tuple(value["std"]))

    def files(self) -> Dict[str, BundleFile]:
        value = self.table("files")
        for role in value:
            if role not in ROLES:
                raise self.fail("files", role, "one of " + ", ".join(ROLES))
        if not value:
            raise self.fail("files", value, "at least one model")
        return {role: self.file("files." + role, entry) for role, entry in value.items()}

    def file(self, field: str, entry: Any) -> BundleFile:
        path = entry.get("path") if isinstance(entry, dict) else None
        if not isinstance(path, str) or path in ("", ".", "..") or os.path.basename(path) != path:
            raise self.fail(field + ".path", path, "a plain file name")
        digest = entry.get("sha256")
        if not isinstance(digest, str) or len(digest) != 64:
            raise self.fail(field + ".sha256", digest, "64 hexadecimal digits")
        return BundleFile(path, digest, self.number(field + ".tolerance", entry.get("tolerance", 0.0), 0.0, 1.0))


def find(given: Optional[str], configured: str, state: str) -> str:
    """Where the bundle is: given, [model] bundle, STATE/models/current, else the one that ships with scrapsort.

    Raises BundleError when there is none.
    """
    for chosen in (given, configured):
        if chosen:
            if not os.path.exists(chosen):
                raise BundleError("{}: no such bundle; give a bundle folder or .tar".format(chosen))
            return chosen
    current = os.path.join(state, "models", "current")
    if os.path.islink(current):  # what sorts goes on with its own files when the link is made to lead elsewhere
        return os.path.realpath(current)  # where nothing is there, too: that is to be seen, not to be passed over
    candidates = ([current] if os.path.exists(current) else []) + shipped()
    if not candidates:
        raise BundleError("no model bundle found; give --bundle DIR or set [model] bundle")
    return candidates[0]


def shipped() -> List[str]:
    """The bundles of the repository or of the installed package."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = []
    # Where pip puts data files differs: into the environment, below /usr/local on Debian, or into the user's folder
    prefixes = OrderedDict.fromkeys((sys.prefix, sysconfig.get_path("data"), site.getuserbase()))
    for models in [os.path.join(here, "models")] + [os.path.join(p, "share", "scrapsort", "models") for p in prefixes]:
        names = sorted(os.listdir(models)) if os.path.isdir(models) else []
        found += [os.path.join(models, n) for n in names if os.path.isfile(os.path.join(models, n, MANIFEST))]
    return found
