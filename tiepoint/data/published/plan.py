"""From index files to a PatchSet: each patch is stored once, however many pairs name it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tiepoint.data.published.index import MAX_COORDINATE, CrossIndex
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet
from tiepoint.types import Progress, Rows

Read = Callable[[Rows], NDArray[Any]]  # rows of one scene and spectrum to their patches (N, C, 64, 64)
_BLOCK = 1024  # patches that are read at once
_RADIX = MAX_COORDINATE + 1


@dataclass(frozen=True)
class PatchPlan:
    """The patches to store, and the pairs of them."""

    indices: Sequence[CrossIndex]  # where the pairs come from
    names: list[str]  # of the scenes
    scenes: Rows  # (N,) indices into `names`
    spectra: Rows  # (N,) 0 or 1
    locations: Rows  # (N, K) as in `tiepoint.data.published.index.Side`
    points: Rows  # (N,) ids
    pairs: Rows  # (M, 3) rows and labels

    def where(self, row: int) -> str:
        """What errors call the first pair of patch number `row`."""
        pair = int(np.argmax((self.pairs[:, :2] == row).any(axis=1)))
        starts = np.cumsum([0, *map(len, self.indices)])
        part = int(np.searchsorted(starts, pair, side="right")) - 1
        return self.indices[part].where(pair - int(starts[part]))


def plan(indices: Sequence[CrossIndex], scenes: Sequence[Sequence[Sequence[str]]]) -> PatchPlan:
    """List each patch once: by scene, then keypoint, then spectrum; or by scene, then spectrum, then number.

    The patches of a match share their point: a keypoint of a scene or, of numbers, all patches that matches connect.
    `scenes` names the scene of each image, for each index and side. Raises InputError for a match of two points, or a
    non-match of one.
    """
    numbers: dict[str, int] = {}
    parts = []
    for index, names in zip(indices, scenes, strict=True):
        for spectrum, side in enumerate((index.first, index.second)):
            table = np.array([numbers.setdefault(name, len(numbers)) for name in names[spectrum]], dtype=np.int64)
            columns = [table[side.images], *side.locations.T[::-1].astype(np.int64)]
            columns.insert(3 if len(columns) == 3 else 1, np.full_like(columns[0], spectrum))
            parts.append(np.stack(columns))
    keypoints = len(parts[0]) == 4
    sizes = (len(numbers), _RADIX, _RADIX, 2) if keypoints else (len(numbers), 2, _RADIX)
    both = [np.concatenate(parts[side::2], axis=1) for side in (0, 1)]
    keys = np.ravel_multi_index(tuple(np.stack(both, axis=-1)), sizes)
    patches, rows = np.unique(keys, return_inverse=True)
    labels = np.concatenate([index.labels for index in indices])
    pairs = np.column_stack([rows.reshape(-1, 2), labels])
    fields = [np.asarray(field, dtype=np.int64) for field in np.unravel_index(patches, sizes)]
    if keypoints:
        scene, y, x, spectra = fields
        locations, points = np.stack([x, y], axis=1), np.unique(patches // 2, return_inverse=True)[1]
    else:
        scene, spectra, number = fields
        locations, points = number[:, None], point_ids(len(patches), pairs[labels, :2])
    same = points[pairs[:, 0]] == points[pairs[:, 1]]
    for index, part in zip(indices, np.split(same, np.cumsum([len(index) for index in indices])[:-1]), strict=True):
        _check_labels(index, part)
    return PatchPlan(indices, list(numbers), scene, spectra, locations, points, pairs)


def point_ids(count: int, matches: Rows) -> Rows:
    """Point ids (count,), from 0, equal for patches that `matches` (M, 2), rows of two patches, connect."""
    links = coo_array((np.ones(len(matches), dtype=bool), matches.T), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def write_planned(
    planned: PatchPlan, read: Read, out: str | Path, *, color: bool, progress: Progress | None, **manifest: Any
) -> PatchSet:
    """Read the patches by scene and spectrum and write them; see `PatchSet.create`, to which `manifest` goes.

    `progress` is called with (patches done, patches in all), once for each scene.
    """
    count = len(planned.points)
    first = read(np.array([0]))
    keypoints = {"positions": planned.locations} if planned.locations.shape[1] == 2 else {}
    with PatchSet.create(
        out, count, channels=3 if color else 1, dtype=first.dtype, positions=bool(keypoints), pairs=len(planned.pairs),
        **manifest,
    ) as writer:  # fmt: skip
        bounds = np.searchsorted(planned.scenes, np.arange(len(planned.names) + 1)).tolist()
        for low, high in pairwise(bounds):
            for spectrum in (0, 1):
                own = low + np.flatnonzero(planned.spectra[low:high] == spectrum)
                for start in range(0, len(own), _BLOCK):
                    some = own[start : start + _BLOCK]
                    writer.patches[some] = read(some)
            writer.release()
            if progress:
                progress(high, count)
        writer.image_names += planned.names
        writer.fill(
            points=planned.points, images=planned.scenes, spectra=planned.spectra, pairs=planned.pairs, **keypoints
        )
    return PatchSet.open(out)


def _check_labels(index: CrossIndex, same: NDArray[np.bool_]) -> None:
    """Raise InputError at the first pair whose label is not whether it shows the same point, `same` (M,)."""
    wrong = np.flatnonzero(same != index.labels)
    if len(wrong):
        said = "match, but lie at two keypoints" if index.labels[wrong[0]] else "do not match, but are of one point"
        more = f" (and {len(wrong) - 1} more lines like it)" if len(wrong) > 1 else ""
        raise InputError(f"{index.where(int(wrong[0]))}: says that two patches {said}{more}: correct or remove it")
