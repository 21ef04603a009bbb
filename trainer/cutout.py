"""Which part of a photograph is the item: a mask, and what the board under it would look like without it.

For photographs on a plain board, as TrashNet's. The board's light is a quadratic surface fitted to the picture's rim;
what differs from it in light, colour or texture is the item; GrabCut (Rother et al. 2004) finds its edge.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from trainer.files import write_atomically

SIDE_PX = 128  # masks are made at this size: an edge is then within 2 pixels at the network's input
PLAUSIBLE = (0.03, 0.85)  # share of the picture that an item may take
BOARD_RIM = 0.55  # share of the rim that must look like board, else the item fills the picture


class Cutout(NamedTuple):
    """One picture's mask and board, each for the picture shrunk to SIDE_PX."""

    mask: np.ndarray  # (SIDE_PX, SIDE_PX) uint8, 255 is item; all 255 where no item could be told from the board
    board_bgr: np.ndarray  # (SIDE_PX, SIDE_PX, 3) uint8

    @property
    def found(self) -> bool:
        """Whether the item was told from the board."""
        return not bool((self.mask == 255).all())


def cut_out(image_bgr: np.ndarray) -> Cutout:
    """The cut-out of image_bgr, (h, w, 3) uint8 BGR."""
    small = cv2.resize(image_bgr, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    board, rim_share = _board(cv2.GaussianBlur(small, (3, 3), 0))
    board_bgr = np.clip(np.exp(board) - 8, 1, 255)
    everything = Cutout(np.full((SIDE_PX, SIDE_PX), 255, np.uint8), board_bgr.astype(np.uint8))
    if rim_share < BOARD_RIM or not _is_pale(board_bgr):
        return everything
    rough = _rough_mask(small, board)
    if not PLAUSIBLE[0] < rough.mean() < PLAUSIBLE[1]:
        return everything
    mask = _refined(small, rough)
    if not PLAUSIBLE[0] < mask.mean() < PLAUSIBLE[1]:
        return everything
    return everything._replace(mask=cv2.GaussianBlur(mask * 255, (3, 3), 0))


def _is_pale(board_bgr: np.ndarray) -> bool:
    """Board is near white or grey; a brown rim is cardboard that fills the picture."""
    mean = board_bgr.reshape(-1, 3).mean(0)
    return bool(mean.mean() > 60 and (mean.max() - mean.min()) / mean.max() < 0.35)


def _board(small: np.ndarray) -> tuple[np.ndarray, float]:
    """Log colour (SIDE_PX, SIDE_PX, 3) of the board, and the share of the rim that fits it."""
    log = np.log(small.astype(np.float32) + 8)
    y, x = np.mgrid[-1:1:SIDE_PX * 1j, -1:1:SIDE_PX * 1j].astype(np.float32)
    basis = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1)
    rim = np.zeros((SIDE_PX, SIDE_PX), bool)
    width = SIDE_PX // 12
    rim[:width] = rim[-width:] = rim[:, :width] = rim[:, -width:] = True
    terms, seen = basis[rim], log[rim]
    light = seen.mean(1)
    weight = (light >= np.percentile(light, 40)).astype(np.float32)  # items are mostly darker than white board
    stiff = np.diag([1e-3, .5, .5, 2, 2, 2]) * len(terms) * 0.01  # curvature costs, so that an item is not fitted
    for _ in range(6):  # iteratively reweighted least squares with Geman-McClure weights
        weighted = terms * weight[:, None]
        surface = np.linalg.solve(weighted.T @ terms + stiff, weighted.T @ seen)
        error = np.abs(seen - terms @ surface).max(1)
        spread = max(float(np.median(error[weight > 0.1])) * 1.5, 0.02)
        weight = (1 / (1 + (error / (2 * spread)) ** 2) ** 2).astype(np.float32)
    return basis @ surface, float((error < max(3 * spread, 0.08)).mean())


def _rough_mask(small: np.ndarray, board: np.ndarray) -> np.ndarray:
    """Where light, colour or texture differ from the board's by more than they do along the rim."""
    difference = np.log(small.astype(np.float32) + 8) - board
    light = difference.mean(2)
    colour = np.abs(difference - light[..., None]).max(2)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
    texture = cv2.GaussianBlur(slope, (0, 0), 1.2) / np.exp(board).mean(2)
    score = 0.8 * np.abs(light) + 3 * colour + 6 * texture
    rim = np.concatenate([score[:4].ravel(), score[-4:].ravel(), score[:, :4].ravel(), score[:, -4:].ravel()])
    mask = (score > max(0.16, 2 * np.percentile(rim, 60))).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13)))
    filled = _filled(mask, at_least=0.12)
    return cv2.morphologyEx(filled, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))


def _filled(mask: np.ndarray, at_least: float) -> np.ndarray:
    """The outlines in mask without holes, but for those smaller than a share of the largest."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(outline) for outline in outlines]
    kept = [o for o, area in zip(outlines, areas, strict=True) if area > max(at_least * max(areas), 40)]
    return cv2.drawContours(np.zeros_like(mask), kept, -1, 1, -1) if kept else np.zeros_like(mask)


def _refined(small: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """GrabCut between a shrunken and a grown rough mask."""
    labels = np.full(rough.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(rough, np.ones((11, 11), np.uint8)) > 0] = cv2.GC_PR_BGD
    labels[rough > 0] = cv2.GC_PR_FGD
    labels[cv2.erode(rough, np.ones((9, 9), np.uint8)) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(0)  # its clusters start at random
    try:
        cv2.grabCut(small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # nothing is sure to be item, or all is
        return rough
    item = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    return _filled(cv2.morphologyEx(item, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)), at_least=0.02)


def cached_cutouts(path: Path, images: np.ndarray) -> np.ndarray:
    """Cut-outs of images (N, h, w, 3) uint8 BGR: (N, SIDE_PX, SIDE_PX, 4) uint8, board's BGR and mask; kept in path."""
    if not path.exists():
        def write(file) -> None:
            shape = (len(images), SIDE_PX, SIDE_PX, 4)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for index in tqdm(range(len(images)), desc="cut out", unit="picture", leave=False):
                cut = cut_out(np.asarray(images[index]))
                file.write(np.dstack([cut.board_bgr, cut.mask]).tobytes())
        write_atomically(path, write)
    return np.load(path, mmap_mode="r")
