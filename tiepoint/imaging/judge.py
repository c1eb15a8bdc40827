"""The verdict over a transform: by the number of keypoint matches, or by what the images' structure confirms."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.imaging.align import Alignment, roundtrip
from tiepoint.imaging.ambiguity import LEFT, ambiguities
from tiepoint.imaging.geometry import FEWEST, Estimate, Model, residuals
from tiepoint.imaging.match import MatchResult
from tiepoint.imaging.registration import Choice, Registration, refused
from tiepoint.imaging.relate import relate_places
from tiepoint.imaging.verdict import NOTHING, Evidence, confidence, doubts
from tiepoint.relater import LearnedRelater

LEAST_PROBABILITY = 0.5


class _Lead(NamedTuple):
    """The correspondences that a registration rests on, and their transform."""

    matrix: NDArray[np.float64]
    model: Model
    points: NDArray[np.float64]
    scores: NDArray[np.floating]
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]


def by_matches(
    found: MatchResult,
    fit: Estimate,
    model: Choice,
    min_inliers: int,
    chances: NDArray[np.float64] | None = None,
) -> Registration:
    """Judge by the number of keypoint matches that agree; `chances` (M,) are the probabilities of all, if known."""
    points, scores = found.points, found.matches.similarity
    count = int(fit.inliers.sum())
    trust = count / (count + min_inliers)
    reasons = [fit.reason] if fit.reason else []
    if fit.matrix is not None and count < min_inliers:
        reasons.append(f"{count} inliers, fewer than {min_inliers}")
    evidence = replace(NOTHING, matches=count, match_share=count / max(len(points), 1))
    if reasons or fit.matrix is None:
        return refused(found, points, scores, tuple(reasons), trust, evidence, model)
    return Registration(
        fit.matrix, found, points, scores, fit.inliers, fit.residuals[fit.inliers], True, (), trust, evidence, model,
        None if chances is None else chances[fit.inliers],
    )  # fmt: skip


def by_structure(
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
        return refused(found, found.points, found.matches.similarity, reasons, 0.0, NOTHING, model)
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
    agreeing, masks = best.points[best.inliers, 2:], (found.a.mask, found.b.mask)
    unsure = () if reasons else ambiguities(*images, agreeing, evidence.score, evidence.matches, masks)
    if unsure:
        trust = min(trust, LEFT)
        reasons = (f"confidence {trust:.2f}, less than {least:.2f}", *unsure) if trust < least else ()
    if not reasons and inliers.sum() < FEWEST:
        reasons = (f"the relater takes {int(inliers.sum())} of the places for matches",)
    if reasons:
        return refused(found, lead.points, lead.scores, reasons, trust, evidence, lead.model)
    return Registration(
        lead.matrix, found, lead.points, lead.scores, inliers, lead.residuals[inliers], True, (), trust, evidence,
        lead.model, None if chances is None else chances[inliers],
    )  # fmt: skip
