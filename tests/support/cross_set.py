"""A made-up PatchSet across two spectra, and stand-ins for the models that relate or describe its patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from synthetic import smooth_texture
from torch import Tensor

from tiepoint.patches import PatchSet


def cross_set(
    directory: Path,
    scenes: Sequence[str] = ("field/0", "field/1", "urban/0", "urban/1"),
    points: int = 12,
    *,
    channels: int = 1,
    dtype: DTypeLike = np.uint8,
    spectra: tuple[str, ...] = ("vis", "nir"),
    noise: float = 40.0,
    pairs: Sequence[tuple[int, int, int]] = (),
    margin: float = 1.0,
    seed: int = 0,
) -> PatchSet:
    """Write `points` points a scene; patch 2k shows point k in the first spectrum, patch 2k + 1 in the second, noisy.

    Points of one scene lie 100 px apart.
    """
    rng = np.random.default_rng(seed)
    textures = [smooth_texture(64, 100 * seed + k) for k in range(8)]
    total = len(scenes) * points
    scale = np.iinfo(dtype).max / 255
    options: dict[str, Any] = {"channels": channels, "dtype": dtype, "spectra": spectra, "margin": margin}
    with PatchSet.create(directory, 2 * total, positions=True, pairs=len(pairs), **options) as writer:
        for point in range(total):
            shift = rng.integers(64, size=2)
            own = np.roll(textures[point % len(textures)], tuple(shift), axis=(0, 1))
            for side in (0, 1):
                row = 2 * point + side
                blocks = noise * rng.standard_normal((channels, 8, 8))  # as large as what the stand-ins compare
                patch = own + np.kron(blocks, np.ones((8, 8)))
                writer.patches[row] = np.clip(np.rint(scale * patch), 0, np.iinfo(dtype).max)
                writer.points[row], writer.images[row], writer.spectra[row] = point, point // points, side
                assert writer.positions is not None
                writer.positions[row] = (100 * (point % points), 50)
        if pairs:
            assert writer.pairs is not None
            writer.pairs[:] = pairs
        writer.image_names += scenes
    return PatchSet.open(directory)


class Correlation:
    """A relater without weights: its logit is the correlation of two patches, stretched; it keeps what it was given."""

    def __init__(self, spectra: tuple[str, ...] = ("vis", "nir"), temperature: float = 2.0) -> None:
        self.name = "correlation"
        self.spectra = spectra
        self.temperature = temperature
        self.card: dict[str, Any] = {}
        self.seen: list[tuple[Tensor, Tensor]] = []

    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        self.seen.append((first, second))
        a, b = (torch.nn.functional.avg_pool2d(p.mean(dim=1, keepdim=True), 8).flatten(1) for p in (first, second))
        a, b = (torch.nn.functional.normalize(v - v.mean(dim=1, keepdim=True), dim=1) for v in (a, b))
        return 12 * (a * b).sum(dim=1) - 6
