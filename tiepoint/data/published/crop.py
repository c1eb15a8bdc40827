"""The patches that index files name: cut from whole images at keypoints, or read by number."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.published.index import CrossIndex
from tiepoint.data.published.npy import open_npy
from tiepoint.data.published.plan import PatchPlan, Read
from tiepoint.errors import InputError
from tiepoint.images.raster import read_planes
from tiepoint.patches import SIZE
from tiepoint.types import Rows

HALF = SIZE // 2  # a patch is the rows y - 32 to y + 31 and the columns x - 32 to x + 31 of its keypoint
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")
FOLDERS = ("optical", "lwir")  # of numbered patches
Files = dict[tuple[int, str], Path]  # of a side and scene


def find_image(path: Path) -> Path | None:
    """The file at `path`, or the one beside it with the same stem and the suffix of an image; None without one."""
    if path.is_file():
        return path
    stem = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    return next((file for suffix in SUFFIXES if (file := stem.with_name(stem.name + suffix)).is_file()), None)


def crop_windows(image: NDArray[Any], keypoints: NDArray[np.int64]) -> NDArray[Any]:
    """Patches (N, C, 64, 64) of an image (C, H, W) at keypoints (N, 2) that are far enough from its border."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (SIZE, SIZE), axis=(1, 2))
    return np.asarray(windows[:, keypoints[:, 1] - HALF, keypoints[:, 0] - HALF].swapaxes(0, 1))


def locate(
    index: CrossIndex, scenes: Sequence[Sequence[str]], candidates: Callable[[int, str], Sequence[Path]], files: Files
) -> None:
    """Add the images of an index, whose `scenes` are given for both sides, to `files`.

    `candidates` are the paths where an image of a side and name may be; one whose suffix is missing or another is found
    too. Raises InputError that names the line whose image is at none of them, or two images of one side and scene.
    """
    for number, side in enumerate((index.first, index.second)):
        for image, (name, scene) in enumerate(zip(side.names, scenes[number], strict=True)):
            paths = candidates(number, name)
            file = next((file for file in map(find_image, paths) if file), None)
            if file is None:
                line = index.where(int(np.argmax(side.images == image)))
                tried = " or ".join(str(path) for path in paths)
                raise InputError(f"{line}: its image {tried} is missing: put the images where the index names them")
            if (other := files.setdefault((number, scene), file)) != file:
                raise InputError(f"{index.path}: {other} and {file.name} are one scene, {scene}: rename one")


def cutter(planned: PatchPlan, files: Files, color: bool) -> Read:
    """What cuts patches from their images, of which one is kept in memory.

    It raises InputError for an image that cannot be read, that is neither uint8 nor uint16 or not of the first image's
    depth, and for a keypoint whose patch leaves its image.
    """
    read_image = lru_cache(maxsize=1)(partial(read_planes, color=color, orient=False, floats=False))

    def file_of(row: int) -> Path:
        return files[int(planned.spectra[row]), planned.names[planned.scenes[row]]]

    first = file_of(0)
    dtype = read_image(first).dtype

    def cut(rows: Rows) -> NDArray[Any]:
        file = file_of(rows[0])
        image = read_image(file)
        if image.dtype != dtype:
            raise InputError(f"{file}: is {image.dtype}, {first} is {dtype}: give images of one depth")
        height, width = image.shape[1:]
        keypoints = planned.locations[rows]
        outside = ((keypoints < HALF) | (keypoints > np.array([width, height]) - HALF)).any(axis=1)
        if outside.any():
            x, y = keypoints[np.argmax(outside)]
            where = f"{planned.where(rows[np.argmax(outside)])}: the patch at x = {x}, y = {y}"
            needed = f"x and y must be from {HALF} to the width and height less {HALF}"
            raise InputError(f"{where} leaves {file}, {width} x {height} pixels: {needed}")
        return crop_windows(image, keypoints)

    return cut


def numbered(planned: PatchPlan, root: Path, color: bool, first_number: int) -> Read:
    """What reads patches by their numbers in an image, see `vislwir` in `tiepoint.data.published.layouts`.

    It raises InputError for a missing patch, one that is not 64x64, and one of another depth than the first.
    """

    @lru_cache(maxsize=1)  # an array stays mapped until one of another image is asked for
    def array(path: Path) -> NDArray[Any]:
        patches = open_npy(path)
        if patches.shape[1:] != (SIZE, SIZE) or patches.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{path}: holds {patches.shape} {patches.dtype}: must be (n, 64, 64), uint8 or uint16")
        return patches

    def stem_of(row: int) -> Path:
        image = planned.names[int(planned.scenes[row])].removeprefix("vislwir/")
        return root.joinpath(image, FOLDERS[int(planned.spectra[row])])

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
