"""Registering one image to another: the transform, its tie points and a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.imaging.align import ORDER, Alignment, align, roundtrip
from tiepoint.imaging.coarse import correlate
from tiepoint.imaging.describe import Features
from tiepoint.imaging.geometry import FEWEST, Estimate, Model, choose, residuals
from tiepoint.imaging.io import Image
from tiepoint.imaging.match import MatchResult, Progress, match
from tiepoint.imaging.raster import Raster
from tiepoint.imaging.relate import relate_places
from tiepoint.imaging.verdict import NOTHING, Evidence, confidence, doubts
from tiepoint.models import Describer, load_relater
from tiepoint.relater import LearnedRelater

Choice = Model | Literal["auto"]
LEAST_CONFIDENCE = 0.5
LEAST_PROBABILITY = 0.5
SMALLEST_STRUCTURE = 192  # px a side, to hold a window and its search


@dataclass(frozen=True)
class Registration:
    """What `register` found.

    Attributes:
        matrix: (3, 3), maps a pixel (x, y, 1) of a to b; None if refused.
        matches: the keypoint matches.
        points: (M, 4) correspondences that the geometry was given, xa, ya, xb, yb in pixels: the places whose structure
            was compared, or without refinement the keypoint matches.
        scores: (M,) how alike they are: correlation of the structure, or similarity of the descriptors.
        inliers: (M,) bool over the correspondences; all False if refused.
        residuals: (T,) pixels of b, one for each tie point.
        accepted: the verdict.
        reasons: why it was refused, in words; empty if accepted.
        confidence: probability, in 0..1, that the transform is good to 5 px at the image's corners, see
            `tiepoint.imaging.verdict`.
        evidence: what the confidence was made of.
        model: of the transform.
        probabilities: (T,) match probability of each tie point by the relater, in 0..1; None without one.
    """

    matrix: NDArray[np.float64] | None
    matches: MatchResult
    points: NDArray[np.float64]
    scores: NDArray[np.floating]
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]
    accepted: bool
    reasons: tuple[str, ...]
    confidence: float
    evidence: Evidence
    model: Choice
    probabilities: NDArray[np.float64] | None = None

    @property
    def tie_points(self) -> NDArray[np.float64]:
        """Correspondences that agree with the transform (T, 4): xa, ya, xb, yb in pixels."""
        return self.points[self.inliers]

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
            "correspondences": len(self.points),
            "inliers": int(self.inliers.sum()),
            "rms": self.rms,
            "evidence": self.evidence.to_json(),
            "tie_points": np.round(self.tie_points, 4).tolist(),
            "residuals": np.round(self.residuals, 4).tolist(),
            "probabilities": None if self.probabilities is None else np.round(self.probabilities, 4).tolist(),
        }


def register(
    a: Image | Raster | Features,
    b: Image | Raster | Features,
    describer: str | Path | Describer = "sdgmnet",
    *,
    model: Choice = "auto",
    ratio: float = 0.9,
    threshold: float = 3.0,
    max_keypoints: int = 8000,
    contrast_threshold: float = 0.01,
    support: float | None = None,
    structure: bool = True,
    refine: bool = True,
    relater: str | Path | LearnedRelater | None = None,
    spectra: tuple[str, str] | None = None,
    least_confidence: float = LEAST_CONFIDENCE,
    min_inliers: int = 12,
    seed: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Register image a to image b.

    Keypoint matches and, with `structure`, the correlation of both images' structure each propose a transform. The
    proposals are refined by local correlation, the one that more of the overlap confirms is taken, and what speaks for
    it makes the confidence. A registration of less than `least_confidence` is refused with its reasons, not raised.

    Tie points are the places whose structure agrees, or the keypoint matches where more of these do.

    Without `refine`, for `Features` that hold no image, and for images under 192 px, the keypoint matches alone decide:
    `min_inliers` of them are needed, and the confidence is inliers / (inliers + min_inliers), a figure of their number
    and no probability.

    Args:
        a: a path, an array (H, W) or (C, H, W), a `Raster`, or the `Features` of one.
        b: likewise.
        describer: a name, a path or a loaded one.
        model: "homography", "affine", "similarity", or "auto": the simplest that explains the correspondences, see
            `tiepoint.imaging.geometry.choose`.
        ratio: of the ratio test, see `mutual_nearest`.
        threshold: largest residual of a tie point, pixels of b.
        max_keypoints: see `describe`.
        contrast_threshold: see `describe`.
        support: see `describe`.
        structure: look for small rotations and scales without keypoints too, see `tiepoint.imaging.coarse`.
        refine: correlate locally, see `tiepoint.imaging.align`.
        relater: a name, a path or a loaded one: gives each tie point its match probability, and drops those below 0.5;
            without `refine` it drops keypoint matches, which are then fitted again.
        spectra: of a and of b, by the names that the relater knows; its own order if None.
        least_confidence: of an accepted registration, in 0..1.
        min_inliers: without `refine`: tie points that a registration needs, at least 4.
        seed: of the robust estimation.
        progress: called with steps done and their number.

    Raises:
        InputError: an unusable image, see `describe`, or argument.
    """
    if min_inliers < FEWEST:
        raise InputError(f"min_inliers is {min_inliers}: give at least {FEWEST}")
    if not 0 <= least_confidence <= 1:
        raise InputError(f"least_confidence is {least_confidence:g}: give a number from 0 to 1")
    judge = None if relater is None else load_relater(relater)
    found = match(
        a, b, describer, ratio=ratio, max_keypoints=max_keypoints, contrast_threshold=contrast_threshold,
        support=support, progress=(lambda done, total: progress(done, total + 1)) if progress else None,
    )  # fmt: skip
    models: tuple[Model, ...] = ORDER if model == "auto" else (model,)
    points = found.points
    fit, fitted = choose(points[:, :2], points[:, 2:], models, threshold=threshold, seed=seed, size=found.a.size)
    first, second, masks = found.a.image, found.b.image, (found.a.mask, found.b.mask)
    if not refine or first is None or second is None or min(*first.shape, *second.shape) < SMALLEST_STRUCTURE:
        if judge is not None and fit.matrix is not None and first is not None and second is not None:
            found = found.keep(
                relate_places(first, second, fit.matrix, points[:, 2:], judge, spectra) >= LEAST_PROBABILITY
            )
            points = found.points
            fit, fitted = choose(
                points[:, :2], points[:, 2:], models, threshold=threshold, seed=seed, size=found.a.size
            )
        result = _by_matches(found, fit, fitted, min_inliers)
    else:
        proposals = [] if fit.matrix is None else [fit.matrix]
        if structure:
            proposals.append(correlate(first, second, masks=masks)[0].matrix)
        aligned = [
            align(first, second, matrix, models=models, threshold=threshold, seed=seed, masks=masks)
            for matrix in proposals
        ]
        sound = [alignment for alignment in aligned if alignment is not None]
        best = max(sound, key=lambda alignment: alignment.inliers.sum() * alignment.support, default=None)
        result = _by_structure(found, fit, fitted, best, threshold, least_confidence, judge, spectra)
    if progress:
        progress(4, 4)
    return result


def _by_matches(found: MatchResult, fit: Estimate, model: Model, min_inliers: int) -> Registration:
    points, scores = found.points, found.matches.similarity
    count = int(fit.inliers.sum())
    trust = count / (count + min_inliers)
    reasons = [fit.reason] if fit.reason else []
    if fit.matrix is not None and count < min_inliers:
        reasons.append(f"{count} inliers, fewer than {min_inliers}")
    evidence = replace(NOTHING, matches=count, match_share=count / max(len(points), 1))
    if reasons or fit.matrix is None:
        return _refused(found, points, scores, tuple(reasons), trust, evidence, model)
    return Registration(
        fit.matrix, found, points, scores, fit.inliers, fit.residuals[fit.inliers], True, (), trust, evidence, model
    )


def _by_structure(
    found: MatchResult,
    fit: Estimate,
    model: Model,
    best: Alignment | None,
    threshold: float,
    least: float,
    relater: LearnedRelater | None,
    spectra: tuple[str, str] | None,
) -> Registration:
    """Judge by the structure; the tie points are the places, or the keypoint matches where more of these agree."""
    assert found.a.image is not None
    assert found.b.image is not None
    images = found.a.image, found.b.image
    if best is None:
        reasons = (*((fit.reason,) if fit.reason else ()), "no transform fits the structure of the images")
        return _refused(found, found.points, found.matches.similarity, reasons, 0.0, NOTHING, model)
    lead = _Lead(best.matrix, best.model, best.points, best.scores, best.inliers, best.residuals)
    if fit.matrix is not None and fit.inliers.sum() > best.inliers.sum():
        lead = _Lead(fit.matrix, model, found.points, found.matches.similarity, fit.inliers, fit.residuals)
    inliers, chances = lead.inliers, None
    if relater is not None:
        chances = relate_places(*images, lead.matrix, lead.points[:, 2:], relater, spectra)
        inliers = inliers & (chances >= LEAST_PROBABILITY)
    agree = residuals(lead.matrix, found.points[:, :2], found.points[:, 2:]) <= threshold
    kept = best.residuals[best.inliers]
    evidence = Evidence(
        matches=int(agree.sum()),
        match_share=float(agree.mean()) if len(agree) else 0.0,
        places=int(best.inliers.sum()),
        support=best.support,
        coverage=best.coverage,
        score=float(np.median(best.scores[best.inliers])) if best.inliers.any() else 0.0,
        roundtrip=roundtrip(*images, best, (found.a.mask, found.b.mask)),
        spread=float(np.sqrt(np.mean(kept**2))) if len(kept) else math.inf,
    )
    trust, reasons = confidence(evidence), doubts(evidence, least)
    if not reasons and inliers.sum() < FEWEST:
        reasons = (f"the relater takes {int(inliers.sum())} of the places for matches",)
    if reasons:
        return _refused(found, lead.points, lead.scores, reasons, trust, evidence, lead.model)
    return Registration(
        lead.matrix, found, lead.points, lead.scores, inliers, lead.residuals[inliers], True, (), trust, evidence,
        lead.model, None if chances is None else chances[inliers],
    )  # fmt: skip


class _Lead(NamedTuple):
    """The correspondences that a registration rests on, and their transform."""

    matrix: NDArray[np.float64]
    model: Model
    points: NDArray[np.float64]
    scores: NDArray[np.floating]
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]


def _refused(
    found: MatchResult,
    points: NDArray[np.float64],
    scores: NDArray[np.floating],
    reasons: tuple[str, ...],
    trust: float,
    evidence: Evidence,
    model: Choice,
) -> Registration:
    none = np.zeros(len(points), dtype=bool)
    return Registration(None, found, points, scores, none, np.empty(0), False, reasons, trust, evidence, model)
