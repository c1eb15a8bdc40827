"""What a registration is: the transform, its tie points and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.features.view import ViewInfo
from tiepoint.geometry.robust import apply
from tiepoint.geometry.warps import Warp
from tiepoint.options import TWO_VIEW_MODELS, ModelChoice
from tiepoint.options import Registration as Options
from tiepoint.registration.verdict import Evidence
from tiepoint.types import Matrix, Points


class Pose(NamedTuple):
    """Of camera b relative to a: a point x of camera a lies at rotation x + s translation in camera b, s > 0."""

    rotation: Matrix  # (3, 3)
    translation: NDArray[np.float64]  # (3,), of length 1


@dataclass(frozen=True)
class WarpTrial:
    """Whether a warp tells where tie points lie better than the transform does.

    Attributes:
        kind: of the warp, see `tiepoint.geometry.warps`.
        points: tie points that it was tried on.
        before: median residual of the transform at them, pixels of b; None where there were too few to try.
        after: median distance from where a warp of the others takes them, pixels of b; None likewise.
        reason: why the transform stays, in words; None where the warp was taken.
    """

    kind: str
    points: int
    before: float | None = None
    after: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "kind": self.kind,
            "taken": self.reason is None,
            "points": self.points,
            "held_out_before": None if self.before is None else round(self.before, 4),
            "held_out_after": None if self.after is None else round(self.after, 4),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Registration:
    """What `register` found. It holds no pixels and no descriptors.

    Attributes:
        matrix: (3, 3), maps a pixel (x, y, 1) of a to b; None if refused. Of the models "fundamental" and "essential"
            it maps nothing: it is the fundamental matrix F, for which x_b^T F x_a = 0 in pixels. `transform` is None
            then.
        a: what is known of image a.
        b: what is known of image b.
        describer: name of the describer.
        matches: (K, 4) the keypoint matches, xa, ya, xb, yb in pixels.
        points: (M, 4) correspondences that the geometry was given, xa, ya, xb, yb in pixels: the points whose structure
            was compared, or without refinement the keypoint matches.
        scores: (M,) how alike they are: correlation of the structure, or similarity of the descriptors.
        inliers: (M,) bool over the correspondences; all False if refused.
        residuals: (T,) pixels of b, one for each tie point; of F Sampson distances; with a warp the distance of each
            tie point from where a warp of the others takes it.
        accepted: the verdict.
        reasons: why it was refused, in words; empty if accepted.
        confidence: probability, in 0..1, that the transform is good to 5 px at the image's corners, see
            `tiepoint.registration.verdict`.
        evidence: what the confidence was made of.
        model: of the transform.
        options: what it was made with.
        probabilities: (T,) match probability of each tie point by the relater, in 0..1; None without one.
        warp: what bends the transform, where one was asked for and is better; its `map` takes points of a to b.
        trial: how it was tried; None where none was asked for.
        pose: of the cameras, by the model "essential"; None by others.
    """

    matrix: Matrix | None
    a: ViewInfo
    b: ViewInfo
    describer: str
    matches: Points
    points: Points
    scores: NDArray[np.floating]
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]
    accepted: bool
    reasons: tuple[str, ...]
    confidence: float
    evidence: Evidence
    model: ModelChoice
    options: Options
    probabilities: NDArray[np.float64] | None = None
    warp: Warp | None = None
    trial: WarpTrial | None = None
    pose: Pose | None = None

    @property
    def tie_points(self) -> Points:
        """Correspondences that agree with the transform, or with the warp (T, 4): xa, ya, xb, yb in pixels."""
        return self.points[self.inliers]

    @property
    def transform(self) -> Matrix | None:
        """The matrix (3, 3) where it maps points of a to b; None if refused, and of F."""
        return None if self.model in TWO_VIEW_MODELS else self.matrix

    @property
    def rms(self) -> float | None:
        """Root mean square of the residuals in pixels of b; None if refused."""
        return float(np.sqrt(np.mean(self.residuals**2))) if self.accepted else None

    def map(self, points: ArrayLike) -> Points:
        """Pixels (N, 2) of a to those of b, by the warp if there is one, else by the transform.

        Raises:
            InputError: a refused registration, or one by a fundamental matrix, which maps a point to a line.
        """
        if self.transform is None:
            raise InputError(
                "the registration was refused: nothing maps its points"
                if self.matrix is None
                else "a fundamental matrix maps no points: register with a homography, an affinity or a similarity"
            )
        pixels = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return apply(self.transform, pixels) if self.warp is None else self.warp.map(pixels)

    def to_json(self) -> dict[str, Any]:
        """Plain, finite values for JSON."""
        return {
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "confidence": round(self.confidence, 4),
            "model": self.model,
            "describer": self.describer,
            "matrix": None if self.matrix is None else self.matrix.tolist(),
            "pose": None if self.pose is None else {k: v.tolist() for k, v in self.pose._asdict().items()},
            "warp": None if self.trial is None else self.trial.to_json(),
            "keypoints_a": self.a.keypoints,
            "keypoints_b": self.b.keypoints,
            "matches": len(self.matches),
            "correspondences": len(self.points),
            "inliers": int(self.inliers.sum()),
            "rms": self.rms,
            "evidence": self.evidence.to_json(),
            "tie_points": np.round(self.tie_points, 4).tolist(),
            "residuals": np.round(self.residuals, 4).tolist(),
            "probabilities": None if self.probabilities is None else np.round(self.probabilities, 4).tolist(),
        }
