"""Image a over image b, at the size of a picture."""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.robust import apply
from tiepoint.geometry.warps import Warp
from tiepoint.images.pixels import to_uint8
from tiepoint.types import Matrix, Picture, Points

Mapping = Matrix | Warp
Style = Literal["colours", "checkerboard"]
Size = tuple[int, ...]  # width and height

MAX_SIDE_PX = 1600
MAX_WARPED_PX = 8192  # OpenCV warps no image beyond 32766 pixels a side
NODE_PX = 4  # of the page, between the points at which a warp is evaluated
OUTLINE_POINTS = 16  # a side of a warped image


def reduced(image: Picture, longest: int = MAX_SIDE_PX) -> Picture:
    """The image (H, W) reduced to at most `longest` pixels a side, by averaging, which avoids aliasing."""
    return _resized(image, min(1.0, longest / max(image.shape)))


def overlay(
    a: NDArray[Any],
    b: NDArray[Any],
    mapping: Mapping,
    style: Style = "colours",
    *,
    sizes: tuple[Size, Size] | None = None,
    longest: int = MAX_SIDE_PX,
    tiles: int = 8,
) -> Picture:
    """Image a over image b, each (H, W) grey of any size and depth: RGB (H, W, 3) of b, reduced to `longest` px a side.

    Args:
        mapping: takes pixels of the full image a to pixels of the full image b.
        style: "colours" shows a in red and b in cyan, so that grey means that both agree. "checkerboard" alternates
            squares of a and b, and shows b alone where a does not reach.
        sizes: width and height of the full images, if a and b are reduced copies.
        tiles: number of squares along the longer side.
    """
    moving, fixed = to_uint8(a), reduced(to_uint8(b), longest)
    size_a, size_b = sizes or (a.shape[::-1], b.shape[::-1])
    shown = fixed.shape[::-1]
    moved = warped(moving, mapping, size_b, shown, size_a)
    if style == "colours":
        return np.dstack([moved, fixed, fixed])
    side = max(1, -(-max(shown) // tiles))
    covered = warped(np.full_like(moving, 255), mapping, size_b, shown, size_a) > 127
    squares = np.add.outer(np.arange(shown[1]) // side, np.arange(shown[0]) // side) % 2 == 1
    return np.dstack([np.where(squares & covered, moved, fixed)] * 3)


def warped(a: Picture, mapping: Mapping, size: Size, shown: Size, full: Size | None = None) -> Picture:
    """Image a, uint8, mapped onto a copy of image b that is `shown` wide and high; black where a does not reach.

    Where a appears at a smaller scale, it is reduced before it is warped, by the scale at its centre. `mapping` takes
    pixels of the full images, whose widths and heights are `full`, None if a is no reduced copy, and `size`.
    """
    full = full or a.shape[::-1]
    matrix = mapping if isinstance(mapping, np.ndarray) else mapping.matrix
    to_shown = _scaling(size, shown) @ matrix
    zoom = _zoom(to_shown, full) * full[0] / a.shape[1]
    source = _resized(a, min(1.0, zoom, MAX_WARPED_PX / max(a.shape)))
    to_source = _scaling(full, source.shape[::-1])
    if not isinstance(mapping, np.ndarray):
        return _warped_back(source, mapping.inverse((full[0], full[1])), shown, _scaling(shown, size), to_source)
    direct = to_shown @ np.linalg.inv(to_source)
    return np.asarray(cv2.warpPerspective(source, direct, shown, flags=cv2.INTER_LINEAR), dtype=np.uint8)


def outline(mapping: Mapping, size: Size) -> Points:
    """Outer edges of image a, of `size` width and height, mapped to b: 4 corners (4, 2), or by a warp 64 points."""
    width, height = size
    edges = np.array([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    if not isinstance(mapping, np.ndarray):
        along = np.linspace(0, 1, OUTLINE_POINTS, endpoint=False)[:, None]
        ahead = np.roll(edges, -1, axis=0)
        return mapping.map(np.vstack([(1 - along) * one + along * two for one, two in zip(edges, ahead, strict=True)]))
    corners = np.column_stack([edges, np.ones(4)]) @ mapping.T
    return np.asarray(corners[:, :2] / corners[:, 2:])


def _warped_back(source: Picture, back: Warp, shown: Size, from_shown: Matrix, to_source: Matrix) -> Picture:
    """The source sampled where `back`, from b to a, maps the pixels of the page; linear between its nodes."""
    width, height = shown
    x, y = (np.arange(0, side + NODE_PX, NODE_PX) for side in shown)
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


def _scaling(size: Size, smaller: Size) -> Matrix:
    """The matrix from pixels of an image to those of its resized copy; pixel centres are at integers in both."""
    x, y = smaller[0] / size[0], smaller[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _zoom(matrix: Matrix, size: Size) -> float:
    """Scale of a transform at the centre of an image: the square root of its enlargement of the area there."""
    depth = float(matrix[2] @ (size[0] / 2, size[1] / 2, 1))
    return float(np.sqrt(abs(np.linalg.det(matrix)) / abs(depth) ** 3))
