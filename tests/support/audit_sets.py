"""Small cross-spectral sets for the audit, cut from made-up scenes, with pairs split as published sets split theirs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synthetic import smooth_texture

from tiepoint.patches import PatchSet

Place = tuple[str, int, int]  # scene, x, y
Pair = tuple[Place, Place, int]  # where the patch of each spectrum lies, and the label
SIDE = 200


@cache
def images(scene: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A scene in two spectra; what stands before "@" says what it shows, so that one picture may have two names."""
    seed = zlib.crc32(scene.split("@")[-1].encode())
    vis = smooth_texture(SIDE, seed)
    return vis, (255 - 0.4 * vis - 0.5 * smooth_texture(SIDE, seed + 5000)).astype(np.uint8)


def patch(place: Place, spectrum: int) -> NDArray[Any]:
    scene, x, y = place
    return images(scene)[spectrum][y - 32 : y + 32, x - 32 : x + 32]


def grid(scenes: Sequence[str], step: int, start: int = 32) -> list[Place]:
    at = range(start, SIDE - 32, step)
    return [(scene, x, y) for scene in scenes for y in at for x in at]


def write(directory: Path, places: Sequence[Place], pairs: Sequence[Pair] = ()) -> PatchSet:
    """A point at each place, row 2k in the first spectrum and 2k + 1 in the second, and the pairs of these places."""
    number = {place: k for k, place in enumerate(places)}
    names = sorted({place[0] for place in places})
    with PatchSet.create(
        directory, 2 * len(places), spectra=("vis", "nir"), positions=True, pairs=len(pairs)
    ) as writer:
        for k, place in enumerate(places):
            for spectrum in (0, 1):
                row = 2 * k + spectrum
                writer.patches[row, 0] = patch(place, spectrum)
                writer.points[row], writer.images[row], writer.spectra[row] = k, names.index(place[0]), spectrum
                assert writer.positions is not None
                writer.positions[row] = place[1:]
        if writer.pairs is not None:
            writer.pairs[:] = [(2 * number[one], 2 * number[other] + 1, label) for one, other, label in pairs]
        writer.image_names += names
    return PatchSet.open(directory)


def random_over_pairs(
    scenes: Sequence[str], step: int, seed: int, share: float = 0.25
) -> tuple[list[Pair], list[Pair]]:
    """Pairs as in the published optical-radar set: matches, as many non-matches of the same scene, split at random."""
    random = np.random.default_rng(seed)
    pairs: list[Pair] = []
    for scene in scenes:
        places = grid([scene], step)
        for k, place in enumerate(places):
            other = places[(k + 1 + int(random.integers(len(places) - 1))) % len(places)]
            pairs += [(place, place, 1), (place, other, 0)]
    order = random.permutation(len(pairs))
    held = int(share * len(pairs))
    return [pairs[k] for k in order[held:]], [pairs[k] for k in order[:held]]


def used(pairs: Sequence[Pair]) -> list[Place]:
    return sorted({place for one, other, _ in pairs for place in (one, other)})
