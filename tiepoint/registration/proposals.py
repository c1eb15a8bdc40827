"""Where first transforms come from: each source is one function of a task, that is of two views and their matches."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from tiepoint.dense.search import are_clear
from tiepoint.errors import InputError
from tiepoint.geometry.robust import corner_error
from tiepoint.matching.match import describe_views, match_views
from tiepoint.registration.task import Fit, Task
from tiepoint.structure.align import Alignment, align
from tiepoint.structure.global_search import correlate
from tiepoint.types import Matrix

KEYPOINT_DESCRIBER, MAX_KEYPOINTS = "sdgmnet", 1000


class Proposal(NamedTuple):
    """A first transform (3, 3; a -> b), good to about 3 % of the longer side, and where it comes from.

    `score` is the correlation of both images' structure under it, in -1..1, where the source computed it.
    """

    matrix: Matrix
    source: str
    score: float | None = None


def propose_from_matches(task: Task, keypoints: Fit) -> list[Proposal]:
    """The transform that the keypoint matches speak for, if there is one."""
    matrix = keypoints.estimate.matrix
    return [] if matrix is None else [Proposal(matrix, "matches")]


def propose_from_structure(task: Task, keypoints: Fit) -> list[Proposal]:
    """The similarity under which the structure of both images agrees best, unless `global_search` is off."""
    if not task.options.estimation.global_search or task.pixels is None or is_clear(task, keypoints):
        return []
    best = correlate(*task.pixels, masks=task.masks)[0]
    return [Proposal(best.matrix, "structure", best.score)]


def propose_from_keypoints(task: Task, keypoints: Fit) -> list[Proposal]:
    """The transform that SIFT keypoints speak for, where windows were matched and are not clear."""
    if task.describer is None or is_clear(task, keypoints):
        return []
    options, detection = task.options, task.options.detection
    most = min(detection.max_keypoints, MAX_KEYPOINTS)
    detection = replace(detection, detector="sift", max_keypoints=most)
    first, second = replace(task.a, features=None), replace(task.b, features=None)
    try:
        first, second, _ = describe_views(first, second, KEYPOINT_DESCRIBER, detection, options.matching)
    except InputError:  # too little texture for keypoints, which is no fault here
        return []
    found = replace(task, matches=match_views(first, second, options.matching, None))
    matrix = found.fit_matches(None).estimate.matrix
    return [] if matrix is None else [Proposal(matrix, "keypoints")]


def is_clear(task: Task, fit: Fit) -> bool:
    """Whether windows were matched, and agree so well that nothing else needs to be tried."""
    return task.describer is not None and are_clear(int(fit.estimate.inliers.sum()), len(task.matches))


SOURCES: tuple[Callable[[Task, Fit], list[Proposal]], ...] = (
    propose_from_matches,
    propose_from_structure,
    propose_from_keypoints,
)


def collect_proposals(task: Task, keypoints: Fit) -> list[Proposal]:
    """The proposals of all sources, in their order."""
    return [proposal for source in SOURCES for proposal in source(task, keypoints)]


def align_all(task: Task, proposals: Sequence[Proposal]) -> list[Alignment]:
    """The proposals refined by the structure, those that more of the overlap confirms first, each transform once."""
    assert task.pixels is not None
    estimation, size = task.options.estimation, task.a.size
    aligned = [
        align(
            *task.pixels, proposal.matrix, models=task.models, threshold=estimation.max_residual, seed=estimation.seed,
            masks=task.masks,
        )
        for proposal in proposals
    ]  # fmt: skip
    sound = [alignment for alignment in aligned if alignment is not None]
    kept: list[Alignment] = []
    for one in sorted(sound, key=lambda alignment: -alignment.inliers.sum() * alignment.agreement):
        if all(corner_error(one.matrix, other.matrix, *size) > estimation.max_residual for other in kept):
            kept.append(one)
    return kept
