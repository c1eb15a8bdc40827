"""Transforms from matched points that may hold outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError

Model = Literal["homography", "affine", "similarity"]
MODELS: tuple[Model, ...] = ("homography", "affine", "similarity")
FEWEST = 4
REFITS = 5
HYPOTHESES = 4000
LARGEST_ZOOM = 10.0
SIMPLER = 2.0  # chosen on aligned training pairs, see docs/experiments.md
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A transform, or why there is none.

    Attributes:
        matrix: (3, 3), maps a pixel (x, y, 1) of a to b; its last entry is 1. None if refused.
        inliers: (N,) bool, residual at most the threshold; all False if refused.
        residuals: (N,) pixels of b between a's mapped point and b's; infinite if refused or mapped to infinity.
        reason: why it was refused, in words; None if not.
    """

    matrix: Points | None
    inliers: NDArray[np.bool_]
    residuals: Points
    reason: str | None = None


def estimate(
    points_a: ArrayLike,
    points_b: ArrayLike,
    model: Model = "homography",
    *,
    threshold: float = 3.0,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> Estimate:
    """Fit a transform from a to b, robustly and then by least squares on the inliers.

    Homography and affine: OpenCV's MAGSAC++ (Barath et al., CVPR 2020). OpenCV has no MAGSAC of a similarity: there it
    is MSAC over two-point samples (Torr and Zisserman, 2000). Deterministic for a seed.

    Args:
        points_a: (N, 2) pixels.
        points_b: (N, 2) pixels.
        model: "homography", "affine" or "similarity".
        threshold: largest residual of an inlier, pixels of b.
        seed: of the samples.
        size: width and height of image a, over which the transform must be sound; the points' bounding box if None.

    Refused, not raised: fewer than four matches, points on one line, no model, a transform that mirrors or folds the
    image or scales a part of it more than tenfold.

    Raises:
        InputError: arrays that are not (N, 2) and finite, an unknown model, a threshold that is not positive.
    """
    a, b = np.asarray(points_a, dtype=np.float64), np.asarray(points_b, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] != 2 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(f"points have shapes {a.shape} and {b.shape}: give finite (N, 2) twice")
    if model not in MODELS:
        raise InputError(f"no model {model!r}: there are {', '.join(MODELS)}")
    if not threshold > 0:
        raise InputError(f"threshold is {threshold:g}: give a positive number of pixels")
    if len(np.unique(np.hstack([a, b]), axis=0)) < FEWEST:
        return _refused(len(a), f"fewer than {FEWEST} different matches")
    if _thin(a, threshold) or _thin(b, threshold):
        return _refused(len(a), "the matches lie on a line or in one place")
    matrix = _robust(a, b, model, threshold, seed)
    if matrix is None or not np.isfinite(matrix).all():
        return _refused(len(a), f"no {model} found")
    distances = residuals(matrix, a, b)
    for _ in range(REFITS):
        inliers = distances <= threshold
        if inliers.sum() < FEWEST:
            return _refused(len(a), f"fewer than {FEWEST} inliers")
        if _thin(a[inliers], threshold) or _thin(b[inliers], threshold):
            return _refused(len(a), "the inliers lie on a line or in one place")
        refit = least_squares(a[inliers], b[inliers], model)
        if refit is None:
            return _refused(len(a), f"no {model} fits the inliers")
        matrix, distances = refit, residuals(refit, a, b)
        if np.array_equal(distances <= threshold, inliers):
            break
    width, height = size or (int(a[:, 0].max()) + 1, int(a[:, 1].max()) + 1)
    if (flaw := _flaw(matrix, width, height)) is not None:
        return _refused(len(a), flaw)
    return Estimate(matrix, distances <= threshold, distances)


def choose(
    points_a: ArrayLike,
    points_b: ArrayLike,
    models: Sequence[Model] = ("similarity", "affine", "homography"),
    *,
    threshold: float = 3.0,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> tuple[Estimate, Model]:
    """Fit each of `models`, the simplest first, and take the first whose cost is at most SIMPLER times the least.

    The cost is the mean of min(residual, threshold)^2. A transform of fewer parameters errs less where no point holds
    it, as in corners of sky or water. Where nothing fits, the refusal of the last model is returned. Arguments and
    errors as `estimate`.
    """
    fits = [(estimate(points_a, points_b, m, threshold=threshold, seed=seed, size=size), m) for m in models]
    costs = [float(np.square(np.minimum(fit.residuals, threshold)).mean()) if fit.matrix is not None else np.inf
             for fit, _ in fits]  # fmt: skip
    for (fit, model), cost in zip(fits, costs, strict=True):
        if fit.matrix is not None and cost <= SIMPLER * min(costs):
            return fit, model
    return fits[-1]


def least_squares(a: Points, b: Points, model: Model) -> Points | None:
    """The transform (3, 3) that minimises the squared residuals in b of all points (N, 2), N >= 4."""
    if model == "homography":
        matrix = cv2.findHomography(a, b, 0)[0]
        return None if matrix is None or not np.isfinite(matrix).all() else np.asarray(matrix, dtype=np.float64)
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    if model == "affine":
        linear = np.linalg.lstsq(a - centre_a, b - centre_b, rcond=None)[0].T
    else:
        za, zb = (_complex(p - p.mean(axis=0)) for p in (a, b))
        linear = _similarity_matrix(complex(np.vdot(za, zb) / np.vdot(za, za).real))
    return _from_linear(linear, centre_b - linear @ centre_a)


def apply(matrix: Points, points: ArrayLike) -> Points:
    """Map points (N, 2) by a (3, 3) transform; infinite where the image of a point is at infinity or behind it."""
    homogeneous = np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]
    depth = homogeneous[:, 2:]
    return np.where(depth > 1e-12, homogeneous[:, :2] / np.where(depth > 1e-12, depth, 1), np.inf)


def residuals(matrix: Points, a: ArrayLike, b: ArrayLike) -> Points:
    """Distances (N,) in pixels between mapped points of a and those of b."""
    difference: Points = apply(matrix, a) - np.asarray(b, dtype=np.float64)
    distances: Points = np.sqrt((difference**2).sum(axis=1))
    return distances


def corner_error(matrix: ArrayLike, truth: ArrayLike, width: int, height: int) -> float:
    """Mean distance in pixels of b between the corner pixels of a width x height image a mapped by two transforms."""
    mapped = apply(np.asarray(matrix, dtype=np.float64), _corners(width, height))
    return float(residuals(np.asarray(truth, dtype=np.float64), _corners(width, height), mapped).mean())


def _robust(a: Points, b: Points, model: Model, threshold: float, seed: int) -> Points | None:
    if model == "similarity":
        return _msac_similarity(a, b, threshold, seed)
    usac = cv2.UsacParams()
    usac.threshold, usac.confidence, usac.maxIterations = threshold, 0.9999, 10_000
    usac.randomGeneratorState = seed
    usac.score, usac.loMethod = cv2.SCORE_METHOD_MAGSAC, cv2.LOCAL_OPTIM_SIGMA
    if model == "homography":
        matrix = cv2.findHomography(a, b, usac)[0]
        return None if matrix is None else np.asarray(matrix, dtype=np.float64)
    matrix = cv2.estimateAffine2D(a, b, usac)[0]
    return None if matrix is None else _from_linear(matrix[:, :2], matrix[:, 2])


def _msac_similarity(a: Points, b: Points, threshold: float, seed: int) -> Points | None:
    """As complex numbers a similarity is b = s a + t: two points fix it, and all hypotheses are scored at once."""
    za, zb = _complex(a), _complex(b)
    first, second = np.random.default_rng(seed).integers(len(a), size=(2, HYPOTHESES))
    apart = (np.abs(za[second] - za[first]) > threshold) & (np.abs(zb[second] - zb[first]) > threshold)
    first, second = first[apart], second[apart]
    if not len(first):
        return None
    scale = (zb[second] - zb[first]) / (za[second] - za[first])
    shift = zb[first] - scale * za[first]
    costs = [np.minimum(np.abs(s * za + t - zb) ** 2, threshold**2).sum() for s, t in zip(scale, shift, strict=True)]
    best = int(np.argmin(costs))
    return _from_linear(_similarity_matrix(complex(scale[best])), [shift[best].real, shift[best].imag])


def _flaw(matrix: Points, width: int, height: int) -> str | None:
    """A transform's fault at the corners of a; in between, depth is linear and the area's scale monotonic in it."""
    corners = np.column_stack([_corners(width, height), np.ones(4)])
    depth = corners @ matrix[2]
    if (depth <= 0).any():
        return "the transform folds the image"
    areas = np.linalg.det(matrix) / depth**3
    if (areas <= 0).any():
        return "the transform mirrors the image"
    if areas.max() > LARGEST_ZOOM**2 or areas.min() < LARGEST_ZOOM**-2:
        return f"the transform scales a part of the image more than {LARGEST_ZOOM:g} times"
    return None


def _thin(points: Points, width: float) -> bool:
    """Whether points spread less than `width` pixels across their line: noise alone could then turn the transform."""
    return bool(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1] < width * np.sqrt(len(points)))


def _corners(width: int, height: int) -> Points:
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float64)


def _complex(points: Points) -> NDArray[np.complex128]:
    return points[:, 0] + 1j * points[:, 1]


def _similarity_matrix(scale: complex) -> Points:
    return np.array([[scale.real, -scale.imag], [scale.imag, scale.real]])


def _from_linear(linear: ArrayLike, shift: ArrayLike) -> Points:
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, shift
    return matrix


def _refused(count: int, reason: str) -> Estimate:
    return Estimate(None, np.zeros(count, dtype=bool), np.full(count, np.inf), reason)
