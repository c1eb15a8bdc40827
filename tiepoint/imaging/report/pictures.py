"""The pictures of a report: images reduced for the page, image a in the place of b, and patches around points."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST = 1600
LARGEST_WARPED = 8192  # OpenCV warps no image beyond 32766 pixels a side
PATCH = 64
COLUMNS = 20
Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]


def reduced(image: Picture, longest: int = LONGEST) -> Picture:
    """The image (H, W), its longer side at most `longest` pixels; averaged, so that nothing folds back."""
    return _resized(image, min(1.0, longest / max(image.shape)))


def warped(a: Picture, matrix: Matrix, size: tuple[int, int], longest: int = LONGEST) -> Picture:
    """Image a (H, W) mapped by `matrix` (3, 3; a -> b, pixels), over the area of `reduced` b; black where a is not.

    Where the page shows a smaller than it is, it is reduced before it is warped, by the scale at its centre.

    Args:
        a: uint8.
        matrix: of the full images.
        size: width and height of the full image b.
        longest: as of `reduced`.
    """
    shown = reduced(np.empty(size[::-1], dtype=np.uint8), longest).shape[::-1]
    to_shown = _scaling(size, shown) @ matrix
    source = _resized(a, min(1.0, _zoom(to_shown, a.shape[::-1]), LARGEST_WARPED / max(a.shape)))
    place = to_shown @ np.linalg.inv(_scaling(a.shape[::-1], source.shape[::-1]))
    return np.asarray(cv2.warpPerspective(source, place, shown, flags=cv2.INTER_LINEAR), dtype=np.uint8)


def outline(matrix: Matrix, size: tuple[int, int]) -> Matrix:
    """The corners (4, 2) of image a, of `size` width and height, mapped by `matrix`: the outer edges of its pixels."""
    width, height = size
    edges = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    corners = np.column_stack([edges, np.ones(4)]) @ matrix.T
    places: Matrix = corners[:, :2] / corners[:, 2:]
    return places


def sprite(a: Picture, b: Picture, points: Matrix) -> Picture:
    """Patches of 64x64 pixels around each point in a and in b, upright and unscaled, on one sheet.

    Args:
        a: (H, W).
        b: (H, W).
        points: (K, 4): xa, ya, xb, yb in pixels; K at least 1.

    Returns:
        (64 * rows, 128 * columns): point k at row k // 20 and column k % 20, a left and b right of it.
    """
    columns = min(COLUMNS, len(points))
    sheet = np.zeros((-(-len(points) // columns) * PATCH, columns * 2 * PATCH), dtype=np.uint8)
    for k, (xa, ya, xb, yb) in enumerate(points.tolist()):
        top, left = k // columns * PATCH, k % columns * 2 * PATCH
        # The point lies in the middle of the patch, between its two central pixels; the border pixel is repeated.
        sheet[top : top + PATCH, left : left + PATCH] = cv2.getRectSubPix(a, (PATCH, PATCH), (xa, ya))
        sheet[top : top + PATCH, left + PATCH : left + 2 * PATCH] = cv2.getRectSubPix(b, (PATCH, PATCH), (xb, yb))
    return sheet


def _resized(image: Picture, scale: float) -> Picture:
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _scaling(size: tuple[int, ...], smaller: tuple[int, ...]) -> Matrix:
    """Pixels of an image to those of its resized copy; pixel centres are at integers in both."""
    x, y = smaller[0] / size[0], smaller[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _zoom(matrix: Matrix, size: tuple[int, ...]) -> float:
    """Scale of a transform at the centre of an image: the square root of how much it enlarges the area there."""
    depth = float(matrix[2] @ (size[0] / 2, size[1] / 2, 1))
    return float(np.sqrt(abs(np.linalg.det(matrix)) / abs(depth) ** 3))
