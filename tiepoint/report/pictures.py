"""The pictures of a report: both images reduced for the page, image a warped onto b, and patches around points."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.robust import apply
from tiepoint.geometry.warps import Warp
from tiepoint.types import Matrix, Picture

MAX_SIDE_PX = 1600
MAX_WARPED_PX = 8192  # OpenCV warps no image beyond 32766 pixels a side
NODE_PX = 4  # of the page, between the points at which a warp is evaluated
OUTLINE_POINTS = 16  # a side of a warped image
PATCH_PX = 64
COLUMNS = 20


def reduced(image: Picture, longest: int = MAX_SIDE_PX) -> Picture:
    """The image (H, W) reduced to at most `longest` pixels a side, by averaging, which avoids aliasing."""
    return _resized(image, min(1.0, longest / max(image.shape)))


def warped(
    a: Picture, matrix: Matrix, size: tuple[int, int], longest: int = MAX_SIDE_PX, warp: Warp | None = None
) -> Picture:
    """Image a (H, W), mapped by `matrix` (3, 3; a -> b) onto the grid of `reduced` b, black where a does not reach.

    Where the page shows a at a smaller scale, it is reduced before it is warped, by the scale at its centre.

    Args:
        a: uint8.
        matrix: in pixels of the full images.
        size: width and height of the full image b.
        longest: largest side of the result in pixels.
        warp: maps the image instead of the matrix.
    """
    shown = reduced(np.empty(size[::-1], dtype=np.uint8), longest).shape[::-1]
    to_shown = _scaling(size, shown) @ matrix
    source = _resized(a, min(1.0, _zoom(to_shown, a.shape[::-1]), MAX_WARPED_PX / max(a.shape)))
    if warp is not None:
        back, to_source = warp.inverse((a.shape[1], a.shape[0])), _scaling(a.shape[::-1], source.shape[::-1])
        return _warped_back(source, back, shown, _scaling(shown, size), to_source)
    mapping = to_shown @ np.linalg.inv(_scaling(a.shape[::-1], source.shape[::-1]))
    return np.asarray(cv2.warpPerspective(source, mapping, shown, flags=cv2.INTER_LINEAR), dtype=np.uint8)


def outline(matrix: Matrix, size: tuple[int, int], warp: Warp | None = None) -> Matrix:
    """The corners (4, 2) of image a, at the outer edges of its pixels, mapped by `matrix`.

    `size` is the width and height of a. A warp maps 64 points along the edges instead.
    """
    width, height = size
    edges = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    if warp is not None:
        along = np.linspace(0, 1, OUTLINE_POINTS, endpoint=False)[:, None]
        ahead = np.roll(edges, -1, axis=0)
        return warp.map(np.vstack([(1 - along) * one + along * two for one, two in zip(edges, ahead, strict=True)]))
    corners = np.column_stack([edges, np.ones(4)]) @ matrix.T
    mapped: Matrix = corners[:, :2] / corners[:, 2:]
    return mapped


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


def _warped_back(source: Picture, back: Warp, shown: tuple[int, ...], from_shown: Matrix, to_source: Matrix) -> Picture:
    """The source sampled where `back`, from b to a, maps the pixels of the page; linear between its nodes."""
    width, height = shown
    x, y = (
        np.arange(0, width + NODE_PX, NODE_PX),
        np.arange(0, height + NODE_PX, NODE_PX),
    )
    nodes = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float64)
    sampled = apply(to_source, back.map(apply(from_shown, nodes)))
    sampled = np.clip(np.nan_to_num(sampled, nan=-1e6), -1e6, 1e6).reshape(len(y), len(x), 2)
    down, right = _between(height, y), _between(width, x)
    u, v = (np.asarray(down @ sampled[:, :, k] @ right.T, dtype=np.float32) for k in (0, 1))
    return np.asarray(cv2.remap(source, u, v, cv2.INTER_LINEAR), dtype=np.uint8)


def _between(count: int, nodes: NDArray[np.int64]) -> Matrix:
    """Weights (count, N) that interpolate values at the nodes linearly at 0 .. count - 1."""
    return np.column_stack([np.interp(np.arange(count), nodes, unit) for unit in np.eye(len(nodes))])


def _resized(image: Picture, scale: float) -> Picture:
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _scaling(size: tuple[int, ...], smaller: tuple[int, ...]) -> Matrix:
    """The matrix from pixels of an image to those of its resized copy; pixel centres are at integers in both."""
    x, y = smaller[0] / size[0], smaller[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _zoom(matrix: Matrix, size: tuple[int, ...]) -> float:
    """Scale of a transform at the centre of an image: the square root of its enlargement of the area there."""
    depth = float(matrix[2] @ (size[0] / 2, size[1] / 2, 1))
    return float(np.sqrt(abs(np.linalg.det(matrix)) / abs(depth) ** 3))
