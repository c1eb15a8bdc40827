"""The matching task: is a patch's nearest neighbour in another image of its sequence the same patch?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from tiepoint.data.readers.hpatches import NOISES, TARGETS
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import nearest_neighbours
from tiepoint.evaluation.hpatches.descriptors import Descriptors, strip_index
from tiepoint.evaluation.hpatches.ranking import ap, negatives_before
from tiepoint.evaluation.options import ApRule, Averaging, Metric

AVERAGINGS: tuple[Averaging, ...] = get_args(Averaging)


@dataclass(frozen=True)
class MatchingScore:
    """The reference image of a sequence matched to another of its images, in 0..1."""

    sequence: str
    noise: str  # "e", "h", "t"
    image: int  # 1..5
    ap: float
    success: float  # share of patches with the right nearest neighbour


def match(descriptors: Descriptors, *, metric: Metric = "L2", rule: ApRule = "trapezoid") -> list[MatchingScore]:
    """Match the reference patches of each sequence to each of its 15 other strips.

    One direction, no ratio, no mutual check; of equally near patches the first counts. Matches are ranked by distance;
    a patch whose neighbour is wrong counts as a match never found, so recall ends at the success rate.

    Args:
        descriptors: of the test list's sequences.
        metric: of the descriptors.
        rule: of the average precision.
    """
    scores = []
    for sequence, strips in descriptors.items():
        truth = np.arange(strips.shape[1])
        for noise in NOISES:
            for image in TARGETS:
                neighbours, distances = nearest_neighbours(strips[0], strips[strip_index(noise, image)], metric)
                right = neighbours == truth
                precision = float(ap(negatives_before(right, distances), len(truth), rule))
                scores.append(MatchingScore(sequence, noise, image, precision, float(right.mean())))
    return scores


def summarize(scores: Sequence[MatchingScore], averaging: Averaging = "python") -> dict[str, dict[str, float]]:
    """For each noise the mean "ap" and "success" rate, and the mean AP of each type of sequence, "i" and "v".

    "python" takes "ap" over all pairs of images. "article", also the MATLAB code's way, takes the mean of "i" and "v",
    so that they weigh the same where their numbers of sequences differ; of a split with one type alone it is that
    type's. The task's mAP is the mean over the noises. Raises InputError for "article" where a name tells no type, and
    for an unknown averaging.
    """
    if averaging not in AVERAGINGS:
        raise InputError(f"averaging {averaging!r}: there are {', '.join(AVERAGINGS)}")
    table = {}
    for noise in NOISES:
        chosen = [score for score in scores if score.noise == noise]
        kinds = {kind: [s.ap for s in chosen if s.sequence.startswith(f"{kind}_")] for kind in ("i", "v")}
        by_type = {kind: float(np.mean(values)) for kind, values in kinds.items() if values}
        if averaging == "article" and sum(map(len, kinds.values())) < len(chosen):
            raise InputError("article averaging: every sequence must be named i_... or v_...")
        overall = [s.ap for s in chosen] if averaging == "python" else list(by_type.values())
        success = float(np.mean([s.success for s in chosen]))
        table[noise] = {"ap": float(np.mean(overall)), "success": success, **by_type}
    return table
