"""The VIS-LWIR patches (FIL-Net, 2023), whose index numbers the patches of an image, to a PatchSet with their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tiepoint.data.published.crop import check_labels, find_image
from tiepoint.data.published.index import MAX_COORDINATE, VISLWIR, CrossIndex, read_index
from tiepoint.data.published.npy import open_npy
from tiepoint.data.published.sets import find_index_files, provenance
from tiepoint.errors import InputError
from tiepoint.images.raster import read_planes
from tiepoint.patches import SIZE, PatchSet
from tiepoint.types import Progress

FOLDERS = ("optical", "lwir")
_BLOCK = 1024  # patches between two reports
_RADIX = MAX_COORDINATE + 1
Ids = NDArray[np.int64]


def read_vislwir(
    root: str | Path,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    first_number: int = 0,
    color: bool = False,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Write the VIS-LWIR patches: spectra vis and lwir, one category, vislwir, scenes by the images' names.

    The index says nothing of files, so this layout is our assumption: root/finally_train.txt and finally_test.txt, and
    a folder for each image. Patches 7 of image 9 are root/9/lwir/7.png and root/9/optical/7.png, or root/9/lwir.npy and
    root/9/optical.npy hold all patches of a spectrum, (n, 64, 64). How the patches were numbered is not published.

    The set has no positions: a point is all patches that matches connect.

    Args:
        root: folder of the index files and of the images' folders.
        out: folder to write; must not exist.
        sets: "train", "test" or both. May be empty where there is one: pairs of one PatchSet are not told apart.
        first_number: what the index calls the first patch of an array, 0 or 1. Files are named by their number.
        color: store RGB instead of grey (BT.601).
        licence: recorded in the manifest.
        progress: called with (patches done, patches in all).

    Raises:
        InputError: names the file, and the line where there is one: what `read_index` refuses, a missing patch, one
            that is not 64x64, of another depth than the first, or a non-match of patches that matches connect.
    """
    if first_number not in (0, 1):
        raise InputError(f"first_number is {first_number}, must be 0 or 1")
    root = Path(root)
    files = find_index_files(root, sets)
    indices = [read_index(path, VISLWIR) for path in files.values()]
    names: dict[str, int] = {}
    keys = np.concatenate([_keys(index, names) for index in indices])
    patches, rows = np.unique(keys, return_inverse=True)
    pairs = np.column_stack([rows.reshape(-1, 2), np.concatenate([index.labels for index in indices])])
    points = point_ids(len(patches), pairs[pairs[:, 2] == 1, :2])
    same = points[pairs[:, 0]] == points[pairs[:, 1]]
    starts = np.cumsum([0, *map(len, indices)])
    for index, start in zip(indices, starts, strict=False):
        check_labels(index, same[start : start + len(index)])
    scenes, spectra, numbers = patches // (2 * _RADIX), patches // _RADIX % 2, patches % _RADIX
    names_of = list(names)
    store = _Store(root, names_of, first_number, color)

    def read(row: int) -> NDArray[Any]:
        try:
            return store.patch(int(scenes[row]), int(spectra[row]), int(numbers[row]))
        except InputError as error:
            pair = int(np.argmax((pairs[:, :2] == row).any(axis=1)))
            part = int(np.searchsorted(starts, pair, side="right")) - 1
            raise InputError(f"{indices[part].where(pair - int(starts[part]))}: {error}") from None

    dtype = read(0).dtype
    with PatchSet.create(
        out, len(patches), channels=3 if color else 1, dtype=dtype, spectra=("vis", "lwir"), pairs=len(pairs),
        provenance={**provenance("vislwir", root, files), "first_number": first_number, "color": color},
        licence=licence,
    ) as writer:  # fmt: skip
        assert writer.pairs is not None
        for row in range(len(patches)):
            patch = read(row)
            if patch.dtype != dtype:
                name = f"{names_of[scenes[row]]}/{FOLDERS[spectra[row]]}"
                raise InputError(f"{root / name}: is {patch.dtype}, the first patch {dtype}: give one depth")
            writer.patches[row] = patch
            if row % _BLOCK == _BLOCK - 1 or row + 1 == len(patches):
                writer.release()
                if progress:
                    progress(row + 1, len(patches))
        writer.points[:] = points
        writer.images[:] = scenes
        writer.image_names += [f"vislwir/{name}" for name in names_of]
        writer.spectra[:] = spectra
        writer.pairs[:] = pairs
    return PatchSet.open(out)


def point_ids(count: int, matches: Ids) -> Ids:
    """Point ids (count,), from 0, equal for patches that `matches` (M, 2), rows of two patches, connect."""
    links = coo_array((np.ones(len(matches), dtype=bool), matches.T), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


class _Store:
    """Reads patches by image, spectrum and number; an array stays mapped until one of another image is asked for."""

    def __init__(self, root: Path, names: Sequence[str], first_number: int, color: bool) -> None:
        self.root, self.names, self.first_number, self.color = root, names, first_number, color
        self.opened: tuple[Path, NDArray[Any]] | None = None

    def patch(self, image: int, spectrum: int, number: int) -> NDArray[Any]:
        """A patch (C, 64, 64). Raises InputError that names its file."""
        stem = self.root / self.names[image] / FOLDERS[spectrum]
        path = stem.with_name(f"{stem.name}.npy")
        if not path.is_file():
            file = find_image(stem / f"{number}.png")
            if file is None:
                raise InputError(f"{stem / str(number)}.png is missing, and so is {path}")
            planes = read_planes(file, color=self.color, orient=False, floats=False)
            if planes.shape[1:] != (SIZE, SIZE):
                raise InputError(f"{file}: is {planes.shape[2]} x {planes.shape[1]} pixels: patches are 64 x 64")
            return planes
        array = self._array(path)
        row = number - self.first_number
        if not 0 <= row < len(array):
            last = self.first_number + len(array) - 1
            raise InputError(f"{path}: has no patch {number}: it holds {self.first_number} to {last}")
        return np.repeat(array[row][None], 3 if self.color else 1, axis=0)

    def _array(self, path: Path) -> NDArray[Any]:
        if self.opened is None or self.opened[0] != path:
            array = open_npy(path)
            if array.shape[1:] != (SIZE, SIZE) or array.dtype not in (np.uint8, np.uint16):
                raise InputError(f"{path}: holds {array.shape} {array.dtype}: must be (n, 64, 64), uint8 or uint16")
            self.opened = path, array
        return self.opened[1]


def _keys(index: CrossIndex, names: dict[str, int]) -> Ids:
    """For each pair (M, 2) numbers that stand for its two patches, in the order of image, spectrum and number."""
    both = []
    for spectrum, side in enumerate((index.first, index.second)):
        table = np.array([names.setdefault(name, len(names)) for name in side.names], dtype=np.int64)
        both.append((table[side.images] * 2 + spectrum) * _RADIX + side.locations[:, 0])
    return np.stack(both, axis=1)
