"""The protocol of brown_phototour_revisited: is a patch nearer to its match than to all others of its image?

Source: Mishkin, brown_phototour_revisited (2020), whose released code differs from what its text describes; see
`evaluate_revisited`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.evaluation.distances import constant_error, is_constant, nearest_neighbours, pair_distances
from tiepoint.evaluation.metrics import average_precision
from tiepoint.evaluation.options import Resize
from tiepoint.evaluation.phototour.fpr95 import resizing
from tiepoint.evaluation.verification import Describe, describe_rows, shifted
from tiepoint.patches import PatchSet
from tiepoint.types import Progress, Rows

RELEASED_MIN_PATCHES, RELEASED_BLOCK = 1000, 128


@dataclass(frozen=True)
class RevisitedScore:
    """One describer on one set; mean over images of the average precision, in 0..1."""

    images: int  # that count
    pairs: int  # (anchor, positive), ordered, over all images
    mean_ap: float  # with every anchor's nearest negative
    mean_ap_released: float  # with the negatives that the released code takes

    def numbers(self) -> dict[str, Any]:
        """All fields as a dict."""
        return asdict(self)

    def figures(self) -> dict[str, float]:
        """One figure a name: mean_ap and mean_ap_released."""
        return {"mean_ap": self.mean_ap, "mean_ap_released": self.mean_ap_released}


def evaluate_revisited(
    patch_set: PatchSet,
    describers: Mapping[str, Describe],
    *,
    resize: Resize = "antialias",
    progress: Progress | None = None,
) -> dict[str, RevisitedScore]:
    """Measure describers image by image. An image is the patches with its id, in the set's order.

    In PhotoTour patches of one 3-D point share an image id (interest.txt), so that an image holds matches, too. Every
    ordered pair of distinct patches of one point in an image is an anchor and its positive, at L2 distance p. The
    negative is the patch of another point in the image nearest to the anchor, at n. A pair is correct if p <= n; its
    score is 1 - min(p, n) / max(p, n), and 0 where both are 0. The average precision of the scores (scikit-learn's,
    ties merged; 0 where no pair is correct) is averaged over images. An image without a pair or without another point
    does not count.

    As released, the code looks for negatives only in images of more than 1000 patches, and there only for the first
    floor(N / 128) * 128; for all other anchors the image's first patch serves, whichever point it shows.
    `mean_ap_released` does as it does, so that published figures can be compared; `mean_ap` mends it.

    Since p = n is correct, one descriptor for all patches of an image has an average precision of 1. A describer that
    gives that in every image is refused.

    Arguments are as those of `evaluate_phototour`. Raises InputError where the images are not known, none counts, or a
    describer returns NaN, infinity or one descriptor for all patches.
    """
    if str((patch_set.manifest.get("provenance") or {}).get("images")).startswith("not known"):
        raise InputError(f"{patch_set.directory}: was built without interest.txt, so its images are not known")
    points, ids = np.asarray(patch_set.points), np.asarray(patch_set.images)
    order = np.argsort(ids, kind="stable")
    images = np.split(order, np.flatnonzero(np.diff(ids[order])) + 1)
    images = [rows for rows in images if 1 < len(np.unique(points[rows])) < len(rows)]  # hold a pair and a negative
    if not images:
        fault = "no image holds two patches of one point and another point"
        raise InputError(f"{patch_set.directory}: {fault}: give a set of `tiepoint data phototour`")
    ends = np.cumsum([len(rows) for rows in images])
    results = {}
    for number, (name, describe) in enumerate(describers.items()):
        describe = resizing(describe, resize)
        precisions, pairs, constant = [], 0, True
        for rows, end in zip(images, ends.tolist(), strict=True):
            step = shifted(progress, number * int(ends[-1]) + end - len(rows), len(describers) * int(ends[-1]))
            vectors = describe_rows(patch_set, rows, name, describe, step)
            constant = constant and is_constant(vectors)
            anchors, positives = matching_pairs(points[rows])
            precisions.append(image_precisions(vectors, points[rows], anchors, positives))
            pairs += len(anchors)
        if constant:
            raise constant_error(name)
        mean, released = np.mean(precisions, axis=0)
        results[name] = RevisitedScore(len(images), pairs, float(mean), float(released))
    return results


def image_precisions(vectors: NDArray[np.float32], points: Rows, anchors: Rows, positives: Rows) -> tuple[float, float]:
    """Average precision of an image's pairs: with the nearest negatives, and as the released code takes them.

    `vectors` (N, D) are the descriptors of the image's patches, of `points` (N,); `anchors` and `positives` (M,) are
    rows of them, as `matching_pairs` gives them.
    """
    negatives = nearest_neighbours(vectors, vectors, apart=(points, points))[0]
    taken = np.zeros_like(negatives)
    if len(points) > RELEASED_MIN_PATCHES:
        searched = len(points) // RELEASED_BLOCK * RELEASED_BLOCK
        taken[:searched] = negatives[:searched]
    positive = pair_distances(vectors, anchors, vectors, positives)
    negative, released = (pair_distances(vectors, anchors, vectors, rows[anchors]) for rows in (negatives, taken))
    return _precision(positive, negative), _precision(positive, released)


def matching_pairs(points: Rows) -> tuple[Rows, Rows]:
    """All ordered pairs (M,), (M,) of distinct rows of `points` (N,) with one id."""
    order = np.argsort(points, kind="stable")
    _, starts, sizes = np.unique(points[order], return_index=True, return_counts=True)
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    anchors = np.repeat(np.arange(len(points)), size - 1)
    # The partners of an anchor are numbered from its group's start on; from the anchor's own place on, one further.
    partner = start[anchors] + np.arange(len(anchors)) - np.repeat(np.cumsum(size - 1) - (size - 1), size - 1)
    partner += partner >= anchors
    return order[anchors], order[partner]


def _precision(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    correct = positive <= negative
    if correct.all() or not correct.any():
        return float(correct.all())
    larger = np.maximum(positive, negative)
    ratio = np.divide(np.minimum(positive, negative), larger, out=np.ones_like(larger), where=larger > 0)
    return average_precision(correct, 1 - ratio)
