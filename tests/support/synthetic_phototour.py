"""Small made-up PatchSets as `tiepoint data phototour` builds them: the patches of a point share its image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synthetic import smooth_texture

from tiepoint.patches import PatchSet

LIST = "m50_100000_100000_0"


def phototour_set(
    directory: Path,
    points: int = 24,
    per_point: int = 3,
    images: int = 3,
    seed: int = 0,
    noise: float = 40.0,
    provenance: dict[str, Any] | None = None,
) -> PatchSet:
    """Patches of a point show its texture with Gaussian `noise` (grey levels); point p lies in image p % images.

    Rows are shuffled. The list of pairs holds 150 matches and 150 non-matches.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(points * per_point)
    with PatchSet.create(directory, len(order), provenance=provenance) as writer:
        for row, index in enumerate(order):
            point = int(index) // per_point
            patch = smooth_texture(64, 1000 * seed + point) + noise * rng.standard_normal((64, 64))
            writer.patches[row, 0] = np.clip(np.rint(patch), 0, 255)
            writer.points[row], writer.images[row], writer.spectra[row] = point, point % images, 0
        writer.image_names += [f"image{k}" for k in range(images)]
        np.save(Path(str(writer.points.filename)).with_name(f"pairs-{LIST}.npy"), draw_list(order // per_point, rng))
    return PatchSet.open(directory)


def draw_list(points: NDArray[np.int64], rng: np.random.Generator, count: int = 150) -> NDArray[np.int64]:
    """As many matches as non-matches, `count` each, shuffled."""
    rows = rng.integers(0, len(points), (60 * count, 2))
    rows = rows[rows[:, 0] != rows[:, 1]]
    match = points[rows[:, 0]] == points[rows[:, 1]]
    return rng.permutation(np.concatenate([rows[match][:count], rows[~match][:count]]))
