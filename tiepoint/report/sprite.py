"""The patches of a report on one sheet."""

from __future__ import annotations

import cv2
import numpy as np

from tiepoint.types import Matrix, Picture

PATCH_PX = 64
COLUMNS = 20


def sprite(a: Picture, b: Picture, points: Matrix) -> Picture:
    """One sheet of the patches, 64x64 pixels, upright and unscaled, around each point in a and in b.

    Args:
        a: (H, W).
        b: (H, W).
        points: (K, 4): xa, ya, xb, yb in pixels; K at least 1.

    Returns:
        (64 * rows, 128 * columns): point k at row k // 20 and column k % 20, a left and b right of it.
    """
    columns = min(COLUMNS, len(points))
    sheet = np.zeros((-(-len(points) // columns) * PATCH_PX, columns * 2 * PATCH_PX), dtype=np.uint8)
    for k, (xa, ya, xb, yb) in enumerate(points.tolist()):
        top, left = k // columns * PATCH_PX, k % columns * 2 * PATCH_PX
        # The point lies in the middle of the patch, between its two central pixels; the border pixel is repeated.
        sheet[top : top + PATCH_PX, left : left + PATCH_PX] = cv2.getRectSubPix(a, (PATCH_PX, PATCH_PX), (xa, ya))
        left += PATCH_PX
        sheet[top : top + PATCH_PX, left : left + PATCH_PX] = cv2.getRectSubPix(b, (PATCH_PX, PATCH_PX), (xb, yb))
    return sheet
