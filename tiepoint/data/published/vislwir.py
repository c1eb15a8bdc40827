"""The VIS-LWIR patches (FIL-Net, 2023), whose index numbers the patches of an image."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.published.crop import find_image
from tiepoint.data.published.npy import open_npy
from tiepoint.data.published.plan import PatchPlan, Read
from tiepoint.errors import InputError
from tiepoint.images.raster import read_planes
from tiepoint.patches import SIZE
from tiepoint.types import Rows

FOLDERS = ("optical", "lwir")


def numbered(planned: PatchPlan, root: Path, color: bool, first_number: int) -> Read:
    """What reads patches by their numbers, see the layout's entry in `tiepoint.data.published.layouts`.

    It raises InputError, which names the line and the file, for a missing patch, one that is not 64x64, and one of
    another depth than the first.
    """

    @lru_cache(maxsize=1)  # an array stays mapped until one of another image is asked for
    def array(path: Path) -> NDArray[Any]:
        patches = open_npy(path)
        if patches.shape[1:] != (SIZE, SIZE) or patches.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{path}: holds {patches.shape} {patches.dtype}: must be (n, 64, 64), uint8 or uint16")
        return patches

    def stem_of(row: int) -> Path:
        image = planned.names[planned.scenes[row]].removeprefix("vislwir/")
        return root / image / FOLDERS[planned.spectra[row]]

    def at(stem: Path, number: int) -> NDArray[Any]:
        path = stem.with_name(f"{stem.name}.npy")
        if path.is_file():
            last = first_number + len(array(path)) - 1
            if not first_number <= number <= last:
                raise InputError(f"{path}: has no patch {number}: it holds {first_number} to {last}")
            return np.repeat(array(path)[number - first_number][None], 3 if color else 1, axis=0)
        file = find_image(stem / f"{number}.png")
        if file is None:
            raise InputError(f"{stem / str(number)}.png is missing, and so is {path}")
        planes = read_planes(file, color=color, orient=False, floats=False)
        if planes.shape[1:] != (SIZE, SIZE):
            raise InputError(f"{file}: is {planes.shape[2]} x {planes.shape[1]} pixels: patches are 64 x 64")
        return planes

    def one(row: int) -> NDArray[Any]:
        try:
            return at(stem_of(row), int(planned.locations[row, 0]))
        except InputError as error:
            raise InputError(f"{planned.where(row)}: {error}") from None

    dtype = one(0).dtype

    def read(rows: Rows) -> NDArray[Any]:
        patches = [one(row) for row in rows.tolist()]
        for patch in patches:
            if patch.dtype != dtype:
                raise InputError(f"{stem_of(rows[0])}: is {patch.dtype}, the first patch {dtype}: give one depth")
        return np.stack(patches)

    return read
