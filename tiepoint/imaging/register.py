"""Registering one image to another: the transform, its tie points and a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.imaging.describe import Features
from tiepoint.imaging.geometry import FEWEST, Model, estimate
from tiepoint.imaging.io import Image
from tiepoint.imaging.match import MatchResult, Progress, match
from tiepoint.models import Describer


@dataclass(frozen=True)
class Registration:
    """What `register` found.

    Attributes:
        matrix: (3, 3), maps a pixel (x, y, 1) of a to b; None if refused.
        matches: all matches that the geometry was given.
        inliers: (M,) bool over the matches; all False if refused.
        residuals: (T,) pixels of b, one for each tie point.
        accepted: the verdict.
        reasons: why it was refused, in words; empty if accepted.
        confidence: inliers / (inliers + min_inliers), 0 without a sound transform: 0.5 at the limit of acceptance. A
            monotonic figure of the number of inliers alone, no probability.
        model: of the transform.
    """

    matrix: NDArray[np.float64] | None
    matches: MatchResult
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]
    accepted: bool
    reasons: tuple[str, ...]
    confidence: float
    model: Model

    @property
    def tie_points(self) -> NDArray[np.float64]:
        """Inlying matches (T, 4): xa, ya, xb, yb in pixels."""
        return self.matches.points[self.inliers]

    @property
    def rms(self) -> float | None:
        """Root mean square of the residuals in pixels of b; None if refused."""
        return float(np.sqrt(np.mean(self.residuals**2))) if self.accepted else None

    def to_json(self) -> dict[str, Any]:
        """Plain, finite values for JSON."""
        return {
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "confidence": round(self.confidence, 4),
            "model": self.model,
            "describer": self.matches.a.describer,
            "matrix": None if self.matrix is None else self.matrix.tolist(),
            "keypoints_a": len(self.matches.a),
            "keypoints_b": len(self.matches.b),
            "matches": len(self.matches.matches),
            "inliers": int(self.inliers.sum()),
            "rms": self.rms,
            "tie_points": np.round(self.tie_points, 4).tolist(),
            "residuals": np.round(self.residuals, 4).tolist(),
        }


def register(
    a: Image | Features,
    b: Image | Features,
    describer: str | Path | Describer = "sdgmnet",
    *,
    model: Model = "homography",
    ratio: float = 0.9,
    threshold: float = 3.0,
    max_keypoints: int = 8000,
    contrast_threshold: float = 0.01,
    support: float | None = None,
    min_inliers: int = 12,
    seed: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Register image a to image b.

    An accepted transform has at least `min_inliers` tie points and neither mirrors nor folds the image; all else is
    refused with its reasons, not raised.

    Args:
        a: a path, an array (H, W) or RGB (3, H, W), or the `Features` of one.
        b: likewise.
        describer: a name, a path or a loaded one.
        model: "homography", "affine" or "similarity".
        ratio: of the ratio test, see `mutual_nearest`.
        threshold: largest residual of a tie point, pixels of b.
        max_keypoints: see `describe`.
        contrast_threshold: see `describe`.
        support: see `describe`.
        min_inliers: tie points that a registration needs, at least 4.
        seed: of the robust estimation.
        progress: called with steps done and their number.

    Raises:
        InputError: an unusable image, see `describe`, or argument.
    """
    if min_inliers < FEWEST:
        raise InputError(f"min_inliers is {min_inliers}: give at least {FEWEST}")
    found = match(
        a, b, describer, ratio=ratio, max_keypoints=max_keypoints, contrast_threshold=contrast_threshold,
        support=support, progress=(lambda done, total: progress(done, total + 1)) if progress else None,
    )  # fmt: skip
    points = found.points
    fit = estimate(points[:, :2], points[:, 2:], model, threshold=threshold, seed=seed, size=found.a.size)
    if progress:
        progress(4, 4)
    count = int(fit.inliers.sum())
    confidence = count / (count + min_inliers)
    reasons = [fit.reason] if fit.reason else []
    if fit.matrix is not None and count < min_inliers:
        reasons.append(f"{count} inliers, fewer than {min_inliers}")
    if reasons:
        none = np.zeros(len(points), dtype=bool)
        return Registration(None, found, none, np.empty(0), False, tuple(reasons), confidence, model)
    return Registration(fit.matrix, found, fit.inliers, fit.residuals[fit.inliers], True, (), confidence, model)
