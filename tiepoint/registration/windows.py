"""Two large images compared at places spread over their overlap, each place in a small window of both: a chip.

So a comparison at full size reads a small part of the pixels, and holds one chip at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.robust import apply
from tiepoint.images.downsampled import Downsampled
from tiepoint.images.raster import Raster
from tiepoint.images.window import Window
from tiepoint.matching.relate import relate_places
from tiepoint.models.relater import LearnedRelater
from tiepoint.patches import SIZE
from tiepoint.registration.grid import Cell
from tiepoint.structure.local_search import Refined, local_shifts
from tiepoint.types import Points, Progress

WINDOW = 96  # px that are correlated around a place
RADIUS = 16  # px: the largest shift that is looked for
SEARCH = 128  # px a side, of which the strongest corner becomes the place of a chip
MARGIN = 32  # px around a chip that are read too, for the smoothing of the structure
MOST = 2**24  # px of image a that a chip may need: more are needed beside a horizon alone


@dataclass(frozen=True)
class Chip:
    """What both images show of one place, and the transform (3, 3) from the pixels of `a` to those of `b`."""

    a: Raster
    b: Raster
    matrix: Points
    at_a: Window
    at_b: Window


@dataclass(frozen=True)
class Pair:
    """Two images, at sizes at which their pixels show about the same, and the transform between their full sizes."""

    a: Downsampled
    b: Downsampled
    matrix: Points

    @cached_property
    def down(self) -> Points:
        """From pixels of the full b to those of this one."""
        return np.asarray(np.linalg.inv(self.b.up))

    @cached_property
    def scaled(self) -> Points:
        """From pixels of this a to those of this b."""
        return np.asarray(self.down @ self.matrix @ self.a.up)

    def chip(self, start: Points, stop: Points) -> Chip | None:
        """What b shows from start to stop, (2,) without it, and a of the same; None where either shows nothing.

        None too where it reaches beyond the horizon, or close to it.
        """
        at_b = _window(start, stop, self.b.shape)
        if at_b is None:
            return None
        right, bottom = at_b.x + at_b.width - 1, at_b.y + at_b.height - 1
        corners = np.array([[at_b.x, at_b.y], [right, at_b.y], [right, bottom], [at_b.x, bottom]], dtype=np.float64)
        back = np.asarray(np.linalg.inv(self.scaled))
        if (np.column_stack([corners, np.ones(4)]) @ back[2] <= 0).any():
            return None
        mapped = apply(back, corners)
        at_a = _window(np.floor(mapped.min(axis=0)) - MARGIN, np.ceil(mapped.max(axis=0)) + MARGIN + 1, self.a.shape)
        if at_a is None or at_a.width * at_a.height > MOST:
            return None
        into, out = np.eye(3), np.eye(3)
        into[:2, 2], out[:2, 2] = (at_a.x, at_a.y), (-at_b.x, -at_b.y)
        matrix = np.asarray(out @ self.scaled @ into)
        return Chip(self.a.read(at_a), self.b.read(at_b), matrix, at_a, at_b)

    def around(self, place: Points, reach: int) -> Chip | None:
        """The chip `reach` px around a place (2,) of this b."""
        return self.chip(np.rint(place) - reach, np.rint(place) + reach + 1)


def compare(pair: Pair, cells: Sequence[Cell], radius: int = RADIUS, progress: Progress | None = None) -> Refined:
    """Correlate both images around one place of each cell: see `tiepoint.structure.local_search.local_shifts`.

    Args:
        pair: the images, and a transform that is good to `radius`.
        cells: of b.
        radius: largest shift along x and y, px of this b.
        progress: called with (cells done, cells in all).

    Returns:
        Correspondences in pixels of the full sizes. A place whose window does not lie inside both images is not tried.
    """
    parts = []
    for done, cell in enumerate(cells, 1):
        place, low, high = apply(pair.down, np.vstack([cell.place, cell.low, cell.high]))
        start = np.maximum(np.ceil(low), np.minimum(np.rint(place) - SEARCH // 2, np.floor(high) + 1 - SEARCH))
        stop = np.minimum(np.floor(high) + 1, start + SEARCH)
        reach = WINDOW // 2 + radius
        parts.append(_shifts(pair.chip(start - reach, stop + reach), radius))
        if progress:
            progress(done, len(cells))
    return _joined(parts, pair)


def compare_at(pair: Pair, places: Points, radius: int, progress: Progress | None = None) -> Refined:
    """`compare` at places (N, 2) of the full b, which need no search."""
    parts = []
    for done, place in enumerate(apply(pair.down, places), 1):
        parts.append(_shifts(pair.around(place, WINDOW // 2 + radius + MARGIN), radius, place))
        if progress:
            progress(done, len(places))
    return _joined(parts, pair)


def relate(
    pair: Pair, places: Points, relater: LearnedRelater, spectra: tuple[str, str] | None = None
) -> NDArray[np.float64]:
    """Match probabilities (N,) of places (N, 2) of the full b, in 0..1, see `tiepoint.matching.relate`.

    Both images are related in 8 bits, stretched by the limits of the whole image; 0 where a shows nothing.
    """
    chances = np.zeros(len(places))
    for row, place in enumerate(apply(pair.down, places)):
        chip = pair.around(place, max(SIZE, relater.input_size) // 2 + 1)
        if chip is not None:
            where = place[None] - (chip.at_b.x, chip.at_b.y)
            chances[row] = relate_places(chip.a.to_uint8(), chip.b.to_uint8(), chip.matrix, where, relater, spectra)[0]
    return chances


def _window(start: Points, stop: Points, shape: tuple[int, int]) -> Window | None:
    """The part of an image (H, W) from start to stop, (2,) without it; None where there is none."""
    x, y = np.maximum(start, 0).astype(int).tolist()
    right, bottom = np.minimum(stop, shape[::-1]).astype(int).tolist()
    return Window(x, y, right - x, bottom - y) if right > x and bottom > y else None


def _shifts(chip: Chip | None, radius: int, place: Points | None = None) -> Refined:
    """Around the chip's strongest corner, or a place (2,) of b; in pixels of both images."""
    if chip is None:
        return Refined(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0), 0)
    at_a, at_b = (np.array([window.x, window.y]) for window in (chip.at_a, chip.at_b))
    found = local_shifts(
        chip.a.pixels, chip.b.pixels, chip.matrix, window=WINDOW, radius=radius, cells=1,
        places=None if place is None else (place - at_b)[None], masks=(chip.a.mask, chip.b.mask),
    )  # fmt: skip
    return Refined(found.a + at_a, found.b + at_b, found.scores, found.clear, found.tried)


def _joined(parts: Sequence[Refined], pair: Pair) -> Refined:
    """All in one, in pixels of the full sizes."""
    a, b = (np.concatenate([np.empty((0, 2)), *points]) for points in ([p.a for p in parts], [p.b for p in parts]))
    scores, clear = (np.concatenate([np.empty(0), *v]) for v in ([p.scores for p in parts], [p.clear for p in parts]))
    return Refined(apply(pair.a.up, a), apply(pair.b.up, b), scores, clear, sum(part.tried for part in parts))
