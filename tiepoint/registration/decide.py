"""The verdict over a transform: by the number of keypoint matches, or by what the images' structure confirms."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.dense.evidence import Agreement, DenseEvidence, collect_evidence
from tiepoint.geometry.robust import Estimate, residuals
from tiepoint.images.downsampled import lay_over
from tiepoint.matching.relate import relate_places
from tiepoint.options import MIN_CORRESPONDENCES, ModelChoice
from tiepoint.registration.proposals import Proposal
from tiepoint.registration.result import Registration
from tiepoint.registration.task import Fit, Task
from tiepoint.registration.verdict import NOTHING, Evidence, confidence, doubts, gathered
from tiepoint.structure.align import Alignment, independent_windows, roundtrip_error
from tiepoint.structure.ambiguity import AMBIGUOUS_CAP, MIN_CONFIRMING_MATCHES, find_ambiguities
from tiepoint.types import Matrix, Points

WINDOWS_PER_MATCH = 4  # that agree, since neighbours on the grid show much of the same
# Windows that recognise each other: of training pairs right ones have 25 or more, those of other places 22 at most.
MIN_KNOWN = 24
Relate = Callable[[Matrix, Points], NDArray[np.float64]]  # transform, points (N, 2) of b -> match probabilities (N,)


class Decision(NamedTuple):
    """The correspondences that a registration rests on, their transform, and the verdict over it.

    `matrix` is None where there is none. `inliers`, `residuals` (pixels of b) and, where a relater made the
    correspondences, their match `probabilities` are (M,), of all correspondences.
    """

    matrix: Matrix | None
    model: ModelChoice
    points: Points
    scores: NDArray[np.floating]
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]
    confidence: float = 0.0
    evidence: Evidence = NOTHING
    reasons: tuple[str, ...] = ()
    probabilities: NDArray[np.float64] | None = None
    agreement: Agreement | None = None


def from_matches(task: Task, fit: Estimate, model: ModelChoice, probabilities: NDArray[np.float64] | None) -> Decision:
    """Judge by the number of keypoint matches that agree; `probabilities` (M,) are those of all, where known."""
    points, needed = task.matches.points, task.options.verdict.min_inliers
    if task.describer is not None:
        needed *= WINDOWS_PER_MATCH
    count = int(fit.inliers.sum())
    reasons = [fit.reason] if fit.reason else []
    if fit.matrix is not None and count < needed:
        reasons.append(f"{count} inliers, fewer than {needed}")
    evidence = replace(NOTHING, matches=count, match_share=count / max(len(points), 1))
    return Decision(
        fit.matrix, model, points, task.matches.rows.similarity, fit.inliers, fit.residuals,
        count / (count + needed), evidence, tuple(reasons), probabilities,
    )  # fmt: skip


def from_structure(
    task: Task, keypoints: Fit, alignments: Sequence[Alignment], proposals: Sequence[Proposal]
) -> Decision:
    """Judge by the structure, and where windows were matched, by these too.

    Of several alignments, the first is the one that more of the structure confirms; where windows were matched, the one
    with the highest confidence is taken. The correspondences are the points whose structure was compared, or the
    keypoint matches where more of these agree.
    """
    fit, model = keypoints
    if not alignments:
        points, similarity = task.matches.points, task.matches.rows.similarity
        reasons = (*((fit.reason,) if fit.reason else ()), "no transform fits the structure of the images")
        return Decision(None, model, points, similarity, fit.inliers, fit.residuals, reasons=reasons)
    if task.describer is None:
        decision, agreeing = weigh(task, keypoints, alignments[0])
    else:
        weighed = (weigh(task, keypoints, alignment) for alignment in alignments)
        decision, agreeing = max(weighed, key=lambda one: one[0].confidence)
    if decision.reasons or decision.confidence <= AMBIGUOUS_CAP:
        return decision
    return doubt(task, decision, agreeing, proposals)


def weigh(task: Task, keypoints: Fit, best: Alignment) -> tuple[Decision, Points]:
    """What speaks for an alignment, and the points (N, 2) of b where the structure agrees with it."""
    assert task.pixels is not None
    fit, model = keypoints
    points, similarity = task.matches.points, task.matches.rows.similarity
    lead = Decision(best.matrix, best.model, best.points, best.scores, best.inliers, best.residuals)
    if task.describer is None and fit.matrix is not None and fit.inliers.sum() > best.inliers.sum():
        # Windows of a grid are less accurate than the points whose structure was compared.
        lead = Decision(fit.matrix, model, points, similarity, fit.inliers, fit.residuals)
    assert lead.matrix is not None
    agreeing = best.points[best.inliers, 2:]
    evidence = gathered(
        residuals(lead.matrix, points[:, :2], points[:, 2:]) <= task.max_match_residual,
        best.inliers, best.residuals, best.scores, windows=independent_windows(agreeing, task.pixels[1].shape),
        support=best.agreement, coverage=best.coverage, roundtrip=roundtrip_error(*task.pixels, best, task.masks),
    )  # fmt: skip
    if task.describer is not None:
        said = ask_windows(task, lead.matrix)
        evidence = replace(evidence, asked=said.asked, recognised=said.recognised, margin=said.margin)
        lead = lead._replace(agreement=said.agreement)
    return judge(lead, evidence, task.options.verdict.min_confidence), agreeing


def doubt(task: Task, decision: Decision, agreeing: Points, proposals: Sequence[Proposal]) -> Decision:
    """The decision, with little confidence where what confirms it confirms another transform as well."""
    assert task.pixels is not None
    assert decision.matrix is not None
    evidence, least = decision.evidence, task.options.verdict.min_confidence
    a, mask, confirmed, dense = task.pixels[0], task.masks[0], evidence.matches, evidence.asked is not None
    if dense:
        confirmed = MIN_CONFIRMING_MATCHES if evidence.known >= MIN_KNOWN else 0
        if not confirmed:
            a, mask = lay_over(a.astype(np.float32), decision.matrix, task.pixels[1].shape, mask)
    score = next((proposal.score for proposal in proposals if proposal.score is not None), None)
    masks = mask, task.masks[1]
    unsure = find_ambiguities(a, task.pixels[1], agreeing, evidence.score, confirmed, masks, score, chance=not dense)
    if not unsure:
        return decision
    capped = min(decision.confidence, AMBIGUOUS_CAP)
    reasons = (f"confidence {capped:.2f}, less than {least:.2f}", *unsure) if capped < least else ()
    return decision._replace(confidence=capped, reasons=reasons)


def ask_windows(task: Task, matrix: Matrix) -> DenseEvidence:
    """What the windows of both images say about a transform."""
    assert task.describer is not None
    assert task.a.raster is not None
    assert task.b.raster is not None
    return collect_evidence(task.a.raster, task.b.raster, matrix, task.describer, task.grid)


def judge(lead: Decision, evidence: Evidence, least: float) -> Decision:
    """The correspondences with the confidence that the evidence amounts to, and the reasons if it is under `least`."""
    return lead._replace(confidence=confidence(evidence), evidence=evidence, reasons=doubts(evidence, least))


def select_tie_points(task: Task, decision: Decision, relate: Relate | None = None) -> Registration:
    """The registration that a decision gives: accepted with its tie points, or refused with its reasons.

    `relate` gives points of b their match probabilities; inliers below `min_probability` are then no tie points.
    """
    inliers, reasons, probabilities = decision.inliers, decision.reasons, decision.probabilities
    if probabilities is not None:
        probabilities = probabilities[inliers]
    if relate is not None and decision.matrix is not None and not reasons:
        found = relate(decision.matrix, decision.points[inliers, 2:])
        inliers, probabilities = keep_probable(inliers, found, task.options.matching.min_probability)
        if (count := int(inliers.sum())) < MIN_CORRESPONDENCES:
            few = f"the relater takes {count} of the tie points for matches; {MIN_CORRESPONDENCES} would be needed"
            reasons = (few,)
    accepted = decision.matrix is not None and not reasons
    if not accepted:
        inliers, probabilities = np.zeros_like(inliers), None
    return Registration(
        matrix=decision.matrix if accepted else None,
        a=task.a.info,
        b=task.b.info,
        describer=task.matches.a.describer,
        matches=task.matches.points,
        points=decision.points,
        scores=decision.scores,
        inliers=inliers,
        residuals=decision.residuals[inliers],
        accepted=accepted,
        reasons=reasons,
        confidence=decision.confidence,
        evidence=decision.evidence,
        model=decision.model,
        options=task.options,
        probabilities=probabilities,
        agreement=decision.agreement,
    )


def relate_in(task: Task) -> Relate | None:
    """What asks the task's relater about points of b, see `relate_places`; None without one, or without the images."""
    relater, pixels, spectra = task.relater, task.pixels, task.options.matching.spectra
    if relater is None or pixels is None:
        return None
    return lambda matrix, points: relate_places(*pixels, matrix, points, relater, spectra)


def keep_probable(
    inliers: NDArray[np.bool_], probabilities: NDArray[np.float64], least: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Of inliers (M,) with match probabilities (T,) those of at least `least` (M,), and their probabilities."""
    probable = probabilities >= least
    kept = inliers.copy()
    kept[inliers] = probable
    return kept, probabilities[probable]
