"""Cut-outs: the item is told from its board, and where it cannot be, the whole picture is kept."""

import zipfile

import cv2
import numpy as np
import pytest

from edge.frames import pictures
from trainer.cutout import SIDE_PX, cached_cutouts, cut_out


def on_board(seed, shape="box", board=(215, 222, 226), item=(60, 90, 160)):
    """An item with a known mask on a board with uneven light and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:320j, -1:1:320j]
    light = 1 - 0.15 * x + 0.1 * y * y
    picture = light[..., None] * np.array(board, float)
    truth = np.zeros((320, 320), np.uint8)
    if shape == "box":
        cv2.rectangle(truth, (90, 110), (220, 230), 255, -1)
    else:
        cv2.circle(truth, (170, 150), 70, 255, -1)
    picture[truth > 0] = (light[..., None] * np.array(item, float))[truth > 0]
    picture += rng.normal(0, 3, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8), cv2.resize(truth, (SIDE_PX, SIDE_PX)) > 127


@pytest.mark.parametrize("shape", ["box", "disc"])
@pytest.mark.parametrize("board", [(215, 222, 226), (150, 155, 160), (190, 205, 225)])
def test_the_item_is_found_and_its_board_known(shape, board):
    picture, truth = on_board(1, shape, board)
    cut = cut_out(picture)
    mask = cut.mask > 127
    assert cut.found
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    shrunk = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    around = ~cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert np.abs(cut.board_bgr[around].astype(int) - shrunk[around]).mean() < 8


@pytest.mark.parametrize("picture", [
    pytest.param(np.full((320, 320, 3), 220, np.uint8), id="an empty board"),
    pytest.param(np.full((320, 320, 3), (70, 120, 170), np.uint8), id="cardboard that fills the picture"),
    pytest.param(np.zeros((320, 320, 3), np.uint8), id="black"),
    pytest.param(np.random.default_rng(0).integers(0, 256, (320, 320, 3)).astype(np.uint8), id="noise")])
def test_where_nothing_stands_out_the_whole_picture_is_kept(picture):
    assert not cut_out(picture).found


def test_cutouts_are_kept_and_the_same_again(tmp_path):
    images = np.stack([on_board(s)[0] for s in range(3)])
    first = np.array(cached_cutouts(tmp_path / "c.npy", images))
    assert first.shape == (3, SIDE_PX, SIDE_PX, 4)
    assert np.array_equal(first[0, ..., 3], cut_out(images[0]).mask)
    assert np.array_equal(first, cached_cutouts(tmp_path / "c.npy", images[:0]))  # read, not made again


def test_most_real_items_are_found(shared_data):
    with zipfile.ZipFile(shared_data / "trashnet-dataset-resized.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg") and "__MACOSX" not in n
                       and n.split("/")[-2] in ("glass", "metal", "plastic"))[::40]
        found = [cut_out(pictures.decode(archive.read(name))).found for name in names]
    assert len(found) > 25 and np.mean(found) > 0.7
