"""A warp of triangles between tie points.

Triangles and point location are matplotlib's: scipy's Delaunay divides points on a circle in another way, and cannot
find points in the triangles of the inverse, whose vertices have moved (docs/decisions).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tiepoint.errors import InputError
from tiepoint.geometry.displacement import check_smoothing, check_ties, refuse_folds
from tiepoint.geometry.least_squares import MIN_MATCHES, apply
from tiepoint.images.raster import Raster
from tiepoint.images.resample import resample
from tiepoint.images.window import Window
from tiepoint.types import Mask, Planes, Points, Rows, Size

MAX_VERTICES = 2000
BORDER_VERTICES = 8  # vertices a side of the image
MIN_BORDER_DISTANCE_PX = 1.0  # px between one of them and a tie point


@dataclass(frozen=True)
class PiecewiseAffine:
    """A transform, and in each Delaunay triangle of the tie points an affine displacement of what it leaves over.

    With an affine matrix it is affine in each triangle. Outside their hull it is the matrix alone: the warp has a step
    there, unless `size` was given: then vertices around the image's border follow their neighbours.
    """

    matrix: Points  # (3, 3), a -> b
    vertices: Points  # (K, 2) pixels of a, tie points and those of the border
    shifts: Points  # (K, 2) pixels of b, their displacements
    triangles: Rows  # (T, 3) indices of vertices
    smoothing: float  # as given; 0 for None
    folded: float  # share of the triangles that the warp mirrors; no grid is needed, as a triangle folds as a whole

    @classmethod
    def fit(
        cls, a: ArrayLike, b: ArrayLike, matrix: ArrayLike, smoothing: float | None = None, *, size: Size | None = None
    ) -> PiecewiseAffine:
        """Fit to tie points.

        Args:
            a, b: (N, 2) pixels, not on a line; a uniform selection of 2000 is used if there are more.
            matrix: (3, 3), the transform a -> b that they come from.
            smoothing: weight of squared differences between the displacements of neighbours against those from the tie
                points; 0 meets every tie point. None does, too, but leaves out the points at which triangles fold.
            size: width and height of image a, for vertices around its border; without it the border has no vertices.

        Raises InputError, see `check_ties` and `check_smoothing`, and for points that have no triangulation.
        """
        places, partners, transform = check_ties(a, b, matrix, MAX_VERTICES)
        strength = check_smoothing(smoothing or 0.0)
        border = np.empty((0, 2)) if size is None else _border(places, size)
        border = border[np.isfinite(apply(transform, border)).all(axis=1)]
        shifts = partners - apply(transform, places)
        while True:
            vertices = np.vstack([places, border])
            triangles = _triangulate(vertices)
            moved = _relaxed(shifts, _laplacian(triangles, len(vertices)), strength)
            after = apply(transform, vertices) + moved
            turned = np.sign(_areas(after, triangles)) != np.sign(_areas(apply(transform, vertices), triangles))
            kept = np.ones(len(vertices), dtype=bool)
            kept[_culprits(vertices, triangles[turned])] = False
            if smoothing is not None or kept.all() or kept[: len(places)].sum() < MIN_MATCHES:
                return cls(transform, vertices, moved, triangles, strength, float(turned.mean()))
            shifts = shifts[kept[: len(places)]]
            places, border = places[kept[: len(places)]], border[kept[len(places) :]]

    def map(self, points: ArrayLike) -> Points:
        """Pixels (N, 2) of a to those of b; infinite beyond the horizon of the matrix."""
        places = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        mapped = apply(self.matrix, places)
        index = np.asarray(self._finder(places[:, 0], places[:, 1]))
        held = np.flatnonzero(index >= 0)
        corners = self.triangles[index[held]]
        origin, one, two = (self.vertices[corners[:, k]] for k in range(3))
        (ux, uy), (vx, vy), (px, py) = (one - origin).T, (two - origin).T, (places[held] - origin).T
        area = ux * vy - uy * vx
        s, t = (px * vy - py * vx) / area, (ux * py - uy * px) / area
        for weight, k in ((1 - s - t, 0), (s, 1), (t, 2)):
            mapped[held] += weight[:, None] * self.shifts[corners[:, k]]
        return mapped

    def inverse(self, size: Size | None = None) -> PiecewiseAffine:
        """The warp from b to a, of the same triangles; `size` is not needed.

        Exact with an affine matrix; with another, at the vertices. Raises InputError if this warp folds.
        """
        refuse_folds(self.folded)
        back = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        partners = apply(self.matrix, self.vertices) + self.shifts
        return PiecewiseAffine(back, partners, self.vertices - apply(back, partners), self.triangles, 0.0, 0.0)

    def warp(self, image: Raster, shape: tuple[int, int], fill: float = 0) -> tuple[Planes, Mask]:
        """Resample image a onto the grid of b, as `ThinPlate.warp` does, exactly. Raises InputError if it folds."""
        return resample(image, self.inverse()._block, shape, fill)

    def _block(self, window: Window) -> tuple[Points, Points]:
        u, v = self.map(window.pixels).T.reshape(2, window.height, window.width)
        return u, v

    @cached_property
    def _finder(self) -> Any:
        """The function that gives the triangles of points (N,), (N,): -1 outside."""
        from matplotlib.tri import Triangulation  # matplotlib takes 0.3 s to import

        try:
            return Triangulation(self.vertices[:, 0], self.vertices[:, 1], self.triangles).get_trifinder()
        except RuntimeError as error:
            message = f"the tie points have no sound triangulation ({error}): leave out those too close"
            raise InputError(message) from None


def _triangulate(points: Points) -> Rows:
    """Delaunay triangles (T, 3) of points (N, 2), by qhull; those without an area are left out."""
    from matplotlib.tri import Triangulation

    try:
        x, y = (points - points.mean(axis=0)).T
        triangles = np.asarray(Triangulation(x, y).triangles, dtype=np.int64)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the tie points have no triangulation ({error}): give points spread over an area") from None
    areas = np.abs(_areas(points, triangles))
    return triangles[areas > 1e-12 * max(float(np.ptp(points, axis=0).prod()), 1.0)]


def _culprits(points: Points, folds: Rows) -> Rows:
    """The vertex to leave out of each folded triangle (F, 3): that of the most folds, or of the widest angle."""
    counts = np.bincount(folds.ravel(), minlength=len(points))
    corners = points[folds]
    ahead, back = (np.roll(corners, -k, axis=1) - corners for k in (1, 2))
    cosine = (ahead * back).sum(axis=2) / (np.linalg.norm(ahead, axis=2) * np.linalg.norm(back, axis=2))
    return np.unique(np.take_along_axis(folds, np.argmax(counts[folds] - 0.4 * cosine, axis=1)[:, None], axis=1))


def _relaxed(shifts: Points, pull: Points, strength: float) -> Points:
    """Shifts (K, 2) of vertices of which the first have tie points, close to those and, by `strength`, to each other.

    With strength 0 those that have no tie point take the mean of their neighbours'.
    """
    ties = len(shifts)
    if strength > 0:
        held = np.diag(np.where(np.arange(len(pull)) < ties, 1, 1e-9))  # above 0: a vertex may have no neighbours
        wanted = np.vstack([shifts, np.zeros((len(pull) - ties, 2))])
        return np.asarray(np.linalg.solve(held + strength * pull, wanted), dtype=np.float64)
    rest = np.linalg.lstsq(pull[ties:, ties:], -pull[ties:, :ties] @ shifts, rcond=None)[0]
    return np.vstack([shifts, rest])


def _areas(points: Points, triangles: Rows) -> Points:
    one, two = points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    return np.asarray(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])


def _laplacian(triangles: Rows, count: int) -> Points:
    """Of the graph of the triangles' edges (count, count): degrees less adjacency."""
    adjacent = np.zeros((count, count))
    for one, two in zip(triangles.T, np.roll(triangles, -1, axis=1).T, strict=True):
        adjacent[one, two] = adjacent[two, one] = 1
    return np.asarray(np.diag(adjacent.sum(axis=1)) - adjacent)


def _border(places: Points, size: Size) -> Points:
    """Points around an image's border that are clear of the tie points."""
    at = np.linspace(0, 1, BORDER_VERTICES, endpoint=False)
    zero, one = np.zeros(BORDER_VERTICES), np.ones(BORDER_VERTICES)
    border = np.hstack([(at, zero), (one, at), (1 - at, one), (zero, 1 - at)]).T * (np.array(size) - 1)
    apart = np.sqrt(((border[:, None] - places) ** 2).sum(axis=2)).min(axis=1)
    return np.asarray(border[apart > MIN_BORDER_DISTANCE_PX])
