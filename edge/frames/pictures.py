"""Picture files: what a file is, whether it is whole, and its pixels.

OpenCV decodes a truncated JPEG to a half-grey picture and only mutters on stderr, and it allocates whatever size a
header claims. So the few bytes that tell format, size and end are read here first; decoding stays OpenCV's.
"""

import os
import stat
import struct
from typing import NamedTuple, Optional

import cv2
import numpy as np

from edge.errors import PictureError

EXTENSIONS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".bmp": "bmp", ".webp": "webp"}
MAX_PIXELS = 64 * 1000 * 1000  # 192 MB of BGR: the largest sensor in use fits, a decompression bomb does not
MAX_BYTES = 256 * 1024 * 1024


class PictureInfo(NamedTuple):
    """What the bytes of a picture file say of themselves."""

    format: str  # jpeg, png, bmp or webp
    width_px: int
    height_px: int
    complete: bool  # the end of the picture is there


def probe(data: bytes) -> PictureInfo:
    """Read format, size and completeness from the bytes of a picture file, without decoding it.

    Raises PictureError when the bytes are no JPEG, PNG, BMP or WebP, or their header is damaged.
    """
    if not data:
        raise PictureError("empty file (0 bytes)")
    try:
        if data[:2] == b"\xff\xd8":
            return _probe_jpeg(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack(">II", data[16:24])
            return PictureInfo("png", width, height, data.rfind(b"IEND\xaeB`\x82") >= 0)
        if data[:2] == b"BM" and len(data) >= 26:
            size, = struct.unpack("<I", data[2:6])
            width, height = struct.unpack("<ii", data[18:26])
            return PictureInfo("bmp", abs(width), abs(height), len(data) >= size)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _probe_webp(data)
    except (struct.error, IndexError):
        raise PictureError("truncated header ({} bytes)".format(len(data)))
    raise PictureError("not a JPEG, PNG, BMP or WebP picture (starts with {!r})".format(bytes(data[:8])))


def _probe_jpeg(data: bytes) -> PictureInfo:
    """Walk the marker segments, so that an EXIF thumbnail's end is not taken for the picture's."""
    position, width, height = 2, 0, 0
    while True:
        if data[position] != 0xFF:
            raise PictureError("damaged JPEG: no marker at byte {}".format(position))
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length, = struct.unpack(">H", data[position + 2:position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5:position + 9])
        position += 2 + length
        if marker == 0xDA:  # start of scan: in entropy-coded data FF D9 can only be the end of the picture
            if not width or not height:
                raise PictureError("damaged JPEG: no frame header before the scan")
            return PictureInfo("jpeg", width, height, data.find(b"\xff\xd9", position) >= 0)


def _probe_webp(data: bytes) -> PictureInfo:
    size, = struct.unpack("<I", data[4:8])
    kind, complete = data[12:16], len(data) >= size + 8
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return PictureInfo("webp", width & 0x3FFF, height & 0x3FFF, complete)
    if kind == b"VP8L":
        bits, = struct.unpack("<I", data[21:25])
        return PictureInfo("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, complete)
    if kind == b"VP8X":
        wide, high = data[24:27] + b"\0", data[27:30] + b"\0"
        return PictureInfo("webp", struct.unpack("<I", wide)[0] + 1, struct.unpack("<I", high)[0] + 1, complete)
    raise PictureError("damaged WebP: unknown chunk {!r}".format(bytes(kind)))


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the bytes of a picture file to (H, W, 3) uint8, BGR, with the EXIF orientation applied.

    Raises PictureError for a truncated, oversized, foreign or undecodable picture.
    """
    info = probe(data)
    if info.width_px * info.height_px > max_pixels:
        raise PictureError("{} x {} pixels is more than the {:.0f} million that are decoded".format(
            info.width_px, info.height_px, max_pixels / 1e6))
    if not info.complete:
        raise PictureError("truncated {} ({} bytes, the end is missing)".format(info.format.upper(), len(data)))
    try:
        image_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        text = (str(error).strip() or "no memory").splitlines()[-1]
        if isinstance(error, MemoryError) or "Insufficient memory" in text:
            raise PictureError("{} x {} pixels: there is not enough memory to decode them".format(
                info.width_px, info.height_px))
        raise PictureError("OpenCV cannot decode it: {}".format(text))
    if image_bgr is None:
        raise PictureError("damaged {}: OpenCV cannot decode it".format(info.format.upper()))
    return image_bgr


def read(path: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read and decode a picture file; see decode. Raises PictureError, also when the file cannot be read."""
    return decode(read_bytes(path), max_pixels)


def read_bytes(path: str) -> bytes:
    """Read a picture file whole. Raises PictureError when it cannot be read or is larger than MAX_BYTES."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):  # opening a FIFO may never return
            raise PictureError("cannot be read: not a regular file")
        if status.st_size > MAX_BYTES:
            raise PictureError("{} bytes is more than the {} that are read".format(status.st_size, MAX_BYTES))
        with open(path, "rb") as file:
            return file.read(status.st_size + 1)  # a number is a buffer of that size, however short the file
    except OSError as error:
        raise PictureError("cannot be read: {}".format(error.strerror or error))
    except MemoryError:
        raise PictureError("cannot be read: there is not enough memory for it")


def format_of_name(path: str) -> Optional[str]:
    """The picture format that a file's extension promises, or None if it is no picture's."""
    return EXTENSIONS.get(os.path.splitext(path)[1].lower())
