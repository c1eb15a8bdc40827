"""Where two large images are worth comparing: a place with structure in each cell of their overlap."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.robust import apply
from tiepoint.images.downsampled import VALID_FRACTION
from tiepoint.images.raster import Raster
from tiepoint.structure.local_search import strongest_points
from tiepoint.structure.orientation_field import orientation_field, shrink_mask
from tiepoint.types import Points

CELLS = 20  # along the longer side, as of images that are compared whole


@dataclass(frozen=True)
class Cell:
    """A cell of image b in pixels of its full size: a place with structure, and bounds that are no other cell's.

    All (2,), x and y.
    """

    place: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def plan(a: Raster, b: Raster, matrix: Points, up: Points, border: int) -> list[Cell]:
    """The cells of b in which both images have valid pixels, from their reduced versions.

    Args:
        a, b: the reduced images.
        matrix: (3, 3), maps pixels of the reduced a to those of the reduced b.
        up: (3, 3), maps pixels of the reduced b to those of b.
        border: px of the reduced b, at its border, that no cell reaches.
    """
    height, width = b.pixels.shape
    moved = cv2.warpPerspective(a.pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    seen = np.ones(a.pixels.shape, np.float32) if a.mask is None else a.mask.astype(np.float32)
    covered = cv2.warpPerspective(seen, matrix, (width, height)) > VALID_FRACTION
    field = orientation_field(moved, mask=covered)
    inside = shrink_mask(covered if b.mask is None else covered & b.mask)
    side = max(8.0, max(height, width) / CELLS)
    rows, columns = (_edges(length, border, side) for length in (height, width))
    found = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            part = slice(top, bottom), slice(left, right)
            places = strongest_points(field[part], inside[part], 1, 0) if inside[part].any() else np.empty((0, 2))
            if len(places):
                corners = np.array([[left, top], [right, bottom]]) - 0.5
                found.append(Cell(*apply(up, np.vstack([places[0] + np.array([left, top]), corners]))))
    return found


def _edges(length: int, border: int, side: float) -> list[int]:
    """Where cells about `side` long begin and end between the borders; one number where nothing is between them."""
    inner = length - 2 * border
    if inner < 1:
        return [border]
    return [round(v) for v in np.linspace(border, length - border, max(1, round(inner / side)) + 1)]
