"""A PatchSet as the audit sees it: its arrays in memory, its scenes by name, and one look at every patch."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.patches import SIZE, PatchSet
from tiepoint.types import Rows

MIN_DEVIATION = 1.0  # grey levels; patches that deviate less coincide by chance
MAX_BLOCK_PIXELS = 4_000_000  # pixels in memory at once
Floats = NDArray[np.float32]
Patches = NDArray[Any]


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
    digests: NDArray[np.uint64]  # (N,) of the bytes; two different patches share one with probability 2^-64
    deviations: Floats  # (N,) standard deviation in grey levels, of the channel where it is largest

    @property
    def textured(self) -> NDArray[np.bool_]:
        """(N,) which patches are not flat."""
        return np.asarray(self.deviations >= MIN_DEVIATION)

    def in_pairs(self, labels: tuple[int, ...] = (0, 1)) -> Rows:
        """The rows that the pairs of these labels name."""
        assert self.pairs is not None
        return np.unique(self.pairs[np.isin(self.pairs[:, 2], labels), :2])

    def pair_keys(self) -> NDArray[np.uint64]:
        """(M,) one number for what a pair shows, the first patch and the second in this order."""
        assert self.pairs is not None
        first, second = (self.digests[column] for column in self.pairs[:, :2].T)
        return np.asarray(first * np.uint64(0x9E3779B97F4A7C15) + second)  # digests are uniform, so sums are, too


def read(name: str, patch_set: PatchSet, more: Callable[[int], None]) -> Read:
    """Look at every patch of a set once; `more` is called with how many more are done."""
    spectra = np.asarray(patch_set.spectra)
    positions = None
    if patch_set.positions is not None:
        positions = np.array(patch_set.positions, dtype=np.float64)
        positions[~np.isfinite(positions).all(axis=1)] = np.nan
    return Read(
        name, patch_set.patches, np.asarray(patch_set.points), np.asarray(patch_set.images, dtype=np.int64),
        patch_set.image_names,
        {spectrum: np.flatnonzero(spectra == number) for number, spectrum in enumerate(patch_set.manifest["spectra"])},
        positions, None if patch_set.pairs is None else np.asarray(patch_set.pairs), *look(patch_set.patches, more),
    )  # fmt: skip


def look(patches: Patches, more: Callable[[int], None]) -> tuple[NDArray[np.uint64], Floats]:
    """`Read.digests` and `Read.deviations` of patches (N, C, 64, 64), which are read once, in blocks."""
    digests = np.empty(len(patches), dtype=np.uint64)
    deviations = np.empty(len(patches), dtype=np.float32)
    size = max(1, MAX_BLOCK_PIXELS // (patches.shape[1] * SIZE * SIZE))
    for start in range(0, len(patches), size):
        block = np.ascontiguousarray(patches[start : start + size])
        taken = slice(start, start + len(block))
        digests[taken] = [int.from_bytes(hashlib.blake2b(patch, digest_size=8).digest(), "little") for patch in block]
        pixels = block.reshape(*block.shape[:2], -1).astype(np.float32)
        pixels -= pixels[:, :, :1]  # so that a constant patch gives exactly 0
        deviations[taken] = pixels.std(axis=2).max(axis=1)
        more(len(block))
    return digests, deviations
