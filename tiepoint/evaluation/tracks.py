"""One pair of observations for each 3-D point: the two that see it under the widest angle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.colmap import ColmapProject
from tiepoint.errors import InputError

BLOCK = 4_000_000  # entries of a block of angle matrices: bounds memory


@dataclass(frozen=True)
class WidePairs:
    """Pairs of observations, one a point. Observations are numbered as `ColmapImage.points` lists them."""

    points: NDArray[np.int64]  # (P,) 3-D point ids, rising
    images: NDArray[np.int64]  # (P, 2) indices into the project's images, first < second
    observations: NDArray[np.int64]  # (P, 2) rows of those images' observations
    angles: NDArray[np.float64]  # (P,) between the rays, radians


def widest_pairs(project: ColmapProject, count: int, seed: int = 0) -> WidePairs:
    """Draw `count` points of at least two different images (all, if fewer) and take each one's widest pair.

    The angle is measured at the point, between the camera centres; the two observations are always of different images.
    Of equal angles the pair of the first images counts.

    Raises:
        InputError: no point is seen in two images, or points3D.bin lacks a point.
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
    pairs, angles = np.empty((len(chosen), 2), dtype=np.int64), np.empty(len(chosen))
    for length in np.unique(lengths[chosen]):
        (members,) = np.nonzero(lengths[chosen] == length)
        for block in np.array_split(members, -(-len(members) * length**2 // BLOCK)):
            track = starts[chosen[block], None] + np.arange(length)
            best, angles[block] = _widest(centres[image[track]] - where[block, None], image[track])
            pairs[block] = np.take_along_axis(track, best, axis=1)
    return WidePairs(ids[chosen], image[pairs], row[pairs], angles)


def _widest(rays: NDArray[np.float64], image: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For tracks (B, L) with rays (B, L, 3): positions (B, 2) of the widest pair of different images, and its angle."""
    rays = rays / np.maximum(np.linalg.norm(rays, axis=2, keepdims=True), 1e-12)
    cosines = np.einsum("bid,bjd->bij", rays, rays)
    cosines[image[:, :, None] >= image[:, None, :]] = np.inf
    flat = cosines.reshape(len(cosines), -1)
    best = flat.argmin(axis=1)
    angles = np.arccos(np.clip(flat[np.arange(len(flat)), best], -1, 1))
    return np.stack(np.divmod(best, rays.shape[1]), axis=1), angles


def _positions(project: ColmapProject, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    known = project.positions()
    try:
        return np.stack([known[i] for i in ids.tolist()])
    except KeyError as missing:
        raise InputError(
            f"{project.directory}: points3D.bin lacks point {missing} of images.bin: export both"
        ) from None


def _join(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])
