"""What warps share: a warp is a transform plus a displacement that varies over the image."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tiepoint.errors import InputError
from tiepoint.features.uniform import select_uniform
from tiepoint.geometry.least_squares import MIN_MATCHES, apply
from tiepoint.types import Points, Size

STEP_PX = 0.5  # px
MIN_SPREAD_RATIO = 1e-6  # of spread across a line to spread along it, below which points count as collinear
Map = Callable[[Points], Points]


def check_ties(a: ArrayLike, b: ArrayLike, matrix: ArrayLike, most: int) -> tuple[Points, Points, Points]:
    """Tie points, (N, 2) twice, and their transform a -> b as float64.

    Points of a that occur more than once become one, with the mean of their partners. Of more than `most` a uniform
    selection of `most` is kept. Raises InputError for arrays that are not (N, 2) and finite, fewer than 4 different
    points or points on a line, a matrix that is not finite or has no inverse, or takes a tie point to infinity.
    """
    places, partners = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    transform = np.asarray(matrix, dtype=np.float64)
    finite = np.isfinite(places).all() and np.isfinite(partners).all()
    if places.ndim != 2 or places.shape[1] != 2 or places.shape != partners.shape or not finite:
        raise InputError(f"tie points have shapes {places.shape} and {partners.shape}: give finite (N, 2) twice")
    if transform.shape != (3, 3) or not np.isfinite(transform).all() or np.linalg.matrix_rank(transform) < 3:
        raise InputError("the matrix must be 3 x 3, finite and invertible")
    if not np.isfinite(apply(transform, places)).all():
        raise InputError("the matrix maps a tie point to infinity or behind it: leave it out")
    different, index, counts = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    means = np.zeros_like(different)
    np.add.at(means, index.reshape(-1), partners)
    means /= counts[:, None]
    if len(different) < MIN_MATCHES:
        raise InputError(f"{len(different)} different tie points: a warp needs at least {MIN_MATCHES}")
    across = np.linalg.svd(different - different.mean(axis=0), compute_uv=False)
    if across[1] <= MIN_SPREAD_RATIO * across[0]:
        raise InputError("the tie points lie on a line: a warp needs them spread over an area")
    if len(different) > most:
        chosen = select_uniform(different, np.ones(len(different)), most)
        different, means = different[chosen], means[chosen]
    return different, means, transform


def check_smoothing(smoothing: float) -> float:
    """Raise InputError unless it is finite and 0 or more."""
    if not 0 <= smoothing < np.inf:
        raise InputError(f"smoothing is {smoothing:g}: give 0 or a positive number")
    return float(smoothing)


def make_lattice(points: Points, size: Size | None, side: int) -> Points:
    """A grid of points (side^2, 2) over the points' bounding box and, if given, the image of `size` (width, height)."""
    low, high = points.min(axis=0), points.max(axis=0)
    if size is not None:
        low, high = np.minimum(low, 0), np.maximum(high, np.array(size) - 1)
    x, y = np.meshgrid(np.linspace(low[0], high[0], side), np.linspace(low[1], high[1], side))
    return np.column_stack([x.ravel(), y.ravel()])


def folded_share(mapping: Map, matrix: Points, places: Points) -> float:
    """Share of the points (N, 2) before the horizon at which a warp mirrors the image and its transform does not.

    The sign of the Jacobian's determinant, by central differences over `STEP_PX` px either way.
    """
    signs = [np.sign(_determinant(each, places)) for each in (mapping, lambda points: apply(matrix, points))]
    known = np.isfinite(signs[0]) & np.isfinite(signs[1])
    return float((signs[0] != signs[1])[known].mean()) if known.any() else 1.0


def refuse_folds(share: float) -> None:
    """InputError where a share of the image is folded."""
    if share > 0:
        raise InputError(
            f"the warp folds {share:.2%} of the image over itself: give more smoothing, leave out wrong tie points, "
            "or take the transform alone"
        )


def _determinant(mapping: Map, places: Points) -> Points:
    right, down = np.array([STEP_PX, 0]), np.array([0, STEP_PX])
    with np.errstate(invalid="ignore"):
        along_x = mapping(places + right) - mapping(places - right)
        along_y = mapping(places + down) - mapping(places - down)
        return np.asarray(along_x[:, 0] * along_y[:, 1] - along_x[:, 1] * along_y[:, 0])
