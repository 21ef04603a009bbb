"""Where the sides of a thing that fills its rectangle really are, from the full picture: the mask is coarse, and dirt
beside a thing is part of it."""

from typing import Tuple

import cv2
import numpy as np

from edge.gate.sights import Cut, Sight

REACH = 0.12  # of the longer side: so far in a side may be from where the mask says
INNER_PX = 4  # what is as far in as that shows how much the thing differs from the belt
SURE = 24  # grey levels by which it must, for a place along the side to count
SURE_SHARE = 0.3  # of the places along a side, for it to be looked for
REACHED = 0.6  # of that difference: there the belt ends
CORNER, CORNER_SHARE = 0.06, 0.5  # of the sides; so much of each corner of a box is no belt


def settle(sight: Sight, cut: Cut, belt: np.ndarray, to_belt: np.ndarray, slack_px: float) -> Tuple[Cut, bool]:
    """The cut with each side moved to where the thing begins, and whether all its corners are the thing's.

    belt: (h, w, 3) uint8 BGR, the empty one, smaller; to_belt: 2 x 3, from the frame's pixels to its; slack_px: how far
    out a side may be from where the cut says, in pixels of the sight.
    """
    margin = int(slack_px) + 1
    width, height = int(round(cut.width)) + 2 * margin, int(round(cut.height)) + 2 * margin
    matrix = cut.to_sight(sight, (width, height))
    shown = cv2.warpAffine(sight.picture, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                           borderMode=cv2.BORDER_REPLICATE)
    whole = np.vstack([to_belt, [0, 0, 1]]).dot(np.vstack([sight.to_frame(sight.x, sight.y), [0, 0, 1]]))
    under = cv2.warpAffine(belt, whole.dot(np.vstack([matrix, [0, 0, 1]]))[:2], (width, height),
                           flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    apart = cv2.absdiff(shown, under).max(axis=2)
    depth = 2 * margin + int(REACH * max(cut.width, cut.height))
    across, along = min(depth, width // 2), min(depth, height // 2)  # two sides of a thin thing do not meet
    left, right = (_begins(strip[margin:-margin, :across], margin) for strip in (apart, apart[:, ::-1]))
    top, bottom = (_begins(strip[margin:-margin, :along], margin) for strip in (apart.T, apart[::-1].T))
    x, y = matrix[:, :2].dot([(left - right) / 2, (top - bottom) / 2]) / sight.shrink
    settled = cut._replace(x=cut.x + x, y=cut.y + y, width=width - left - right, height=height - top - bottom)
    return settled, _is_box(apart[top:height - bottom, left:width - right])


def _begins(apart: np.ndarray, margin: int) -> int:
    """The first column that shows no belt, of (places along the side, columns from outside to inside) uint8; where that
    cannot be told, the one where the mask says, margin."""
    inner = np.median(apart[:, -INNER_PX:], axis=1).astype(np.float32)
    sure = inner > SURE
    if np.count_nonzero(sure) < SURE_SHARE * len(sure):
        return margin
    share = np.minimum(apart[sure], inner[sure, None]).sum(axis=0) / inner[sure].sum()
    return int(np.argmax(share >= REACHED))


def _is_box(apart: np.ndarray) -> bool:
    """Whether no corner of (h, w) uint8 shows the belt."""
    h, w = (max(2, int(CORNER * side)) for side in apart.shape)
    corners = [apart[rows, columns] for rows in (slice(h), slice(-h, None)) for columns in (slice(w), slice(-w, None))]
    return all(np.count_nonzero(corner > SURE / 2) >= CORNER_SHARE * corner.size for corner in corners)
