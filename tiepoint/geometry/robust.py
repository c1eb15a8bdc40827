"""Transforms from matched points, some of which may be outliers."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.geometry.least_squares import MIN_MATCHES as MIN_MATCHES
from tiepoint.geometry.least_squares import Model as Model
from tiepoint.geometry.least_squares import apply as apply
from tiepoint.geometry.least_squares import as_complex, from_linear, similarity_matrix
from tiepoint.geometry.least_squares import least_squares as least_squares
from tiepoint.options import Estimation
from tiepoint.types import Points

MODELS: tuple[Model, ...] = ("homography", "affine", "similarity")
MAX_REFITS = 5
HYPOTHESES = 4000
MAX_ZOOM = 10.0


@dataclass(frozen=True)
class Estimate:
    """A transform, or why there is none."""

    matrix: Points | None  # (3, 3), maps a pixel (x, y, 1) of a to b; its last entry is 1; None if refused
    inliers: NDArray[np.bool_]  # (N,), residual at most the threshold; all False if refused
    residuals: Points  # (N,) pixels of b between a's mapped point and b's; infinite if refused or mapped to infinity
    reason: str | None = None  # why it was refused, in words; None if not


def estimate(
    points_a: ArrayLike,
    points_b: ArrayLike,
    model: Model = "homography",
    *,
    threshold: float = Estimation.max_residual,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Fit a transform from a to b, robustly and then by least squares on the inliers.

    Homography and affine: OpenCV's MAGSAC++ (Barath et al., CVPR 2020). OpenCV has no MAGSAC of a similarity: there it
    is MSAC over two-point samples (Torr and Zisserman, 2000). Deterministic for a seed.

    Args:
        points_a, points_b: (N, 2) pixels.
        threshold: largest residual of an inlier, pixels of b.
        size: width and height of image a, over which the transform must be sound; the points' bounding box if None.
        weights: (N,), 0 or more, as match probabilities: samples are drawn from the likeliest matches first (PROSAC,
            Chum and Matas, CVPR 2005; for the similarity: in proportion to the weights), and the squares are weighted.
            It helps where few matches are right. None weighs all equally.

    Refused, not raised: fewer than four matches, points on one line, no model, a transform that mirrors or folds the
    image or scales a part of it more than tenfold.

    Raises InputError for arrays that are not (N, 2) and finite, an unknown model, a threshold that is not positive,
    weights that are negative, not finite or all 0.
    """
    if model not in MODELS:
        raise InputError(f"no model {model!r}: there are {', '.join(MODELS)}")
    a, b = checked_points(points_a, points_b, threshold)
    trust = checked_weights(weights, len(a))
    if len(np.unique(np.hstack([a, b]), axis=0)) < MIN_MATCHES:
        return _refused(len(a), f"fewer than {MIN_MATCHES} different matches")
    if is_thin(a, threshold) or is_thin(b, threshold):
        return _refused(len(a), "the matches lie on a line or at one point")
    matrix = _robust(a, b, model, threshold, seed, trust)
    if matrix is None or not np.isfinite(matrix).all():
        return _refused(len(a), f"no {model} found")
    distances = residuals(matrix, a, b)
    for _ in range(MAX_REFITS):
        inliers = distances <= threshold
        if inliers.sum() < MIN_MATCHES:
            return _refused(len(a), f"fewer than {MIN_MATCHES} inliers")
        if is_thin(a[inliers], threshold) or is_thin(b[inliers], threshold):
            return _refused(len(a), "the inliers lie on a line or at one point")
        refit = least_squares(a[inliers], b[inliers], model, None if trust is None else trust[inliers])
        if refit is None:
            return _refused(len(a), f"no {model} fits the inliers")
        matrix, distances = refit, residuals(refit, a, b)
        if np.array_equal(distances <= threshold, inliers):
            break
    if (fault := find_flaw(matrix, *(size or extent(a)))) is not None:
        return _refused(len(a), fault)
    return Estimate(matrix, distances <= threshold, distances)


def residuals(matrix: Points, a: ArrayLike, b: ArrayLike) -> Points:
    """Distances (N,) in pixels between mapped points of a and those of b."""
    difference = apply(matrix, a) - np.asarray(b, dtype=np.float64)
    return np.asarray(np.sqrt((difference**2).sum(axis=1)))


def corner_error(matrix: ArrayLike, truth: ArrayLike, width: int, height: int) -> float:
    """Mean distance in pixels of b between the corner pixels of a width x height image a mapped by two transforms."""
    corners = _corners(width, height)
    mapped = apply(np.asarray(matrix, dtype=np.float64), corners)
    return float(residuals(np.asarray(truth, dtype=np.float64), corners, mapped).mean())


def checked_points(points_a: ArrayLike, points_b: ArrayLike, threshold: float) -> tuple[Points, Points]:
    """Matched points as float64; InputError unless both are finite (N, 2) and the threshold is positive."""
    a, b = np.asarray(points_a, dtype=np.float64), np.asarray(points_b, dtype=np.float64)
    if a.ndim != 2 or a.shape[1] != 2 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(f"points have shapes {a.shape} and {b.shape}: give finite (N, 2) twice")
    if not threshold > 0:
        raise InputError(f"threshold is {threshold:g}: give a positive number of pixels")
    return a, b


def checked_weights(weights: ArrayLike | None, count: int) -> Points | None:
    """Weights (N,) as float64, or None; InputError unless they are finite, 0 or more, and some above 0."""
    if weights is None:
        return None
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (count,) or not np.isfinite(values).all() or (values < 0).any():
        wrong = f"weights have shape {values.shape} for {count} matches"
        raise InputError(f"{wrong}: give ({count},), finite and 0 or more")
    if count and not values.any():
        raise InputError("all weights are 0: give None to weigh all matches equally")
    return values


def usac(threshold: float, seed: int, *, ordered: bool = False) -> cv2.UsacParams:
    """Settings of OpenCV's MAGSAC++; `ordered` draws its samples from the first points first (PROSAC)."""
    settings = cv2.UsacParams()
    settings.threshold, settings.confidence, settings.maxIterations = threshold, 0.9999, 10_000
    settings.randomGeneratorState = seed
    settings.score, settings.loMethod = cv2.SCORE_METHOD_MAGSAC, cv2.LOCAL_OPTIM_SIGMA
    if ordered:
        settings.sampler = cv2.SAMPLING_PROSAC
    return settings


def is_thin(points: Points, width: float) -> bool:
    """Whether points spread less than `width` pixels across their line: noise alone could then turn the transform."""
    return bool(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[1] < width * np.sqrt(len(points)))


def extent(points: Points) -> tuple[int, int]:
    """Width and height of the smallest image that holds all points (N, 2), N at least 1."""
    return int(points[:, 0].max()) + 1, int(points[:, 1].max()) + 1


def find_flaw(matrix: Points, width: int, height: int) -> str | None:
    """A transform's fault at the corners of a; in between, depth is linear and the area's scale monotonic in it."""
    corners = np.column_stack([_corners(width, height), np.ones(4)])
    depth = corners @ matrix[2]
    if (depth <= 0).any():
        return "the transform folds the image"
    areas = np.linalg.det(matrix) / depth**3
    if (areas <= 0).any():
        return "the transform mirrors the image"
    if areas.max() > MAX_ZOOM**2 or areas.min() < MAX_ZOOM**-2:
        return f"the transform scales a part of the image more than {MAX_ZOOM:g} times"
    return None


def _robust(a: Points, b: Points, model: Model, threshold: float, seed: int, weights: Points | None) -> Points | None:
    if model == "similarity":
        return _msac_similarity(a, b, threshold, seed, weights)
    if weights is not None:
        order = np.argsort(-weights, kind="stable")
        a, b = a[order], b[order]
    settings = usac(threshold, seed, ordered=weights is not None)
    if model == "homography":
        matrix = cv2.findHomography(a, b, settings)[0]
        return None if matrix is None else np.asarray(matrix, dtype=np.float64)
    matrix = cv2.estimateAffine2D(a, b, settings)[0]
    return None if matrix is None else from_linear(matrix[:, :2], matrix[:, 2])


def _msac_similarity(a: Points, b: Points, threshold: float, seed: int, weights: Points | None) -> Points | None:
    """As complex numbers a similarity is b = s a + t: two points fix it, and all hypotheses are scored at once."""
    za, zb = as_complex(a), as_complex(b)
    random = np.random.default_rng(seed)
    if weights is None:
        first, second = random.integers(len(a), size=(2, HYPOTHESES))
    else:
        first, second = random.choice(len(a), size=(2, HYPOTHESES), p=weights / weights.sum())
    apart = (np.abs(za[second] - za[first]) > threshold) & (np.abs(zb[second] - zb[first]) > threshold)
    first, second = first[apart], second[apart]
    if not len(first):
        return None
    scale = (zb[second] - zb[first]) / (za[second] - za[first])
    shift = zb[first] - scale * za[first]
    costs = [np.minimum(np.abs(s * za + t - zb) ** 2, threshold**2).sum() for s, t in zip(scale, shift, strict=True)]
    best = int(np.argmin(costs))
    return from_linear(similarity_matrix(complex(scale[best])), [shift[best].real, shift[best].imag])


def _corners(width: int, height: int) -> Points:
    return np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float64)


def _refused(count: int, reason: str) -> Estimate:
    return Estimate(None, np.zeros(count, dtype=bool), np.full(count, np.inf), reason)
