"""Pictures of matches and of registered images, for eyes alone: 16-bit and float images are stretched to 8 bits."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.warps import Warp
from tiepoint.images.pixels import to_uint8
from tiepoint.images.raster import Raster
from tiepoint.types import Picture

INLIER, OUTLIER = (64, 220, 90), (225, 70, 60)
SUBPIXEL_BITS = 4


def draw_matches(
    a: NDArray[Any],
    b: NDArray[Any],
    points: NDArray[np.float64],
    inliers: NDArray[np.bool_] | None = None,
    *,
    most: int = 300,
) -> Picture:
    """The images side by side with a line for each match.

    Args:
        a: (H, W) grey, uint8, uint16 or float32.
        b: likewise, of any size.
        points: (M, 4): xa, ya, xb, yb in pixels.
        inliers: (M,) bool; inliers are drawn green and over the others, which are red. All are green if None.
        most: lines drawn at most of each kind, evenly taken from the rows.

    Returns:
        RGB picture (max of heights, sum of widths, 3), uint8.
    """
    left, right = _rgb(a), _rgb(b)
    canvas = np.zeros((max(len(left), len(right)), left.shape[1] + right.shape[1], 3), dtype=np.uint8)
    canvas[: len(left), : left.shape[1]] = left
    canvas[: len(right), left.shape[1] :] = right
    good = np.ones(len(points), dtype=bool) if inliers is None else inliers
    thickness = max(1, round(max(canvas.shape) / 1500))
    for rows, colour in ((np.flatnonzero(~good), OUTLIER), (np.flatnonzero(good), INLIER)):
        shown = points[rows[:: max(1, -(-len(rows) // most))]] + (0, 0, left.shape[1], 0)
        for x0, y0, x1, y1 in np.rint(shown * 2**SUBPIXEL_BITS).astype(int).tolist():
            cv2.line(canvas, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return canvas


def draw_overlay(
    a: NDArray[Any],
    b: NDArray[Any],
    matrix: NDArray[np.float64] | Warp,
    style: Literal["colours", "checkerboard"] = "colours",
    *,
    tiles: int = 8,
) -> Picture:
    """Image a, warped by `matrix` (3, 3; a -> b) or by a warp of `tiepoint.geometry.warps`, over b.

    "colours": a in red, b in cyan, so that what fits is grey. "checkerboard": squares of the one and the other in turn,
    `tiles` along the longer side; only b where a does not reach.

    Returns:
        RGB picture of b's size, uint8.
    """
    fixed = to_uint8(b)
    height, width = fixed.shape
    if isinstance(matrix, np.ndarray):
        moved = cv2.warpPerspective(to_uint8(a), matrix, (width, height), flags=cv2.INTER_LINEAR)
        ones = np.ones(a.shape, dtype=np.uint8)
        covered = cv2.warpPerspective(ones, matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
    else:
        moved, covered = matrix.warp(Raster(to_uint8(a), None, (0, 255)), (height, width))
    if style == "colours":
        return np.dstack([moved, fixed, fixed])
    side = max(1, -(-max(height, width) // tiles))
    squares = np.add.outer(np.arange(height) // side, np.arange(width) // side) % 2 == 1
    return _rgb(np.where(squares & covered, moved, fixed))


def _rgb(image: NDArray[Any]) -> Picture:
    return np.repeat(to_uint8(image)[:, :, None], 3, axis=2)
