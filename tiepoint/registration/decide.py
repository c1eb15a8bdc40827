"""The verdict over a transform: by the number of keypoint matches, or by what the images' structure confirms."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.geometry.robust import MIN_MATCHES, Estimate, Model, residuals
from tiepoint.matching.match import MatchResult
from tiepoint.matching.relate import relate_places
from tiepoint.models.relater import LearnedRelater
from tiepoint.registration.result import Choice, Registration, refused
from tiepoint.registration.verdict import NOTHING, confidence, doubts, gathered
from tiepoint.structure.align import Alignment, independent_windows, roundtrip_error
from tiepoint.structure.ambiguity import AMBIGUOUS_CAP, find_ambiguities

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
    coarse: float | None = None,
) -> Registration:
    """Judge by the structure; the tie points are the places, or the keypoint matches where more of these agree.

    `coarse` is the best score of `tiepoint.structure.global_search.correlate` of both images, if that was computed.
    """
    assert found.a.image is not None
    assert found.b.image is not None
    images, masks = (found.a.image, found.b.image), (found.a.mask, found.b.mask)
    if best is None:
        reasons = (*((fit.reason,) if fit.reason else ()), "no transform fits the structure of the images")
        return refused(found, found.points, found.matches.similarity, reasons, 0.0, NOTHING, model)
    lead = _Lead(best.matrix, best.model, best.points, best.scores, best.inliers, best.residuals)
    if fit.matrix is not None and fit.inliers.sum() > best.inliers.sum():
        lead = _Lead(fit.matrix, model, found.points, found.matches.similarity, fit.inliers, fit.residuals)
    agree = residuals(lead.matrix, found.points[:, :2], found.points[:, 2:]) <= threshold
    agreeing = best.points[best.inliers, 2:]
    evidence = gathered(
        agree, best.inliers, best.residuals, best.scores, windows=independent_windows(agreeing, images[1].shape),
        support=best.agreement, coverage=best.coverage, roundtrip=roundtrip_error(*images, best, masks),
    )  # fmt: skip
    trust, reasons = confidence(evidence), doubts(evidence, least)
    unsure = () if reasons else find_ambiguities(*images, agreeing, evidence.score, evidence.matches, masks, coarse)
    if unsure:
        trust = min(trust, AMBIGUOUS_CAP)
        reasons = (f"confidence {trust:.2f}, less than {least:.2f}", *unsure) if trust < least else ()
    inliers, chances = lead.inliers, None
    if relater is not None and not reasons:
        inliers, chances = likely(
            inliers, relate_places(*images, lead.matrix, lead.points[inliers, 2:], relater, spectra)
        )
    reasons = reasons or too_few(inliers)
    if reasons:
        return refused(found, lead.points, lead.scores, reasons, trust, evidence, lead.model)
    return Registration(
        lead.matrix, found, lead.points, lead.scores, inliers, lead.residuals[inliers], True, (), trust, evidence,
        lead.model, chances,
    )  # fmt: skip


def likely(inliers: NDArray[np.bool_], chances: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Of inliers (N,) with match probabilities (T,) those that a relater takes for matches (N,), and theirs."""
    taken = chances >= LEAST_PROBABILITY
    kept = inliers.copy()
    kept[inliers] = taken
    return kept, chances[taken]


def too_few(inliers: NDArray[np.bool_]) -> tuple[str, ...]:
    """Why what a relater left is no registration, in words; empty where it is enough."""
    count = int(inliers.sum())
    return (f"the relater takes {count} of the places for matches",) if count < MIN_MATCHES else ()
