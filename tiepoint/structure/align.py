"""From a first transform to the one that the structure of both images confirms, and how far they confirm it.

The images are compared from small to large: at each size the structure around points spread over the overlap is
correlated (`tiepoint.structure.local_search`) and a transform is fitted to the shifts. Around a right transform nearly
all points agree on it; around a wrong one their shifts are nearly random. So the share that agrees says whether it
is right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.robust import Model, residuals
from tiepoint.geometry.select_model import SIMPLEST_FIRST, select_model
from tiepoint.images.downsampled import resize, resize_mask
from tiepoint.images.window import scaling
from tiepoint.options import Estimation
from tiepoint.structure.local_search import local_shifts, weights_of
from tiepoint.types import Masks, Points

MIN_SIDE_PX, MAX_SIDE_PX = 512, 4096  # longer side of the images, px: where the comparison starts, and where it ends
WINDOW_PX = 96
RADII_PX = (16, 8)  # px: largest shift at the first size and at the others
COVERAGE_GRID = 8  # cells a side, for coverage
SQUARE_PX = 6  # px, a divisor of half a window


@dataclass(frozen=True)
class Alignment:
    """A transform (3, 3; a -> b) confirmed by structure."""

    matrix: Points
    model: Model
    points: Points  # (N, 4) correspondences: xa, ya, xb, yb in pixels
    inliers: NDArray[np.bool_]  # (N,), those that agree with the transform
    residuals: NDArray[np.float64]  # (N,) pixels of b
    scores: NDArray[np.float64]  # (N,) correlation of the structure around each point, in -1..1
    agreement: float  # share of all points tried that agree
    coverage: float  # share of the cells of b, 8 a side, in which a point agrees, among those that a reaches


def align(
    a: NDArray[Any],
    b: NDArray[Any],
    matrix: Points,
    *,
    models: Sequence[Model] = SIMPLEST_FIRST,
    threshold: float = Estimation.max_residual,
    seed: int = 0,
    masks: Masks = (None, None),
) -> Alignment | None:
    """Refine `matrix` (3, 3; a -> b), good to about 3 % of the image's longer side, see the module.

    Args:
        a, b: (H, W), grey, of any depth.
        matrix: the first transform.
        models, seed: as of `tiepoint.geometry.select_model`.
        threshold: largest residual of a point that agrees, pixels of b at full size.
        masks: valid pixels of a and of b.

    Returns:
        None if too few points are found, or if no transform fits them.
    """
    for number, side in enumerate(_sides(max(b.shape))):
        zoom = min(1.0, side / max(b.shape))
        down = scaling(zoom)
        up = np.linalg.inv(down)
        if not _sound(matrix, a.shape):
            return None
        shifts = local_shifts(
            resize(a, zoom), resize(b, zoom), down @ matrix @ up, window=WINDOW_PX, radius=RADII_PX[min(number, 1)],
            masks=(resize_mask(masks[0], zoom), resize_mask(masks[1], zoom)),
        )  # fmt: skip
        refined = replace(shifts, a=_map(shifts.a, up), b=_map(shifts.b, up))
        # At a small size points are accurate only to a fraction of its larger pixels.
        fit, model = select_model(
            refined.a, refined.b, models, threshold=threshold / zoom, seed=seed, size=(a.shape[1], a.shape[0]),
            weights=weights_of(refined.scores),
        )  # fmt: skip
        if fit.matrix is None:
            return None
        matrix = fit.matrix
    distances = residuals(matrix, refined.a, refined.b)
    inliers = distances <= threshold
    points = np.hstack([refined.a, refined.b])
    return Alignment(
        matrix, model, points, inliers, distances, refined.scores, float(inliers.sum() / max(refined.tried, 1)),
        coverage(refined.b[inliers], matrix, a.shape, b.shape),
    )  # fmt: skip


def roundtrip_error(a: NDArray[Any], b: NDArray[Any], found: Alignment, masks: Masks = (None, None)) -> float:
    """Median distance, px of a, by which the structure of b, correlated with a, misses the transform's inverse.

    It is measured at the points that agree, and infinite if no point is left.
    """
    places = found.points[found.inliers, :2]
    back = np.asarray(np.linalg.inv(found.matrix), dtype=np.float64)
    shifts = local_shifts(b, a, back, window=WINDOW_PX, radius=RADII_PX[1], places=places, masks=masks[::-1])
    return float(np.median(residuals(back, shifts.a, shifts.b))) if len(shifts) else math.inf


def coverage(points: Points, matrix: Points, shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> float:
    """Share of the cells of b that hold a point (N, 2), among those whose centre lies in a; 0 if there is no such cell.

    The cells are COVERAGE_GRID a side.
    """
    height, width = shape_b
    centres = (np.arange(COVERAGE_GRID) + 0.5) / COVERAGE_GRID
    x, y = np.meshgrid(centres * width - 0.5, centres * height - 0.5)
    back = _map(np.column_stack([x.ravel(), y.ravel()]), np.linalg.inv(matrix))
    reached = ((back >= 0) & (back <= np.array([shape_a[1] - 1, shape_a[0] - 1]))).all(axis=1)
    held = np.zeros(COVERAGE_GRID * COVERAGE_GRID, dtype=bool)
    cells = np.clip(((points + 0.5) / [width, height] * COVERAGE_GRID).astype(int), 0, COVERAGE_GRID - 1)
    held[cells[:, 1] * COVERAGE_GRID + cells[:, 0]] = True
    return float((held & reached).sum() / max(reached.sum(), 1))


def independent_windows(places: Points, shape: tuple[int, ...]) -> float:
    """Area that the windows around points (N, 2) of an image of `shape` cover, in windows; to SQUARE_PX px."""
    covered = np.zeros([-(-side // SQUARE_PX) for side in shape[:2]], dtype=bool)
    half = WINDOW_PX // 2 // SQUARE_PX
    for x, y in np.rint(places / SQUARE_PX).astype(int):
        covered[max(0, y - half) : max(0, y + half), max(0, x - half) : max(0, x + half)] = True
    return float(covered.sum() * (SQUARE_PX / WINDOW_PX) ** 2)


def _sides(side: int) -> list[int]:
    """Longer sides at which images of `side` px are compared; the last one twice, since the first shifts were large."""
    last = min(side, MAX_SIDE_PX)
    sides = [last, last]
    while sides[0] > MIN_SIDE_PX:
        sides.insert(0, max(MIN_SIDE_PX, sides[0] // 2))
    return sides


def _map(points: Points, matrix: NDArray[np.floating]) -> Points:
    if not len(points):
        return points.reshape(-1, 2)
    return np.asarray(cv2.perspectiveTransform(points.reshape(-1, 1, 2), matrix).reshape(-1, 2), dtype=np.float64)


def _sound(matrix: Points, shape: tuple[int, ...]) -> bool:
    """Whether the transform keeps all of image a before the horizon."""
    height, width = shape[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]])
    return bool(np.isfinite(matrix).all() and (corners @ matrix[2] > 1e-6).all())
