"""Points that two spectra show, and pairs of their patches: matches, and non-matches far enough from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.patches import PatchSet
from tiepoint.types import Rows

MIN_DISTANCE_PX = 64.0  # between two points of one scene whose patches make a non-match
MAX_TRIES = 20
SPLIT_STREAM, PAIR_STREAM = 0x5CE9E, 0xC2055


@dataclass(frozen=True)
class CrossPoints:
    """The points of a PatchSet that have a patch in each of its two spectra; P of them.

    Rows `first` and `second` (P,) of the patches of either spectrum, image ids `scenes` (P,), indices `categories` (P,)
    into `names`, and `positions` (P, 2), pixels of the scene's first image, or None.
    """

    first: Rows
    second: Rows
    scenes: Rows
    categories: Rows
    names: list[str]
    positions: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs of patches across two spectra: rows `first` and `second` (M,), labels (M,), categories into `names`."""

    first: Rows
    second: Rows
    labels: NDArray[np.bool_]
    categories: Rows
    names: list[str]

    def __len__(self) -> int:
        return len(self.first)


def category(name: str) -> str:
    """The category of a scene, which stands before the slash of its name; "all" without one."""
    return name.split("/", 1)[0] if "/" in name else "all"


def is_cross(patch_set: PatchSet) -> bool:
    """Whether a set is one across two spectra."""
    return len(patch_set.manifest["spectra"]) == 2


def cross_points(patch_set: PatchSet, rows: Rows | None = None) -> CrossPoints:
    """Find the points, among `rows` if given, that both spectra show, by rising id; of several patches the first one.

    Raises InputError if the set has not two spectra, or no point has a patch in both.
    """
    spectra = patch_set.manifest["spectra"]
    if not is_cross(patch_set):
        held = ", ".join(spectra)
        raise InputError(f"{patch_set.directory}: has the spectra {held}: pairs across spectra need exactly two")
    rows = np.arange(len(patch_set)) if rows is None else rows
    points, sides = np.asarray(patch_set.points)[rows], np.asarray(patch_set.spectra)[rows]
    one, two = (rows[sides == side] for side in (0, 1))
    ids, at_one, at_two = np.intersect1d(points[sides == 0], points[sides == 1], return_indices=True)
    if not len(ids):
        raise InputError(f"{patch_set.directory}: no point has a patch in both {spectra[0]} and {spectra[1]}")
    first, second = one[at_one], two[at_two]  # of the first occurrence of each point
    scenes = np.asarray(patch_set.images)[second].astype(np.int64)
    names, categories = _categories(patch_set, scenes)
    positions = None if patch_set.positions is None else np.asarray(patch_set.positions)[first]
    return CrossPoints(first, second, scenes, categories, names, positions)


def own_pairs(patch_set: PatchSet, rows: Rows | None) -> Rows | None:
    """The pairs (M, 3) that the set defines, if it does, whose two patches are both among `rows` if given."""
    if patch_set.pairs is None:
        return None
    pairs = np.asarray(patch_set.pairs)
    return pairs if rows is None else pairs[np.isin(pairs[:, :2], rows).all(axis=1)]


def draw_nonmatches(
    index: CrossPoints,
    chosen: Rows,
    random: np.random.Generator,
    *,
    same_category: bool,
    distance: float = MIN_DISTANCE_PX,
) -> Rows:
    """For each point of `chosen` (n,) draw another whose second patch does not match its first.

    Uniform among the points of the same category, or of all, that do not lie within `distance` px in the same scene;
    without positions, among those of other scenes, or of all other points where there is one scene alone. -1 where
    there is no such point.
    """
    group = index.categories if same_category else np.zeros(len(index), dtype=np.int64)
    order = np.argsort(group, kind="stable")
    low = np.searchsorted(group[order], group[chosen], side="left")
    high = np.searchsorted(group[order], group[chosen], side="right")
    drawn = np.full(len(chosen), -1, dtype=np.int64)
    open_ = np.arange(len(chosen))
    for _ in range(MAX_TRIES):
        candidate = order[low[open_] + random.integers(high[open_] - low[open_])]
        good = _may_differ(index, chosen[open_], candidate, distance)
        drawn[open_[good]] = candidate[good]
        open_ = open_[~good]
        if not len(open_):
            break
    for row in open_:  # few others fit, or none
        candidates = order[low[row] : high[row]]
        fitting = candidates[_may_differ(index, chosen[row], candidates, distance)]
        if len(fitting):
            drawn[row] = random.choice(fitting)
    return drawn


def labelled_pairs(patch_set: PatchSet, count: int = 2500, seed: int = 0, rows: Rows | None = None) -> LabelledPairs:
    """The pairs of a protocol: the set's own if it defines any, else seeded ones.

    Seeded: of each category `count` points, all if there are fewer, each once as a match, and as many non-matches: the
    first patches of the same points with second patches of other points of the category, see `draw_nonmatches`. A point
    without non-matches is left out.

    `rows` are the patches that may be used; of the set's own pairs those count whose two patches are among them. Raises
    InputError for a count below 1, a negative seed, a category without non-matches, no pairs left, or as
    `cross_points`.
    """
    if count < 1:
        raise InputError(f"count is {count}, must be at least 1")
    if seed < 0:
        raise InputError(f"seed is {seed}, must not be negative")
    own = own_pairs(patch_set, rows)
    if own is not None:
        if not len(own):
            raise InputError(f"{patch_set.directory}: none of the set's pairs lies among the patches to be used")
        names, categories = _categories(patch_set, np.asarray(patch_set.images)[own[:, 0]].astype(np.int64))
        return LabelledPairs(own[:, 0], own[:, 1], own[:, 2].astype(bool), categories, names)
    index = cross_points(patch_set, rows)
    random = np.random.default_rng([seed, PAIR_STREAM])
    parts: list[NDArray[np.int64]] = []  # point of the first patch, point of the second, label
    for number, name in enumerate(index.names):
        members = np.flatnonzero(index.categories == number)
        chosen = np.sort(random.permutation(members)[:count])
        others = draw_nonmatches(index, chosen, random, same_category=True)
        chosen, others = chosen[others >= 0], others[others >= 0]
        if not len(chosen):
            fault = f"category {name} has no point far enough from another to make a non-match"
            raise InputError(f"{patch_set.directory}: {fault}: give more points or scenes")
        parts += [np.stack([chosen, other, other == chosen]) for other in (chosen, others)]
    first, second, labels = np.concatenate(parts, axis=1)
    chosen_rows = index.first[first], index.second[second]
    return LabelledPairs(*chosen_rows, labels.astype(bool), index.categories[first], index.names)


def split_scenes(patch_set: PatchSet, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Rows for training and rows for validation, by whole scenes, of which `fraction` are for validation.

    Raises InputError if either part would hold no scene.
    """
    scenes = np.unique(patch_set.images)
    if not 0 < round(fraction * len(scenes)) < len(scenes):
        fault = f"{fraction:g} of {len(scenes)} scenes leaves none for training or for validation"
        raise InputError(f"{patch_set.directory}: {fault}: change validation.fraction or give more scenes")
    return split_by(patch_set.images, scenes, fraction, [seed, SPLIT_STREAM])


def split_by(groups: NDArray[Any], ids: NDArray[Any], fraction: float, seed: list[int]) -> tuple[Rows, Rows]:
    """Rows outside and rows inside of a share of the groups drawn from `ids`."""
    held = np.random.default_rng(seed).permutation(ids)[: round(fraction * len(ids))]
    inside = np.isin(groups, held)
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def _may_differ(index: CrossPoints, points: Rows, others: Rows, distance: float) -> NDArray[np.bool_]:
    """Whether points, or one, and others are far enough from each other to be a non-match."""
    other_scene = index.scenes[others] != index.scenes[points]
    if index.positions is not None:
        gaps = np.linalg.norm(index.positions[others] - index.positions[points], axis=-1)
        return np.asarray(other_scene | (gaps > distance))
    one_scene = (index.scenes == index.scenes[0]).all()
    return np.asarray(others != points if one_scene else other_scene)


def _categories(patch_set: PatchSet, scenes: Rows) -> tuple[list[str], Rows]:
    of_scene = [category(name) for name in patch_set.image_names]
    names = sorted({of_scene[scene] for scene in np.unique(scenes)})
    number = {name: k for k, name in enumerate(names)}
    table = np.array([number.get(name, -1) for name in of_scene], dtype=np.int64)
    return names, table[scenes]
