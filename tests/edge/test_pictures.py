"""Picture files: recognised by their bytes, whole or refused, never larger than allowed, upright."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from edge.errors import PictureError
from edge.frames import pictures
from edge.frames.drawn import draw_named
from edge.frames.pictures import decode, probe

PICTURE = draw_named("glass", 1, 40, 56)  # (40, 56, 3)
OTHER = draw_named("metal", 2, 32, 32)
EXACT, LOSSY, ANY = 0, 30, 255  # how far a pixel may be off


def encoded(extension, *parameters, **keywords):
    fine, data = cv2.imencode(extension, keywords.get("image", PICTURE), list(parameters))
    assert fine
    return data.tobytes()


def segment(marker, content):
    return b"\xff" + struct.pack(">BH", marker, len(content) + 2) + content


def with_segments(jpeg, *segments):
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def exif(orientation, order="<"):
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + header + struct.pack(order + "H", 1) + entry + struct.pack(order + "I", 0)


def png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) & 0xFFFFFFFF)


def png_of_size(width, height):
    """A PNG that claims a size and has hardly any data."""
    return (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b""))


def jpeg_of_size(width, height, marker=0xC0):
    """A JPEG whose frame header claims another size."""
    data = encoded(".jpg")
    at = data.index(b"\xff\xc0") + 5
    return (data[:at] + struct.pack(">HH", height, width) + data[at + 4:]).replace(
        b"\xff\xc0", b"\xff" + struct.pack("B", marker), 1)


def bmp_of_size(width, height):
    data = encoded(".bmp")
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def webp_of_size(width, height):
    """An extended WebP that claims a canvas."""
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas + encoded(".webp")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


GREY16 = (np.arange(40 * 56, dtype=np.uint16).reshape(40, 56) * 25)
ALPHA = np.dstack([PICTURE, np.full((40, 56), 128, np.uint8)])
GREY = cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)

WHOLE = [
    # word, bytes, format, what must come out, how far a pixel may be off
    ("jpeg", encoded(".jpg"), "jpeg", PICTURE, LOSSY),
    ("progressive jpeg", encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "jpeg", PICTURE, LOSSY),
    ("jpeg with restart markers", encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 4), "jpeg", PICTURE, LOSSY),
    ("grey jpeg", encoded(".jpg", image=GREY), "jpeg", cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR), LOSSY),
    ("jpeg of one pixel", encoded(".jpg", image=PICTURE[:1, :1]), "jpeg", PICTURE[:1, :1], LOSSY),
    ("jpeg with fill bytes", encoded(".jpg").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1), "jpeg", PICTURE, LOSSY),
    ("jpeg with bytes behind its end", encoded(".jpg") + b"\0" * 5000, "jpeg", PICTURE, LOSSY),
    ("jpeg with a comment", with_segments(encoded(".jpg"), segment(0xFE, b"x" * 3000)), "jpeg", PICTURE, LOSSY),
    ("png", encoded(".png"), "png", PICTURE, EXACT),
    ("grey png", encoded(".png", image=GREY), "png", cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR), EXACT),
    ("16-bit png", encoded(".png", image=GREY16), "png", np.dstack([(GREY16 >> 8).astype(np.uint8)] * 3), 1),
    ("png with alpha", encoded(".png", image=ALPHA), "png", PICTURE, EXACT),
    ("png of one pixel", encoded(".png", image=PICTURE[:1, :1]), "png", PICTURE[:1, :1], EXACT),
    ("bmp", encoded(".bmp"), "bmp", PICTURE, EXACT),
    ("grey bmp", encoded(".bmp", image=GREY), "bmp", cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR), EXACT),
    ("webp", encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 95), "webp", PICTURE, 80),
    ("lossless webp", encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101), "webp", PICTURE, EXACT),
    ("webp with alpha", encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101, image=ALPHA), "webp", PICTURE, EXACT),
    ("webp of one pixel", encoded(".webp", image=PICTURE[:1, :1]), "webp", PICTURE[:1, :1], LOSSY),
]


def off_by(image, expected):
    return int(np.abs(image.astype(int) - expected.astype(int)).max())


@pytest.mark.parametrize("word, data, kind, expected, allowed", WHOLE, ids=[case[0] for case in WHOLE])
def test_a_whole_picture_is_probed_and_decoded(word, data, kind, expected, allowed):
    assert probe(data) == (kind, expected.shape[1], expected.shape[0], True)
    image = decode(data)
    assert image.dtype == np.uint8 and image.shape == expected.shape
    assert off_by(image, expected) <= allowed
    if allowed:
        assert np.abs(image.astype(int) - expected).mean() < 6  # and not in the wrong colour order


def test_a_bmp_that_is_stored_from_the_top():
    data = encoded(".bmp")
    rows = [data[54 + row * 168:54 + (row + 1) * 168] for row in range(40)]
    flipped = data[:22] + struct.pack("<i", -40) + data[26:54] + b"".join(reversed(rows))
    assert probe(flipped) == ("bmp", 56, 40, True)
    assert np.array_equal(decode(flipped), PICTURE)


# ---------------------------------------------------------------- truncated

SMALL = draw_named("paper", 3, 32, 32)
CUT = [
    ("jpeg", encoded(".jpg", image=SMALL)),
    ("progressive jpeg", encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1, image=SMALL)),
    ("jpeg with restart markers", encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 1, image=SMALL)),
    ("png", encoded(".png", image=SMALL)),
    ("bmp", encoded(".bmp", image=SMALL)),
    ("webp", encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 60, image=SMALL)),
    ("lossless webp", encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 101, image=SMALL)),
]


@pytest.mark.parametrize("word, data", CUT, ids=[case[0] for case in CUT])
def test_every_truncation_is_a_picture_error(word, data):
    decode(data)
    for length in range(len(data)):
        with pytest.raises(PictureError) as caught:
            decode(data[:length])
            pytest.fail("{} of {} bytes were decoded".format(length, len(data)))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word, data", CUT, ids=[case[0] for case in CUT])
def test_no_truncation_is_taken_for_complete(word, data):
    """A watched folder asks probe alone whether a file has arrived whole."""
    assert probe(data).complete
    for length in range(len(data)):
        try:
            assert not probe(data[:length]).complete, length
        except PictureError:
            pass  # not even a header


def test_the_end_of_an_exif_thumbnail_is_not_the_end_of_the_picture():
    thumbnail = encoded(".jpg", image=OTHER)
    assert thumbnail.endswith(b"\xff\xd9")
    data = with_segments(encoded(".jpg"), segment(0xE1, b"Exif\0\0" + thumbnail))
    assert probe(data) == ("jpeg", 56, 40, True)  # nor is its size the picture's
    assert off_by(decode(data), decode(encoded(".jpg"))) == 0
    scan = data.rindex(b"\xff\xda") + 20  # from here on there is a header, and only the end is missing
    for length in range(scan, len(data)):
        assert not probe(data[:length]).complete
        with pytest.raises(PictureError, match="truncated"):
            decode(data[:length])


@pytest.mark.parametrize("word, data", CUT, ids=[case[0] for case in CUT])
def test_damaged_bytes_are_decoded_or_refused(word, data):
    rng = np.random.RandomState(len(data))
    outcomes = set()
    for _ in range(250):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 5)):
            damaged[rng.randint(len(damaged))] ^= 1 << rng.randint(8)
        try:
            image = decode(bytes(damaged), max_pixels=10 ** 6)
            outcomes.add("decoded")
            assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
        except PictureError as error:
            outcomes.add("refused")
            assert str(error) and "\n" not in str(error)
    assert "refused" in outcomes


def test_noise_behind_each_signature_is_refused():
    rng = np.random.RandomState(0)
    for start in (b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF\x40\0\0\0WEBP",
                  b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0WEBPVP8L", b"RIFF\0\0\0\0WEBPVP8X"):
        for length in list(range(40)) + [200, 1000]:
            with pytest.raises(PictureError):
                decode(start + rng.bytes(length), max_pixels=10 ** 6)


# ---------------------------------------------------------------- bombs

@pytest.mark.parametrize("word, data, size", [
    ("png", png_of_size(30000, 30000), "30000 x 30000"),
    ("png of the largest size", png_of_size(2 ** 31 - 1, 2 ** 31 - 1), "2147483647 x 2147483647"),
    ("png, long and thin", png_of_size(1, 65 * 10 ** 6), "1 x 65000000"),
    ("jpeg", jpeg_of_size(30000, 30000), "30000 x 30000"),
    ("progressive jpeg", jpeg_of_size(65535, 65535, 0xC2), "65535 x 65535"),
    ("arithmetic jpeg", jpeg_of_size(30000, 30000, 0xC9), "30000 x 30000"),
    ("bmp", bmp_of_size(30000, 30000), "30000 x 30000"),
    ("bmp from the top", bmp_of_size(30000, -30000), "30000 x 30000"),
    ("webp", webp_of_size(16383, 16383), "16383 x 16383"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch, word, data, size):
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: pytest.fail("it was decoded"))
    with pytest.raises(PictureError) as caught:
        decode(data)
    assert size in str(caught.value) and "64 million" in str(caught.value)


def test_the_limit_itself_is_allowed():
    assert decode(encoded(".png"), max_pixels=40 * 56).shape == (40, 56, 3)
    with pytest.raises(PictureError):
        decode(encoded(".png"), max_pixels=40 * 56 - 1)


def test_a_file_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(".jpg"))
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    with pytest.raises(PictureError, match="bytes is more than the 100"):
        pictures.read(str(path))


# ---------------------------------------------------------------- orientation

UPRIGHT = {  # EXIF orientation -> how the stored picture is turned to stand upright (TIFF 6.0, tag 0x0112)
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("order", ["<", ">"], ids=["little endian", "big endian"])
@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
def test_exif_orientation_is_honoured(orientation, order):
    corners = np.zeros((32, 48, 3), np.uint8)  # four quarters of different grey, sides of different length
    corners[:16, :24], corners[:16, 24:], corners[16:, :24] = 60, 120, 200
    jpeg = encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, 95, image=corners)
    image = decode(with_segments(jpeg, segment(0xE1, exif(orientation, order))))
    expected = UPRIGHT[orientation](corners)
    assert image.shape == expected.shape and off_by(image, expected) <= 12


# ---------------------------------------------------------------- what is no picture

@pytest.mark.parametrize("word, data, names", [
    ("empty", b"", ["empty file"]),
    ("text", b"hello, this is no picture", ["not a JPEG, PNG, BMP or WebP", "hello"]),
    ("gif", b"GIF89a\x01\0\x01\0\0\0\0;", ["not a JPEG, PNG, BMP or WebP", "GIF89a"]),
    ("riff, but sound", b"RIFF\x24\0\0\0WAVEfmt ", ["not a JPEG, PNG, BMP or WebP"]),
    ("html of an error page", b"<html>404</html>", ["not a JPEG"]),
    ("zeros", b"\0" * 4096, ["not a JPEG"]),
    ("start of a jpeg", b"\xff\xd8", ["truncated header", "2 bytes"]),
    ("jpeg without a frame", b"\xff\xd8" + segment(0xDA, b"123456") + b"\xff\xd9", ["damaged JPEG", "frame header"]),
    ("jpeg, no marker", b"\xff\xd8" + b"\0" * 20, ["damaged JPEG", "byte 2"]),
    ("unknown webp", b"RIFF\x10\0\0\0WEBPVP9 \0\0\0\0\0\0\0\0", ["damaged WebP", "VP9"]),
    ("png without pixels", png_of_size(40, 40), ["PNG"]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_no_picture_is_refused_by_name(word, data, names):
    with pytest.raises(PictureError) as caught:
        decode(data)
    for name in names:
        assert name in str(caught.value)


def test_the_extension_does_not_matter(tmp_path):
    path = tmp_path / "png.jpg"
    path.write_bytes(encoded(".png"))
    assert np.array_equal(pictures.read(str(path)), PICTURE)


@pytest.mark.parametrize("word, make, names", [
    ("text named .jpg", lambda path: path.write_text("hello"), ["not a JPEG"]),
    ("empty file", lambda path: path.write_bytes(b""), ["empty file"]),
    ("folder named .jpg", lambda path: path.mkdir(), ["cannot be read", "directory"]),
    ("dangling link", lambda path: path.symlink_to("nowhere"), ["cannot be read", "No such file"]),
    ("link to itself", lambda path: path.symlink_to(path.name), ["cannot be read"]),
    ("missing", lambda path: None, ["cannot be read", "No such file"]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_file_that_gives_no_picture(tmp_path, word, make, names):
    path = tmp_path / "a.jpg"
    make(path)
    with pytest.raises(PictureError) as caught:
        pictures.read(str(path))
    for name in names:
        assert name in str(caught.value)


def test_a_file_without_read_permission(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(".jpg"))
    path.chmod(0)
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        pytest.skip("root may read every file")
    with pytest.raises(PictureError, match="cannot be read: Permission denied"):
        pictures.read(str(path))


@pytest.mark.parametrize("name, expected", [
    ("a.jpg", "jpeg"), ("a.JPEG", "jpeg"), ("/b.c/a.Png", "png"), ("a.bmp", "bmp"), ("a.webp", "webp"),
    ("a.gif", None), ("a.jpg.part", None), ("jpg", None), (".jpg", None), ("a.jpg/", None),
])
def test_format_of_name(name, expected):
    assert pictures.format_of_name(name) == expected
