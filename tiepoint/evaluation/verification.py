"""Patch verification on a PatchSet: seeded, balanced pairs; can a describer tell matches from non-matches?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.data.crop import central_crop
from tiepoint.errors import InputError
from tiepoint.evaluation import metrics
from tiepoint.evaluation.distances import similarity_rows
from tiepoint.patches import PatchSet
from tiepoint.types import Progress, Rows

Describe = Callable[[Tensor], Tensor]  # patches (N, 1, S, S), float in 0..1, S mostly 64 -> descriptors (N, D)
BATCH = 1024


@dataclass(frozen=True)
class Pairs:
    """Rows of a PatchSet in pairs. `negatives[kind]` (count,) goes with `first`; -1 where there is none of the kind."""

    first: Rows  # (count,)
    second: Rows  # (count,) another patch of the same point
    negatives: dict[str, Rows]


@dataclass(frozen=True)
class Verification:
    """How a describer tells matches from as many non-matches; rates in 0..1."""

    pairs: int  # matches; as many non-matches
    fpr95: float
    average_precision: float
    roc_auc: float
    labels: NDArray[np.bool_] = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)  # see tiepoint.evaluation.distances

    def numbers(self) -> dict[str, float]:
        """The figures without the arrays."""
        return {n: getattr(self, n) for n in ("pairs", "fpr95", "average_precision", "roc_auc")}


def draw_pairs(patch_set: PatchSet, count: int, seed: int = 0) -> Pairs:
    """Draw `count` matches and, for each, a non-match of each kind.

    Matches: a point drawn uniformly among those of two patches or more, each once before any again; two distinct
    patches of it. "random": the first patch with any patch of another point. "same-image": the first patch with a patch
    of another point in the image of the second patch, the confusion that matching two images has to avoid.

    Raises InputError where no point occurs twice, for only one point, or a count below 1.
    """
    if count < 1:
        raise InputError(f"count is {count}, must be at least 1")
    points, images = np.asarray(patch_set.points), np.asarray(patch_set.images)
    rng = np.random.default_rng(seed)
    by_point = np.argsort(points, kind="stable")
    _, starts, sizes = np.unique(points[by_point], return_index=True, return_counts=True)
    several = np.flatnonzero(sizes >= 2)
    if not len(several):
        raise InputError(f"{patch_set.directory}: no point occurs twice, so nothing matches: give a set with tracks")
    if len(sizes) < 2:
        raise InputError(f"{patch_set.directory}: only one point, so there are no non-matches")
    rounds = [rng.permutation(several) for _ in range(-(-count // len(several)))]
    chosen = np.concatenate(rounds)[:count]
    start, size = starts[chosen], sizes[chosen]
    one = rng.integers(size)
    other = (one + 1 + rng.integers(size - 1)) % size
    first, second = by_point[start + one], by_point[start + other]
    random = by_point[_outside(rng, np.zeros_like(start), np.full_like(start, len(points)), start, size)]
    return Pairs(first, second, {"random": random, "same-image": _same_image(rng, points, images, second)})


def evaluate_pairs(
    patch_set: PatchSet,
    describers: Mapping[str, Describe],
    *,
    count: int = 10_000,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, dict[str, Verification]]:
    """Measure describers on the same pairs of a set of one channel.

    Every patch in a pair is described once, after the central crop that undoes the set's margin. Descriptors are
    compared by L2 distance. `count` is the number of matches, and of non-matches of each kind. `progress` is called
    with (patches described, patches in all), over all describers.

    Returns describer -> "random", "same-image" -> Verification. Where no second patch shares its image with another
    point, "same-image" is left out; matches without such a non-match do not count there. Raises InputError as
    `draw_pairs`, or for a describer that refuses the patches or returns NaN.
    """
    pairs = draw_pairs(patch_set, count, seed)
    rows = np.unique(np.concatenate([pairs.first, pairs.second, *pairs.negatives.values()]))
    rows = rows[rows >= 0]
    described = describe_each(patch_set, rows, describers, progress)
    return {name: _verify(vectors, rows, pairs) for name, vectors in described}


def describe_each(
    patch_set: PatchSet, rows: Rows, describers: Mapping[str, Describe], progress: Progress | None
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and descriptors of the patches `rows` of one describer after the other, see `describe_rows`."""
    for number, (name, describe) in enumerate(describers.items()):
        step = shifted(progress, number * len(rows), len(describers) * len(rows))
        yield name, describe_rows(patch_set, rows, name, describe, step)


def describe_rows(
    patch_set: PatchSet, rows: Rows, name: str, describe: Describe, step: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Descriptors (N, D) of the patches `rows` (N,), after the central crop that undoes the set's margin.

    Patches are read and described BATCH at a time; after each, `step` is called with how many are done. Raises
    InputError that names the describer if it returns NaN or infinity.
    """
    vectors = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        patches = as_float(np.asarray(patch_set.patches[batch]))
        vectors.append(unit_vectors(name, describe, central_crop(patches, patch_set.margin)))
        if step:
            step(start + len(batch))
    return np.concatenate(vectors)


def shifted(progress: Progress | None, before: int, total: int) -> Callable[[int], None] | None:
    """`progress` as a part of the work sees it that counts from 0 and begins when `before` of `total` are done."""
    return (lambda done: progress(before + done, total)) if progress else None


def as_float(patches: NDArray[np.uint8] | NDArray[np.uint16]) -> Tensor:
    """Stored patches as float32 in 0..1."""
    return torch.from_numpy(patches.astype(np.float32) / np.float32(np.iinfo(patches.dtype).max))


@torch.inference_mode()
def unit_vectors(name: str, describe: Describe, patches: Tensor) -> NDArray[np.float32]:
    """Descriptors (N, D) of `patches` (N, C, S, S).

    Raises InputError that names the describer if they are of another shape or hold NaN or infinity.
    """
    vectors = describe(patches).cpu().float()
    if vectors.ndim != 2 or len(vectors) != len(patches):
        shape = tuple(vectors.shape)
        raise InputError(f"{name}: gives {shape} for {len(patches)} patches: must give ({len(patches)}, dimension)")
    if not bool(torch.isfinite(vectors).all()):
        raise InputError(f"{name}: its descriptors hold NaN or infinity: the weights are broken")
    return np.asarray(vectors.numpy())


def _verify(vectors: NDArray[np.float32], rows: Rows, pairs: Pairs) -> dict[str, Verification]:
    results = {}
    for kind, negatives in pairs.negatives.items():
        kept = negatives >= 0
        if not kept.any():
            continue
        first = np.tile(np.searchsorted(rows, pairs.first[kept]), 2)
        second = np.searchsorted(rows, np.concatenate([pairs.second[kept], negatives[kept]]))
        scores = similarity_rows(vectors[first], vectors[second])
        labels = np.repeat([True, False], len(first) // 2)
        results[kind] = Verification(
            len(first) // 2, metrics.fpr95(labels, scores), metrics.average_precision(labels, scores),
            metrics.roc_auc(labels, scores), labels, scores,
        )  # fmt: skip
    return results


def _outside(rng: np.random.Generator, start: Rows, size: Rows, hole: Rows, width: Rows) -> Rows:
    """Uniform draws from the ranges [start, start + size) without [hole, hole + width); -1 where nothing is left."""
    free = size - width
    drawn = start + rng.integers(np.maximum(free, 1))
    return np.where(free > 0, drawn + np.where(drawn >= hole, width, 0), -1)


def _same_image(rng: np.random.Generator, points: Rows, images: NDArray[np.int32], second: Rows) -> Rows:
    """For each patch of `second` another point's patch in its image, or -1."""
    order = np.lexsort((points, images))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    image, point = images[order], points[order]
    begins = np.append(True, image[1:] != image[:-1])
    image_start, image_size = _runs(begins)
    hole, width = _runs(begins | np.append(True, point[1:] != point[:-1]))
    at = rank[second]
    drawn = _outside(rng, image_start[at], image_size[at], hole[at], width[at])
    return np.where(drawn >= 0, order[drawn], -1)


def _runs(begins: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """For each element the start and the length of its run, from the marks where runs begin."""
    starts = np.flatnonzero(begins)
    lengths = np.diff(np.append(starts, len(begins)))
    return np.repeat(starts, lengths), np.repeat(lengths, lengths)
