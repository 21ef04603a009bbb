"""THE preprocessing, held against a plain float64 definition of it."""

import numpy as np
import pytest

from edge.frames.drawn import draw_named
from edge.preprocess import InputSpec, Preprocessor

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZES = [(224, 224), (384, 512), (512, 384), (100, 60), (60, 100), (224, 300), (300, 224), (1, 1), (1, 1000),
         (1000, 1), (2000, 3), (225, 223), (448, 448), (37, 911)]


def photograph(height, width, seed=3):
    """A drawn picture cut or repeated to any size, down to one pixel."""
    drawn = draw_named("plastic", seed, max(32, height), max(32, width))
    return np.ascontiguousarray(drawn[:height, :width])


# ---------------------------------------------------------------- the reference: slow, float64, one axis at a time

def area_weights(old, new):
    """(new, old): each new pixel is the mean of the old ones it covers."""
    edges = np.arange(new + 1) * (old / float(new))
    low, high = np.maximum(edges[:-1, None], np.arange(old)), np.minimum(edges[1:, None], np.arange(old) + 1)
    weights = np.maximum(high - low, 0.0)
    return weights / weights.sum(1, keepdims=True)


def linear_weights(old, new):
    """(new, old): each new pixel lies between two old ones; beyond the outermost centres they are repeated."""
    weights = np.zeros((new, old))
    for row, centre in enumerate((np.arange(new) + 0.5) * old / new - 0.5):
        at = min(max(centre, 0.0), old - 1.0)
        left = min(int(at), old - 1)
        right = min(left + 1, old - 1)
        weights[row, left] += 1 - (at - left)
        weights[row, right] += at - left
    return weights


def resampled(image, height, width):
    """Areas are averaged where both sides shrink or stay, else bilinear."""
    rule = area_weights if image.shape[0] >= height and image.shape[1] >= width else linear_weights
    down, across = rule(image.shape[0], height), rule(image.shape[1], width)
    return np.einsum("ihc,jh->ijc", np.tensordot(down, image.astype(np.float64), 1), across, optimize=True)


def stretch(image, side):
    return resampled(image, side, side)


def letterbox(image, side):
    scale = side / float(max(image.shape[:2]))
    height, width = (max(1, int(round(length * scale))) for length in image.shape[:2])
    out = np.full((side, side, 3), 114.0)
    top, left = (side - height) // 2, (side - width) // 2
    out[top:top + height, left:left + width] = resampled(image, height, width)
    return out


def crop(image, side):
    short = min(image.shape[:2])
    top, left = (image.shape[0] - short) // 2, (image.shape[1] - short) // 2
    return resampled(image[top:top + short, left:left + short], side, side)


REFERENCES = {"stretch": stretch, "letterbox": letterbox, "crop": crop}


def reference(image_bgr, rule, side=224):
    resized = REFERENCES[rule](image_bgr, side)
    rgb = resized[:, :, ::-1] / 255.0
    return ((rgb - MEAN) / STD).transpose(2, 0, 1)[None]


def run(image_bgr, rule="stretch", side=224):
    preprocessor = Preprocessor(InputSpec(side, side, rule))
    out = np.zeros((1, 3, side, side), np.float32)
    preprocessor(image_bgr, out)
    return out


# ---------------------------------------------------------------- against the reference

@pytest.mark.parametrize("rule", sorted(REFERENCES))
@pytest.mark.parametrize("height, width", SIZES, ids=str)
def test_agrees_with_the_definition(rule, height, width):
    image = photograph(height, width)
    off = np.abs(run(image, rule) - reference(image, rule)) * STD[None, :, None, None] * 255
    assert off.max() <= 1.05  # grey levels: half for rounding to whole ones, half for OpenCV's fixed-point weights
    assert off.mean() <= 0.3


def test_normalisation_of_every_value_is_exact():
    """Of the network's own size nothing is resampled, so that each of the 256 values can be followed."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.dstack([ramp, ramp.T, ramp[::-1]])
    expected = ((image[:, :, ::-1] / 255.0 - MEAN) / STD).transpose(2, 0, 1)[None]
    for rule in REFERENCES:
        assert np.abs(run(image, rule, side=16) - expected).max() < 1e-6


def test_colours_come_in_rgb_order():
    blue = np.zeros((40, 30, 3), np.uint8)
    blue[:, :, 0] = 255  # BGR
    out = run(blue)
    expected = ([0.0, 0.0, 1.0] - MEAN) / STD
    for channel in range(3):
        assert np.allclose(out[0, channel], expected[channel], atol=1e-6)


def test_mean_and_std_are_those_of_the_spec():
    spec = InputSpec(8, 8, "stretch", (0.5, 0.25, 0.0), (0.5, 2.0, 1.0))
    out = np.zeros(spec.shape, np.float32)
    Preprocessor(spec)(np.full((8, 8, 3), 255, np.uint8), out)
    assert np.allclose(out[0, :, 0, 0], [1.0, 0.375, 1.0])


# ---------------------------------------------------------------- geometry

@pytest.mark.parametrize("height, width, top, left, high, wide", [
    (100, 100, 0, 0, 64, 64),  # square: filled
    (100, 200, 16, 0, 32, 64),  # lying: grey above and below
    (200, 100, 0, 16, 64, 32),  # standing: grey at the sides
    (10, 20, 16, 0, 32, 64),  # enlarged
    (64, 21, 0, 21, 64, 21),  # odd rest: one pixel more on the right
    (1, 1000, 31, 0, 1, 64),  # never less than one row
    (1000, 1, 0, 31, 64, 1),
])
def test_letterbox_keeps_the_aspect_and_centres_on_grey(height, width, top, left, high, wide):
    image = np.full((height, width, 3), 250, np.uint8)
    preprocessor = Preprocessor(InputSpec(64, 64, "letterbox"))
    expected = np.full((64, 64, 3), 114)
    expected[top:top + high, left:left + wide] = 250
    assert np.array_equal(preprocessor.resize(image), expected)
    assert preprocessor.resize(photograph(48, 64)) is not None  # another shape in between leaves nothing behind
    assert np.array_equal(preprocessor.resize(image), expected)


@pytest.mark.parametrize("height, width, top, left, side", [
    (100, 100, 0, 0, 100), (100, 200, 0, 50, 100), (200, 100, 50, 0, 100), (101, 200, 0, 49, 101), (1, 9, 0, 4, 1),
    (64, 65, 0, 0, 64),
])
def test_crop_takes_the_largest_middle(height, width, top, left, side):
    image = np.zeros((height, width, 3), np.uint8)
    image[top:top + side, left:left + side] = 200
    assert (Preprocessor(InputSpec(64, 64, "crop")).resize(image) == 200).all()  # nothing from outside
    image[:], image[top, left], image[top + side - 1, left + side - 1] = 0, 255, 255
    resized = Preprocessor(InputSpec(64, 64, "crop")).resize(image)
    assert resized[0, 0].max() > 0 and resized[-1, -1].max() > 0  # and the corners are in it


def test_crop_for_a_network_that_is_not_square():
    image = np.zeros((90, 90, 3), np.uint8)
    image[30:60] = 200
    assert (Preprocessor(InputSpec(20, 60, "crop")).resize(image) == 200).all()
    image = image.transpose(1, 0, 2)
    assert (Preprocessor(InputSpec(60, 20, "crop")).resize(image) == 200).all()


def test_stretch_shows_the_whole_picture():
    image = np.zeros((100, 300, 3), np.uint8)
    image[:50, :150], image[50:, 150:] = 80, 240
    resized = Preprocessor(InputSpec(64, 64, "stretch")).resize(image)
    assert (resized[:31, :31] == 80).all() and (resized[33:, 33:] == 240).all()
    assert (resized[:31, 33:] == 0).all() and (resized[33:, :31] == 0).all()


def test_fine_print_is_averaged_and_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    resized = Preprocessor(InputSpec(64, 64, "stretch")).resize(stripes)
    assert np.abs(resized.astype(int) - 127).max() <= 1


# ---------------------------------------------------------------- buffers and what does not fit them

@pytest.mark.parametrize("rule", sorted(REFERENCES))
def test_nothing_is_reallocated(rule):
    preprocessor = Preprocessor(InputSpec(32, 32, rule))
    buffer = preprocessor.resize(photograph(40, 50))
    out = np.zeros((1, 3, 32, 32), np.float32)
    where = (buffer.ctypes.data, out.ctypes.data)
    for height, width in [(40, 50), (8, 9), (32, 32), (500, 20), (1, 1000)]:
        preprocessor(photograph(height, width), out)
        assert preprocessor.resize(photograph(height, width)) is buffer
        assert (buffer.ctypes.data, out.ctypes.data) == where
        assert np.array_equal(out, run(photograph(height, width), rule, side=32))  # and earlier pictures leave no trace


@pytest.mark.parametrize("word, view", [
    ("a part", lambda image: image[10:70, 20:90]),
    ("every second pixel", lambda image: image[::2, ::2]),
    ("mirrored", lambda image: image[:, ::-1]),
    ("upside down", lambda image: image[::-1]),
    ("turned", lambda image: image.transpose(1, 0, 2)),
    ("colours swapped", lambda image: image[:, :, ::-1]),
    ("rows of Fortran", np.asfortranarray),
    ("read only", lambda image: np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)),
    ("of a wider buffer", lambda image: np.dstack([image, image])[:, :, 1:4]),
], ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("rule", sorted(REFERENCES))
def test_views_are_taken_as_their_copies_are(rule, word, view):
    image = view(photograph(90, 120))
    before = image.copy()
    assert np.array_equal(run(image, rule, side=48), run(np.ascontiguousarray(image), rule, side=48))
    assert np.array_equal(image, before)  # the picture is the caller's


@pytest.mark.parametrize("word, image", [
    ("grey", np.zeros((50, 50), np.uint8)),
    ("one channel", np.zeros((50, 50, 1), np.uint8)),
    ("with alpha", np.zeros((50, 50, 4), np.uint8)),
    ("batch", np.zeros((1, 50, 50, 3), np.uint8)),
    ("channels first", np.zeros((3, 50, 50), np.uint8)),
    ("floats", np.zeros((50, 50, 3), np.float32)),
    ("16 bit", np.zeros((50, 50, 3), np.uint16)),
    ("signed", np.zeros((50, 50, 3), np.int8)),
    ("no rows", np.zeros((0, 50, 3), np.uint8)),
    ("no columns", np.zeros((50, 0, 3), np.uint8)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_picture_that_does_not_fit_raises(word, image):
    out = np.full((1, 3, 16, 16), 7, np.float32)
    with pytest.raises(ValueError) as caught:
        Preprocessor(InputSpec(16, 16))(image, out)
    assert str(image.shape) in str(caught.value) and str(image.dtype) in str(caught.value)
    assert (out == 7).all()


@pytest.mark.parametrize("word, out", [
    ("no batch", np.zeros((3, 16, 16), np.float32)),
    ("larger", np.zeros((1, 3, 17, 16), np.float32)),
    ("channels last", np.zeros((1, 16, 16, 3), np.float32)),
    ("two of them", np.zeros((2, 3, 16, 16), np.float32)),
    ("double", np.zeros((1, 3, 16, 16), np.float64)),
    ("half", np.zeros((1, 3, 16, 16), np.float16)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_buffer_that_does_not_fit_raises(word, out):
    with pytest.raises(ValueError) as caught:
        Preprocessor(InputSpec(16, 16))(np.ones((20, 20, 3), np.uint8), out)
    assert str(out.shape) in str(caught.value) and "(1, 3, 16, 16) float32" in str(caught.value)
    assert not out.any()


@pytest.mark.parametrize("resized", [np.zeros((16, 17, 3), np.uint8), np.zeros((16, 16, 3), np.float32)])
def test_normalise_takes_only_the_networks_own_size(resized):
    with pytest.raises(ValueError, match="uint8 is needed"):
        Preprocessor(InputSpec(16, 16)).normalise(resized, np.zeros((1, 3, 16, 16), np.float32))


@pytest.mark.parametrize("spec, names", [
    (InputSpec(8, 8, "squeeze"), ["squeeze", "stretch, letterbox, crop"]),
    (InputSpec(8, 8, "crop", (0.5, 0.5)), ["(0.5, 0.5)", "three"]),
    (InputSpec(8, 8, "crop", (0.5, 0.5, 0.5), (1.0, 0.0, 1.0)), ["(1.0, 0.0, 1.0)", "above 0"]),
])
def test_a_wrong_spec_raises(spec, names):
    with pytest.raises(ValueError) as caught:
        Preprocessor(spec)
    for name in names:
        assert name in str(caught.value)
