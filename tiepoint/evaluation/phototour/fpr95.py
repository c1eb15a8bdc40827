"""FPR95 on the PhotoTour sets' official pair lists, under each rule in use, and FDR95 in a field of its own.

A pair matches if its two patches show one 3-D point. Descriptors are compared by L2 distance. Sources: Brown, Hua and
Winder (PAMI 2011) for the data and the measure; the rules are those of `tiepoint.evaluation.fpr95`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.data.readers.phototour import read_pairs
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import constant_error, is_constant, pair_distances
from tiepoint.evaluation.metrics import Rule, fdr95, fpr95
from tiepoint.evaluation.options import Resize
from tiepoint.evaluation.verification import Describe, describe_each
from tiepoint.patches import PatchSet
from tiepoint.types import Progress

RESIZES: tuple[Resize, ...] = get_args(Resize)
PUBLISHED: tuple[Rule, ...] = ("hardnet", "hynet", "interpolate")


@dataclass(frozen=True)
class PhotoTourScore:
    """One describer on one pair list; rates in 0..1."""

    pairs: int
    matches: int
    fpr95: dict[str, float]  # rule -> FPR; see tiepoint.evaluation.fpr95
    fdr95: float  # false discovery rate, as MatchNet's and TFeat's papers print it: no FPR, never compare the two

    def numbers(self) -> dict[str, Any]:
        """All fields as a dict."""
        return asdict(self)

    def figures(self) -> dict[str, float]:
        """One figure a name: fpr95_hardnet, fpr95_hynet, fpr95_interpolate and fdr95."""
        return {**{f"fpr95_{rule}": rate for rule, rate in self.fpr95.items()}, "fdr95": self.fdr95}


def evaluate_phototour(
    patch_set: PatchSet,
    describers: Mapping[str, Describe],
    *,
    pairs: NDArray[np.int64] | None = None,
    resize: Resize = "antialias",
    progress: Progress | None = None,
) -> dict[str, PhotoTourScore]:
    """Measure describers on the pairs of a test set. Every patch in a pair is described once.

    `patch_set` is a PhotoTour set, as `tiepoint data phototour` writes it, and `pairs` (M, 2) are rows of it; its
    official list m50_100000_100000_0 if None. `resize` "antialias" leaves it to the describers, which filter as
    SDGMNet's release does; "cv2" reduces patches to a describer's `input_size` by OpenCV's bilinear interpolation, as
    the releases of HardNet and HyNet do. `progress` is called with (patches described, patches in all), over all
    describers.

    Raises InputError for no pair list, one that does not fit the set or holds one class alone, or a describer that
    returns NaN, infinity or one descriptor for all patches.
    """
    if pairs is None:
        pairs = official_pairs(patch_set)
    labels = pair_labels(patch_set, pairs)
    rows, positions = np.unique(pairs, return_inverse=True)
    first, second = positions.reshape(-1, 2).T
    results = {}
    resized = {name: resizing(describe, resize) for name, describe in describers.items()}
    for name, vectors in describe_each(patch_set, rows, resized, progress):
        if is_constant(vectors):
            raise constant_error(name)
        scores = -pair_distances(vectors, first, vectors, second)
        rates: dict[str, float] = {rule: fpr95(labels, scores, rule) for rule in PUBLISHED}
        results[name] = PhotoTourScore(len(labels), int(labels.sum()), rates, fdr95(labels, scores))
    return results


def official_pairs(patch_set: PatchSet) -> NDArray[np.int64]:
    """The set's list m50_100000_100000_0 (M, 2). Raises InputError that names the verb which writes it."""
    try:
        return read_pairs(patch_set.directory)
    except InputError as error:
        raise InputError(f"{error}; `tiepoint data phototour` builds a set with its lists of pairs") from None


def pair_labels(patch_set: PatchSet, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each pair of rows (M, 2) shows one point (M,). Raises InputError for a list that cannot be measured."""
    name = f"{patch_set.directory}: its pair list"
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or not len(pairs):
        raise InputError(f"{name} is {pairs.shape} {pairs.dtype}: give (M, 2) patch rows, at least one pair")
    wrong = pairs[(pairs < 0) | (pairs >= len(patch_set))]
    if len(wrong):
        raise InputError(f"{name} names patch {wrong[0]}, the set holds {len(patch_set)}: build set and list together")
    points = np.asarray(patch_set.points)
    labels: NDArray[np.bool_] = points[pairs[:, 0]] == points[pairs[:, 1]]
    if labels.all() or not labels.any():
        raise InputError(f"{name} holds {'matches' if labels.any() else 'non-matches'} alone: give pairs of both kinds")
    return labels


def resizing(describe: Describe, resize: Resize) -> Describe:
    """`describe` with patches reduced as `resize` says; one without an `input_size`, such as SIFT, sees them whole.

    Raises InputError for an unknown `resize`.
    """
    if resize not in RESIZES:
        raise InputError(f"resize {resize!r}: there are {', '.join(RESIZES)}")
    size = getattr(describe, "input_size", None)
    if resize == "antialias" or size is None:
        return describe

    def resized(patches: Tensor) -> Tensor:
        # The releases resize 8-bit patches, so the result is rounded to 8 bits, too.
        stored = (patches[:, 0] * 255).round().to(torch.uint8).numpy()
        small = [cv2.resize(patch, (size, size), interpolation=cv2.INTER_LINEAR) for patch in stored]
        return describe(torch.from_numpy(np.stack(small))[:, None].float() / 255)

    return resized
