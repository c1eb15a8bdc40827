"""The pictures of a report: images reduced for the page, image a in the place of b, and patches around points."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.robust import apply
from tiepoint.geometry.warps import Warp
from tiepoint.types import Matrix, Picture

LONGEST = 1600
LARGEST_WARPED = 8192  # OpenCV warps no image beyond 32766 pixels a side
NODE = 4  # px of the page between places at which a warp is evaluated
SIDE = 16  # points a side of the outline of a warped image
PATCH = 64
COLUMNS = 20


def reduced(image: Picture, longest: int = LONGEST) -> Picture:
    """The image (H, W), its longer side at most `longest` pixels; averaged, so that nothing folds back."""
    return _resized(image, min(1.0, longest / max(image.shape)))


def warped(
    a: Picture, matrix: Matrix, size: tuple[int, int], longest: int = LONGEST, warp: Warp | None = None
) -> Picture:
    """Image a (H, W) mapped by `matrix` (3, 3; a -> b, pixels), over the area of `reduced` b; black where a is not.

    Where the page shows a smaller than it is, it is reduced before it is warped, by the scale at its centre.

    Args:
        a: uint8.
        matrix: of the full images.
        size: width and height of the full image b.
        longest: as of `reduced`.
        warp: maps the image in the place of the matrix.
    """
    shown = reduced(np.empty(size[::-1], dtype=np.uint8), longest).shape[::-1]
    to_shown = _scaling(size, shown) @ matrix
    source = _resized(a, min(1.0, _zoom(to_shown, a.shape[::-1]), LARGEST_WARPED / max(a.shape)))
    if warp is not None:
        back, to_source = warp.inverse((a.shape[1], a.shape[0])), _scaling(a.shape[::-1], source.shape[::-1])
        return _bent(source, back, shown, _scaling(shown, size), to_source)
    place = to_shown @ np.linalg.inv(_scaling(a.shape[::-1], source.shape[::-1]))
    return np.asarray(cv2.warpPerspective(source, place, shown, flags=cv2.INTER_LINEAR), dtype=np.uint8)


def outline(matrix: Matrix, size: tuple[int, int], warp: Warp | None = None) -> Matrix:
    """The corners (4, 2) of image a, of `size` width and height, mapped by `matrix`: the outer edges of its pixels.

    By a warp points (64, 2) along them.
    """
    width, height = size
    edges = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    if warp is not None:
        along = np.linspace(0, 1, SIDE, endpoint=False)[:, None]
        ahead = np.roll(edges, -1, axis=0)
        return warp.map(np.vstack([(1 - along) * one + along * two for one, two in zip(edges, ahead, strict=True)]))
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


def _bent(source: Picture, back: Warp, shown: tuple[int, ...], from_shown: Matrix, to_source: Matrix) -> Picture:
    """The source at the places where `back`, from b to a, takes the page's pixels; linear between its nodes."""
    width, height = shown
    x, y = np.arange(0, width + NODE, NODE), np.arange(0, height + NODE, NODE)
    nodes = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float64)
    places = apply(to_source, back.map(apply(from_shown, nodes)))
    places = np.clip(np.nan_to_num(places, nan=-1e6), -1e6, 1e6).reshape(len(y), len(x), 2)
    down, right = _between(height, y), _between(width, x)
    u, v = (np.asarray(down @ places[:, :, k] @ right.T, dtype=np.float32) for k in (0, 1))
    return np.asarray(cv2.remap(source, u, v, cv2.INTER_LINEAR), dtype=np.uint8)


def _between(count: int, nodes: NDArray[np.int64]) -> Matrix:
    """Weights (count, N) by which values at the nodes become values at 0 .. count - 1, linear between them."""
    return np.column_stack([np.interp(np.arange(count), nodes, unit) for unit in np.eye(len(nodes))])


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
