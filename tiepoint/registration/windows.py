"""Two large images compared at places spread over their overlap, each place in a small window of both: a chip.

So a comparison at full size reads a small part of the pixels, and holds one chip at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.least_squares import apply, from_linear
from tiepoint.images.downsampled import Downsampled, lay_over
from tiepoint.images.raster import Raster
from tiepoint.images.window import Window
from tiepoint.matching.relate import relate_places
from tiepoint.models.relater import LearnedRelater
from tiepoint.patches import SIZE
from tiepoint.structure.local_search import Refined, local_shifts, strongest_points
from tiepoint.structure.orientation_field import orientation_field, shrink_mask
from tiepoint.types import Points, Progress

WINDOW = 96  # px that are correlated around a place
RADIUS = 16  # px: the largest shift that is looked for
SEARCH = 128  # px a side, of which the strongest corner becomes the place of a chip
MARGIN = 32  # px around a chip that are read too, for the smoothing of the structure
MOST = 2**24  # px of image a that a chip may need: more are needed beside a horizon alone
CELLS = 20  # along the longer side, as of images that are compared whole


@dataclass(frozen=True)
class Cell:
    """A cell of image b, in pixels (2,) of its full size: a place with structure, and bounds of no other cell."""

    place: Points
    low: Points
    high: Points


def plan(a: Raster, b: Raster, matrix: Points, up: Points, border: int) -> list[Cell]:
    """The cells of b in which both images have valid pixels, from their reduced versions, which `matrix` maps a to b.

    `up` (3, 3) maps pixels of the reduced b to those of b; no cell reaches `border` px of the reduced b at its border.
    """
    height, width = b.pixels.shape
    moved, covered = lay_over(a.pixels, matrix, b.pixels.shape, a.mask)
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
        into, out = from_linear(np.eye(2), (at_a.x, at_a.y)), from_linear(np.eye(2), (-at_b.x, -at_b.y))
        matrix = np.asarray(out @ self.scaled @ into)
        return Chip(self.a.read(at_a), self.b.read(at_b), matrix, at_a, at_b)

    def around(self, place: Points, reach: int) -> Chip | None:
        """The chip `reach` px around a place (2,) of this b."""
        return self.chip(np.rint(place) - reach, np.rint(place) + reach + 1)


def compare(pair: Pair, cells: Sequence[Cell], radius: int = RADIUS, progress: Progress | None = None) -> Refined:
    """Correlate both images around one place of each cell: see `tiepoint.structure.local_search.local_shifts`.

    The transform of the pair has to be good to `radius`, the largest shift along x and y, px of this b. Correspondences
    are in pixels of the full sizes. A place whose window does not lie inside both images is not tried.
    """
    reach = WINDOW // 2 + radius

    def chip(cell: Cell) -> Chip | None:
        place, low, high = apply(pair.down, np.vstack([cell.place, cell.low, cell.high]))
        start = np.maximum(np.ceil(low), np.minimum(np.rint(place) - SEARCH // 2, np.floor(high) + 1 - SEARCH))
        return pair.chip(start - reach, np.minimum(np.floor(high) + 1, start + SEARCH) + reach)

    return _joined(pair, ((chip(cell), None) for cell in cells), len(cells), radius, progress)


def compare_at(pair: Pair, places: Points, radius: int, progress: Progress | None = None) -> Refined:
    """`compare` at places (N, 2) of the full b, which need no search."""
    reach = WINDOW // 2 + radius + MARGIN
    tries = ((pair.around(place, reach), place) for place in apply(pair.down, places))
    return _joined(pair, tries, len(places), radius, progress)


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


def _shifts(chip: Chip, radius: int, place: Points | None) -> Refined:
    """Around the chip's strongest corner, or a place (2,) of b; in pixels of both images."""
    at_a, at_b = (np.array([window.x, window.y]) for window in (chip.at_a, chip.at_b))
    found = local_shifts(
        chip.a.pixels, chip.b.pixels, chip.matrix, window=WINDOW, radius=radius, cells=1,
        places=None if place is None else (place - at_b)[None], masks=(chip.a.mask, chip.b.mask),
    )  # fmt: skip
    return replace(found, a=found.a + at_a, b=found.b + at_b)


def _joined(
    pair: Pair, tries: Iterable[tuple[Chip | None, Points | None]], count: int, radius: int, progress: Progress | None
) -> Refined:
    """What chips show, each around its place if there is one, in pixels of the full sizes."""
    parts = []
    for done, (chip, place) in enumerate(tries, 1):
        if chip is not None:
            parts.append(_shifts(chip, radius, place))
        if progress:
            progress(done, count)
    a, b = (np.concatenate([np.empty((0, 2)), *points]) for points in ([p.a for p in parts], [p.b for p in parts]))
    scores = np.concatenate([np.empty(0), *(part.scores for part in parts)])
    return Refined(apply(pair.a.up, a), apply(pair.b.up, b), scores, sum(part.tried for part in parts))
