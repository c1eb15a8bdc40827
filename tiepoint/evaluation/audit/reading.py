"""A PatchSet as the audit sees it: its arrays in memory, its scenes by name, and one look at every patch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiepoint.evaluation.audit.repeats import Floats, Looks, Patches, look
from tiepoint.patches import PatchSet
from tiepoint.types import Rows

MIN_DEVIATION = 1.0  # grey levels; patches that deviate less coincide by chance


@dataclass(frozen=True)
class Read:
    """A set under audit; N rows. All arrays but `patches` are in memory."""

    name: str
    patches: Patches
    points: Rows
    images: Rows
    scenes: list[str]  # names, by image id
    spectra: dict[str, Rows]  # name -> its rows, rising
    positions: NDArray[np.float64] | None  # (N, 2), NaN where unknown
    pairs: Rows | None  # (M, 3)
    looks: Looks

    @property
    def textured(self) -> NDArray[np.bool_]:
        """(N,) which patches are not flat."""
        return np.asarray(self.looks.deviations >= MIN_DEVIATION)

    @property
    def deviations(self) -> Floats:
        """(N,) standard deviations in grey levels."""
        return self.looks.deviations

    def pair_keys(self) -> NDArray[np.uint64]:
        """(M,) one number for what a pair shows, the first patch and the second in this order."""
        assert self.pairs is not None
        first, second = (self.looks.digests[column] for column in self.pairs[:, :2].T)
        return np.asarray(first * np.uint64(0x9E3779B97F4A7C15) + second)  # digests are uniform, so sums are, too


def read(name: str, patch_set: PatchSet, step: Callable[[int], None] | None = None) -> Read:
    """Look at every patch of a set once; `step` is called with how many are done."""
    spectra = np.asarray(patch_set.spectra)
    positions = None
    if patch_set.positions is not None:
        positions = np.array(patch_set.positions, dtype=np.float64)
        positions[~np.isfinite(positions).all(axis=1)] = np.nan
    return Read(
        name, patch_set.patches, np.asarray(patch_set.points), np.asarray(patch_set.images, dtype=np.int64),
        patch_set.image_names,
        {spectrum: np.flatnonzero(spectra == number) for number, spectrum in enumerate(patch_set.manifest["spectra"])},
        positions, None if patch_set.pairs is None else np.asarray(patch_set.pairs), look(patch_set.patches, step),
    )  # fmt: skip
