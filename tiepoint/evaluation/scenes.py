"""The scene protocol: the widest pair of each track, with errors put on the second keypoint's frame.

A track of a structure-from-motion model was found by a descriptor, mostly SIFT, so plain pairs flatter SIFT and hide
what a describer is worth. Noise on the frame, drawn before the patch is sampled, restores that difficulty.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.data.noise import LEVELS, draw
from tiepoint.data.readers.colmap import ColmapProject, read_project
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import similarity_matrix
from tiepoint.evaluation.metrics import error_at_95, fpr_at, matrix_scores, top1
from tiepoint.evaluation.verification import Describe, as_float, unit_vectors
from tiepoint.features.extract import extract
from tiepoint.features.frames import perturb
from tiepoint.types import Progress

MAX_BLOCK_ENTRIES = 4_000_000  # entries of a block of angle matrices: bounds memory
SUPPORT = 12.0
RECALLS = np.arange(1, 101) / 100


@dataclass(frozen=True)
class WidePairs:
    """Pairs of observations, one for each point. Observations are numbered as `ColmapImage.points` lists them."""

    points: NDArray[np.int64]  # (P,) 3-D point ids, rising
    images: NDArray[np.int64]  # (P, 2) indices into the project's images, first < second
    observations: NDArray[np.int64]  # (P, 2) rows of those images' observations


def widest_pairs(project: ColmapProject, count: int, seed: int = 0) -> WidePairs:
    """Draw `count` points of at least two different images (all, if fewer) and take each one's widest pair.

    The angle is measured at the point, between the camera centres; the two observations are always of different images.
    Of equal angles the pair of the first images counts. Raises InputError if no point is seen in two images, or
    points3D.bin lacks a point.
    """
    images = project.images
    image = np.repeat(np.arange(len(images)), [len(i.points) for i in images])
    row = _join([np.arange(len(i.points)) for i in images])
    point = _join([i.points for i in images])
    order = np.argsort(point, kind="stable")  # within a point the images rise
    image, row = image[order], row[order]
    ids, starts, lengths = np.unique(point[order], return_index=True, return_counts=True)
    (eligible,) = np.nonzero(image[starts] != image[starts + lengths - 1])
    if not len(eligible):
        raise InputError(f"{project.directory}: no point is seen in two images: the scene protocol needs tracks")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(eligible, size=min(count, len(eligible)), replace=False))
    where = _positions(project, ids[chosen])
    centres = np.stack([i.centre for i in images])
    pairs = np.empty((len(chosen), 2), dtype=np.int64)
    for length in np.unique(lengths[chosen]):
        (members,) = np.nonzero(lengths[chosen] == length)
        for block in np.array_split(members, -(-len(members) * length**2 // MAX_BLOCK_ENTRIES)):
            track = starts[chosen[block], None] + np.arange(length)
            best = _widest(centres[image[track]] - where[block, None], image[track])
            pairs[block] = np.take_along_axis(track, best, axis=1)
    return WidePairs(ids[chosen], image[pairs], row[pairs])


def _widest(rays: NDArray[np.float64], image: NDArray[np.int64]) -> NDArray[np.int64]:
    """For tracks (B, L) with rays (B, L, 3): positions (B, 2) of the widest pair of different images."""
    rays = rays / np.maximum(np.linalg.norm(rays, axis=2, keepdims=True), 1e-12)
    cosines = np.einsum("bid,bjd->bij", rays, rays)
    cosines[image[:, :, None] >= image[:, None, :]] = np.inf
    return np.stack(np.divmod(cosines.reshape(len(cosines), -1).argmin(axis=1), rays.shape[1]), axis=1)


def _positions(project: ColmapProject, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    known = project.positions()
    try:
        return np.stack([known[i] for i in ids.tolist()])
    except KeyError as missing:
        fault = f"points3D.bin lacks point {missing} of images.bin"
        raise InputError(f"{project.directory}: {fault}: export both") from None


def _join(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


@dataclass(frozen=True)
class SceneScore:
    """One describer at one level of noise on one scene, or the mean over scenes; rates in 0..1."""

    model: str
    level: str
    scene: str
    points: int  # pairs; of a mean, their sum
    fpr95: float  # against all other second patches of the scene
    fpr95_same_image: float  # against those of the second patch's own image
    top1: float  # share of first patches whose nearest second patch is the right one
    curve: NDArray[np.float64] = field(repr=False)  # (100,) FPR at each of RECALLS, against the scene

    def numbers(self) -> dict[str, Any]:
        """The figures without the curve."""
        return {k: v for k, v in vars(self).items() if k != "curve"}


@dataclass(frozen=True)
class ScenePatches:
    """The patches of a scene: `first` (P, 64, 64) uint8 and for each level the second ones, cut with its noise."""

    first: NDArray[np.uint8]
    second: dict[str, NDArray[np.uint8]]
    images: NDArray[np.int64]  # (P,) the image of each second patch


def evaluate_scenes(
    projects: Sequence[str | Path],
    describers: Mapping[str, Describe],
    *,
    levels: Sequence[str] = tuple(LEVELS),
    points: int = 2500,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[SceneScore]:
    """Measure describers on the same patches of COLMAP projects, folders with images/, sparse/ and database.db.

    Descriptors are compared by L2 distance. Each level of noise starts from the same seed, so it does not depend on the
    others. A scene that has fewer than `points` gives all. `progress` is called with (steps done, steps in all).

    Returns a score for each describer, level and scene, in this order; `mean_scores` reduces them. Raises InputError
    for a project or level that cannot be used, or a describer that returns NaN.
    """
    if not levels or not set(levels) <= set(LEVELS) or len(set(levels)) < len(levels) or not projects or points < 2:
        needed = "at least 2 points for each scene, and levels, each once"
        raise InputError(f"give projects, {needed}, of {', '.join(LEVELS)}")
    opened = _named(projects)
    each = 1 + len(describers) * (1 + len(levels))
    scores, steps = [], itertools.count(1)

    def step() -> None:
        if progress:
            progress(next(steps), each * len(opened))

    for scene, project in opened.items():
        patches = cut_scene(project, levels, points, seed)
        step()
        for name, describe in describers.items():
            first = unit_vectors(name, describe, as_float(patches.first[:, None]))
            step()
            for level in levels:
                second = unit_vectors(name, describe, as_float(patches.second[level][:, None]))
                similarity = similarity_matrix(first, second)
                positives, negatives = matrix_scores(similarity)
                scores.append(SceneScore(
                    name, level, scene, len(positives),
                    fpr95=error_at_95(positives, negatives),
                    fpr95_same_image=error_at_95(*matrix_scores(similarity, patches.images)),
                    top1=top1(similarity),
                    curve=fpr_at(positives, negatives, RECALLS),
                ))  # fmt: skip
                step()
    rank = {key: i for i, key in enumerate((name, level) for name in describers for level in levels)}
    return sorted(scores, key=lambda score: rank[score.model, score.level])


def mean_scores(scores: Sequence[SceneScore]) -> list[SceneScore]:
    """Mean over scenes of each describer and level: every scene weighs the same."""
    groups: dict[tuple[str, str], list[SceneScore]] = {}
    for score in scores:
        groups.setdefault((score.model, score.level), []).append(score)
    means = []
    for (model, level), group in groups.items():
        scene, same, top = (
            float(np.mean([getattr(s, n) for s in group])) for n in ("fpr95", "fpr95_same_image", "top1")
        )
        curve = np.mean([s.curve for s in group], axis=0)
        means.append(SceneScore(model, level, "mean", sum(s.points for s in group), scene, same, top, curve))
    return means


def cut_scene(project: ColmapProject, levels: Sequence[str], points: int = 2500, seed: int = 0) -> ScenePatches:
    """Cut the first patches and, at each level, the second ones; each image is read once. Raises InputError."""
    pairs = widest_pairs(project, points, seed)
    total = len(pairs.points)
    if len(np.unique(pairs.images[:, 1])) == total:
        raise InputError(f"{project.directory}: too few points, no image holds two of the second patches")
    noise = {n: draw(LEVELS[n], total, torch.Generator().manual_seed(seed)).double().numpy() for n in levels}
    first = np.empty((total, 64, 64), dtype=np.uint8)
    second = {level: np.empty_like(first) for level in levels}
    for index in np.unique(pairs.images).tolist():
        image = project.images[index]
        pixels, frames = project.read_image(image), project.frames(image)
        if pixels.dtype != np.uint8:
            raise InputError(f"{project.directory / 'images' / image.name} is {pixels.dtype}: 8-bit images only")
        (rows,) = np.nonzero(pairs.images[:, 0] == index)
        first[rows] = extract(pixels, frames[pairs.observations[rows, 0]], support=SUPPORT)[:, 0]
        (rows,) = np.nonzero(pairs.images[:, 1] == index)
        for level in levels:
            moved = perturb(frames[pairs.observations[rows, 1]], noise[level][rows], SUPPORT)
            second[level][rows] = extract(pixels, moved, support=SUPPORT)[:, 0]
    return ScenePatches(first, second, pairs.images[:, 1])


def _named(projects: Sequence[str | Path]) -> dict[str, ColmapProject]:
    """Projects by folder name, or by path where two folders have one name."""
    names = [Path(project).resolve().name for project in projects]
    if len(set(names)) < len(names):
        names = [str(Path(project).resolve()) for project in projects]
    if len(set(names)) < len(names):
        raise InputError(f"a project is given twice: {', '.join(map(str, projects))}")
    return {name: read_project(project) for name, project in zip(names, projects, strict=True)}
