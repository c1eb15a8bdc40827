"""An image described on a grid of windows, and the matches of two such grids."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.features.corners import parabola_vertex
from tiepoint.geometry.robust import apply
from tiepoint.images.downsampled import VALID_FRACTION, resize, resize_mask
from tiepoint.images.pixels import to_unit
from tiepoint.images.raster import Raster
from tiepoint.models.describer import Describer
from tiepoint.types import Mask, Matrix, Points

STRIDE_PX, WINDOW_PX = 8.0, 64.0  # px of the image as it is described
BLOCK_ROWS = 4096  # rows of similarities held at once


@dataclass(frozen=True)
class Grid:
    """The valid windows of an image.

    Attributes:
        vectors: (N, D) unit vectors, float32.
        points: (N, 2) centres of the windows, pixels of the image.
        at: (N, 2) row and column of each window.
        shape: rows and columns of the grid.
        to_image: (3, 3), from pixels as described to those of the image.
    """

    vectors: Tensor
    points: Points
    at: NDArray[np.int64]
    shape: tuple[int, int]
    to_image: Matrix

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class GridMatches:
    """Windows of two images that are each other's nearest.

    Attributes:
        indices: (M, 2) windows of a and of b.
        points: (M, 4) centres xa, ya, xb, yb, pixels of the images; those of b lie between windows.
        similarity: (M,) cosine of their descriptors.
    """

    indices: NDArray[np.int64]
    points: Points
    similarity: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.points)


def describe_grid(
    raster: Raster,
    describer: Describer,
    zoom: float,
    warp: Matrix | None = None,
    size: tuple[int, int] | None = None,
    stride: float = STRIDE_PX,
) -> Grid:
    """Describe an image at `zoom` times its size, at most 1, on a grid of windows `stride` px apart.

    Args:
        raster: the image.
        describer: one with a dense form.
        zoom: see `zoom_to`.
        warp: (3, 3), from pixels of the reduced image to those of the one described, of `size` (width, height); the
            reduced image itself without it.

    Raises:
        InputError: see `Describer.dense`.
    """
    image = resize(to_unit(raster.pixels, raster.limits), zoom)
    mask = resize_mask(raster.mask, zoom)
    to_image = enlargement(raster, zoom)
    if warp is not None:
        assert size is not None
        seen = np.ones(image.shape, np.float32) if mask is None else mask.astype(np.float32)
        image = np.asarray(cv2.warpPerspective(image, warp, size), dtype=np.float32)
        mask = cv2.warpPerspective(seen, warp, size) > VALID_FRACTION
        to_image = to_image @ np.linalg.inv(warp)
    return _grid(image, describer, mask, to_image, stride)


def zoom_to(raster: Raster, side: float) -> float:
    """The zoom, at most 1, under which the longer side of an image has at most `side` px."""
    return float(min(1.0, side / max(raster.pixels.shape)))


def enlargement(raster: Raster, zoom: float) -> Matrix:
    """(3, 3), from pixels of an image that `resize` reduced, whose sides it rounds, to those of the image."""
    height, width = raster.pixels.shape
    sides = np.array([width / max(1, round(width * zoom)), height / max(1, round(height * zoom))])
    matrix = np.diag([*sides, 1.0])
    matrix[:2, 2] = 0.5 * sides - 0.5
    return matrix


def _grid(
    image: NDArray[np.floating[Any]], describer: Describer, mask: Mask | None, to_image: Matrix, stride: float
) -> Grid:
    if min(image.shape) < WINDOW_PX or (mask is not None and not mask.any()):
        return Grid(torch.empty(0, describer.dimension), np.empty((0, 2)), np.empty((0, 2), np.int64), (0, 0), to_image)
    dense = describer.dense(image, stride, mask, WINDOW_PX)
    valid = dense.valid.numpy()
    points = apply(to_image, dense.points[valid])
    return Grid(dense.vectors[:, dense.valid].T.contiguous(), points, np.argwhere(valid), valid.shape, to_image)


def match_grids(a: Grid, b: Grid) -> GridMatches:
    """The pairs of windows that are each other's nearest; the partner is moved to where the similarity peaks.

    The peak is that of a parabola through the similarities of the window of a with the neighbours of its partner.
    """
    if not len(a) or not len(b):
        return GridMatches(np.empty((0, 2), np.int64), np.empty((0, 4)), np.empty(0))
    forth, best = torch.empty(len(a), dtype=torch.long), torch.full((len(b),), -2.0)
    back = torch.zeros(len(b), dtype=torch.long)
    for start in range(0, len(a), BLOCK_ROWS):
        similarity = a.vectors[start : start + BLOCK_ROWS] @ b.vectors.T
        forth[start : start + BLOCK_ROWS] = similarity.argmax(dim=1)
        values, rows = similarity.max(dim=0)
        back = torch.where(values > best, rows + start, back)
        best = torch.maximum(values, best)
    first = np.flatnonzero(back[forth] == torch.arange(len(a)))
    second = forth.numpy()[first]
    shifts = _subpixel(a.vectors[first], b, second)
    partners = apply(b.to_image, apply(np.asarray(np.linalg.inv(b.to_image)), b.points[second]) + shifts * STRIDE_PX)
    similar = (a.vectors[first] * b.vectors[second]).sum(dim=1).numpy().astype(np.float64)
    return GridMatches(np.stack([first, second], axis=1), np.hstack([a.points[first], partners]), similar)


def _subpixel(vectors: Tensor, b: Grid, chosen: NDArray[np.int64]) -> Points:
    """Where the similarity of `vectors` (M, D) peaks around windows of b, in columns and rows from them (M, 2)."""
    index = np.full((b.shape[0] + 2, b.shape[1] + 2), -1)
    index[b.at[:, 0] + 1, b.at[:, 1] + 1] = np.arange(len(b))
    y, x = b.at[chosen].T + 1

    def similarity(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        values = (vectors * b.vectors[np.maximum(rows, 0)]).sum(dim=1).numpy().astype(np.float64)
        return np.where(rows >= 0, values, np.nan)

    middle = similarity(chosen)
    shifts = [
        parabola_vertex(similarity(index[y - dy, x - dx]), middle, similarity(index[y + dy, x + dx]))
        for dy, dx in ((0, 1), (1, 0))
    ]
    return np.asarray(np.nan_to_num(np.clip(np.column_stack(shifts), -0.5, 0.5)), dtype=np.float64)
