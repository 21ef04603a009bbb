"""From a zip or a folder of photographs to data/materials/{train,val,test} and a split that can be named by its hash.

Pictures that look alike (perceptual hash) stay on one side of the split: an item photographed twice would otherwise be
learnt in training and praised in the test.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edge.errors import PictureError
from edge.frames import pictures
from trainer.errors import TrainerError
from trainer.files import write_json

SPLITS = ("train", "val", "test")
SPLIT_FILE = "split.json"
NEAR_DUPLICATE_BITS = 8  # of 64; on TrashNet 10 starts to chain strangers (a group of 36), 6 misses turned copies
IGNORED_FOLDERS = {"__MACOSX", ".git", ".cache"}


@dataclass
class Picture:
    """One usable picture of the source."""

    path: str  # CLASS/NAME, as it will stand below train, val or test
    label: str
    sha256: str
    phash: int
    group: int = -1
    split: str = ""


@dataclass
class LeftOut:
    """A file of the source that is not used, and why."""

    path: str
    reason: str


def prepare(source: Path, out: Path, *, seed: int = 0, shares: tuple[float, float] = (0.1, 0.1)) -> dict:
    """Split source (a zip, or a folder, with one sub-folder a class somewhere inside) into out/{train,val,test}.

    shares are those of val and test. Returns the contents of out/split.json. Running it again with the same source
    and seed changes nothing. Raises TrainerError when no classes are found or out holds files that are not ours.
    """
    with tempfile.TemporaryDirectory(prefix="scrapsort-") as scratch:
        root = find_class_root(_unpacked(source, Path(scratch)))
        found, left_out = scan(root)
        counts = Counter(p.label for p in found)
        if len(counts) < 2:
            raise TrainerError(f"{source}: usable pictures of {len(counts)} class(es), at least 2 are needed; "
                               f"{len(left_out)} files left out: {_few(left_out)}")
        group_near_duplicates(found)
        assign_splits(found, seed=seed, shares=shares)
        split = _describe(source.name, found, left_out, seed, shares)
        _lay_out(root, out, split)
    return split


def find_class_root(folder: Path) -> Path:
    """The folder whose sub-folders are the classes: `dataset-resized` where there is one, else the shallowest."""
    candidates = []
    for path, names, _ in os.walk(folder):
        names[:] = sorted(n for n in names if n not in IGNORED_FOLDERS and not n.startswith("."))
        here = Path(path)
        classes = [n for n in names if any(pictures.format_of_name(f) for f in os.listdir(here / n))]
        if len(classes) >= 2:
            depth = len(here.relative_to(folder).parts)
            candidates.append((here.name != "dataset-resized", depth, str(here)))
    if not candidates:
        raise TrainerError(f"{folder}: no folder with one sub-folder a class (CLASS/*.jpg) in it; "
                           "give TrashNet's dataset-resized.zip or a folder laid out like it")
    return Path(min(candidates)[2])


def _unpacked(source: Path, scratch: Path) -> Path:
    if source.is_dir():
        return source
    if not source.exists():
        raise TrainerError(f"{source}: no such file or folder; give TrashNet's zip, a folder a class, or --download")
    try:
        with zipfile.ZipFile(source) as archive:
            for member in tqdm(archive.infolist(), desc="unpack", unit="file", leave=False):
                archive.extract(member, scratch)  # zipfile itself drops absolute paths and ..
    except (zipfile.BadZipFile, EOFError) as error:
        raise TrainerError(f"{source}: not a whole zip file ({error}); fetch it again") from error
    nested = [p for p in scratch.rglob("dataset-resized.zip") if "__MACOSX" not in p.parts]
    if nested:  # the repository's own archive holds the zip
        return _unpacked(nested[0], scratch / "nested")
    return scratch


def scan(root: Path) -> tuple[list[Picture], list[LeftOut]]:
    """Look at every file in the class folders of root: what can be used, and what cannot and why."""
    found, left_out = [], []
    files = [p for c in sorted(root.iterdir()) if c.is_dir() and c.name not in IGNORED_FOLDERS
             for p in sorted(c.iterdir()) if not p.name.startswith(".")]
    seen: dict[str, str] = {}
    for path in tqdm(files, desc="look at pictures", unit="picture", leave=False):
        name = path.relative_to(root).as_posix()
        try:
            data, image_bgr = _checked(path)
        except PictureError as error:
            left_out.append(LeftOut(name, str(error)))
            continue
        digest = hashlib.sha256(data).hexdigest()
        if seen.setdefault(digest, name) != name and seen[digest].split("/")[0] == path.parent.name:
            left_out.append(LeftOut(name, f"the same file as {seen[digest]}"))
            continue
        found.append(Picture(name, path.parent.name, digest, perceptual_hash(image_bgr)))
    return found, left_out


def _checked(path: Path) -> tuple[bytes, np.ndarray]:
    if not path.is_file():
        raise PictureError("not a file")
    promised = pictures.format_of_name(path.name)
    if promised is None:
        raise PictureError(f"extension {path.suffix or '(none)'}: not one of {', '.join(pictures.EXTENSIONS)}")
    data = pictures.read_bytes(str(path))
    info = pictures.probe(data)
    if info.format != promised:
        raise PictureError(f"mislabelled: named {path.suffix} but is a {info.format.upper()}")
    return data, pictures.decode(data)


def perceptual_hash(image_bgr: np.ndarray) -> int:
    """64-bit DCT hash of (H, W, 3) uint8 BGR: the signs of the lowest 8 x 8 frequencies (Zauner 2010, phash.org)."""
    grey = cv2.resize(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    return int.from_bytes(np.packbits(low > np.median(low[1:])).tobytes(), "big")


def group_near_duplicates(found: list[Picture], bits: int = NEAR_DUPLICATE_BITS) -> None:
    """Give pictures whose hashes differ in at most bits the same group number, transitively."""
    hashes = np.array([p.phash for p in found], np.uint64)
    parent = list(range(len(found)))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i in range(len(found) - 1):
        for j in np.flatnonzero(np.bitwise_count(hashes[i + 1:] ^ hashes[i]) <= bits):
            parent[top(i + 1 + int(j))] = top(i)
    numbers: dict[int, int] = {}
    for i, picture in enumerate(found):
        picture.group = numbers.setdefault(top(i), len(numbers))


def assign_splits(found: list[Picture], *, seed: int, shares: tuple[float, float]) -> None:
    """Hand whole groups to test, val and train, so that each class has its share in each."""
    members: dict[int, list[Picture]] = defaultdict(list)
    for picture in found:
        members[picture.group].append(picture)
    by_label: dict[str, list[list[Picture]]] = defaultdict(list)
    for group in members.values():
        by_label[group[0].label].append(group)
    for _, groups in sorted(by_label.items()):
        # The order hangs on the seed and the pictures alone, not on the order in which the file system lists them
        groups.sort(key=lambda g: hashlib.sha256(f"{seed}:{g[0].sha256}".encode()).digest())
        total = sum(len(g) for g in groups)
        room = {"test": round(total * shares[1]), "val": round(total * shares[0])}
        for group in groups:
            split = next((s for s in ("test", "val") if len(group) <= room[s]), "train")
            if split != "train":
                room[split] -= len(group)
            for picture in group:
                picture.split = split


def split_hash(files: list[dict]) -> str:
    """What names a split everywhere: SHA-256 over split, class and content of each file, in sorted order."""
    lines = sorted(f"{f['split']} {f['label']} {f['sha256']}" for f in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_split(data: Path) -> dict:
    """Read data/split.json and check its hash. Raises TrainerError when it is absent or was edited."""
    path = data / SPLIT_FILE
    try:
        split = json.loads(path.read_text())
    except FileNotFoundError:
        raise TrainerError(f"{path}: not there; run `python3 -m trainer prepare SOURCE --out {data}` first") from None
    except ValueError as error:
        raise TrainerError(f"{path}: not JSON ({error}); run prepare again") from error
    if split_hash(split["files"]) != split["hash"]:
        raise TrainerError(f"{path}: its files do not give its hash {split['hash'][:12]}; run prepare again")
    return split


def _describe(source: str, found: list[Picture], left_out: list[LeftOut], seed: int, shares: tuple) -> dict:
    files = [asdict(p) | {"phash": f"{p.phash:016x}"} for p in sorted(found, key=lambda p: p.path)]
    labels = defaultdict(set)
    for picture in found:
        labels[picture.group].add(picture.label)
    mixed = [[p.path for p in found if p.group == g] for g, names in labels.items() if len(names) > 1]
    return {"format": "scrapsort-split-1", "hash": split_hash(files), "source": source, "seed": seed,
            "shares": {"val": shares[0], "test": shares[1]}, "near_duplicate_bits": NEAR_DUPLICATE_BITS,
            "classes": sorted({p.label for p in found}),
            "counts": {s: dict(sorted(Counter(p.label for p in found if p.split == s).items())) for s in SPLITS},
            "groups_with_several_classes": mixed, "left_out": [asdict(f) for f in left_out], "files": files}


def _lay_out(root: Path, out: Path, split: dict) -> None:
    wanted = {f"{f['split']}/{f['path']}": f for f in split["files"]}
    ours = set()
    if (out / SPLIT_FILE).exists():
        ours = {f"{f['split']}/{f['path']}" for f in json.loads((out / SPLIT_FILE).read_text())["files"]}
    for s in SPLITS:
        for unfinished in (out / s).rglob(".*.tmp"):  # of a run that was killed while it copied
            unfinished.unlink()
    there = {p.relative_to(out).as_posix() for s in SPLITS for p in (out / s).rglob("*") if p.is_file()}
    strangers = sorted(there - ours - set(wanted))
    if strangers:
        raise TrainerError(f"{out}: holds {len(strangers)} file(s) that prepare did not make, {strangers[0]} first; "
                           "move them away or give another --out")
    for name in sorted(there - set(wanted)):
        (out / name).unlink()
    for name, file in tqdm(sorted(wanted.items()), desc="lay out", unit="picture", leave=False):
        target = out / name
        if name in there and hashlib.sha256(target.read_bytes()).hexdigest() == file["sha256"]:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copyfile(root / file["path"], temporary)
        os.replace(temporary, target)
    if not (out / SPLIT_FILE).exists() or json.loads((out / SPLIT_FILE).read_text()) != split:
        write_json(out / SPLIT_FILE, split)


def _few(left_out: list[LeftOut]) -> str:
    return "; ".join(f"{f.path}: {f.reason}" for f in left_out[:3]) or "none"
