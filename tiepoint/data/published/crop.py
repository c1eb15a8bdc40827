"""From index files and the images they name to a PatchSet: each patch is cut once, however many pairs name it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.published.index import MAX_COORDINATE, CrossIndex
from tiepoint.errors import InputError
from tiepoint.images.raster import read_planes
from tiepoint.patches import SIZE, PatchSet
from tiepoint.types import Progress

HALF = SIZE // 2  # a patch is the rows y - 32 to y + 31 and the columns x - 32 to x + 31 of its keypoint
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")


def find_image(path: Path) -> Path | None:
    """The file at `path`, or the one beside it with the same stem and the suffix of an image; None without one."""
    if path.is_file():
        return path
    stem = path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
    return next((file for suffix in SUFFIXES if (file := stem.with_name(stem.name + suffix)).is_file()), None)


def crop_windows(image: NDArray[Any], keypoints: NDArray[np.int64]) -> NDArray[Any]:
    """Patches (N, C, 64, 64) of an image (C, H, W) at keypoints (N, 2) that are far enough from its border."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (SIZE, SIZE), axis=(1, 2))
    cut: NDArray[Any] = windows[:, keypoints[:, 1] - HALF, keypoints[:, 0] - HALF].swapaxes(0, 1)
    return cut


_BLOCK = 1024  # patches that are cut at once
_RADIX = MAX_COORDINATE + 1
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class LocatedIndex:
    """An index and, for each image name of either side, its scene and its file."""

    index: CrossIndex
    scenes: tuple[list[str], list[str]]
    files: tuple[list[Path], list[Path]]


@dataclass(frozen=True)
class PatchPlan:
    """The patches to cut, by scene, then keypoint, then spectrum, and the pairs of them.

    Attributes:
        scenes: (N,) indices into `names`.
        names: of the scenes.
        keypoints: (N, 2) px.
        spectra: (N,) 0 or 1.
        points: (N,) ids, one for each keypoint of a scene.
        pairs: (M, 3) rows and labels.
        sources: (M,) which index a pair comes from.
        numbers: (M,) its row in that index.
    """

    scenes: Ids
    names: list[str]
    keypoints: Ids
    spectra: Ids
    points: Ids
    pairs: Ids
    sources: Ids
    numbers: Ids


def locate(
    index: CrossIndex,
    scene_of: Callable[[int, str], str],
    candidates: Callable[[int, str], Sequence[Path]],
) -> LocatedIndex:
    """Find the images of an index.

    Args:
        index: the pairs.
        scene_of: (side, name) -> the scene's name, the same for both images of a pair of images.
        candidates: (side, name) -> paths where the image may be; one whose suffix is missing or another is found too.

    Raises:
        InputError: names the line whose image is at none of its paths.
    """
    scenes: tuple[list[str], list[str]] = ([], [])
    files: tuple[list[Path], list[Path]] = ([], [])
    for number, side in enumerate((index.first, index.second)):
        for image, name in enumerate(side.names):
            paths = candidates(number, name)
            image_file = next((file for file in map(find_image, paths) if file), None)
            if image_file is None:
                line = index.where(int(np.argmax(side.images == image)))
                tried = " or ".join(str(path) for path in paths)
                raise InputError(f"{line}: its image {tried} is missing: put the images where the index names them")
            scenes[number].append(scene_of(number, name))
            files[number].append(image_file)
    return LocatedIndex(index, scenes, files)


def plan(located: Sequence[LocatedIndex]) -> PatchPlan:
    """List each patch once. A point is a keypoint of a scene, so the patches of a match share its id.

    Raises:
        InputError: a match of two keypoints, or a non-match of one.
    """
    numbers: dict[str, int] = {}
    keys: list[Ids] = []
    for part in located:
        both = []
        for side, scenes in zip((part.index.first, part.index.second), part.scenes, strict=True):
            table = np.array([numbers.setdefault(scene, len(numbers)) for scene in scenes], dtype=np.int64)
            x, y = side.locations.T.astype(np.int64)
            both.append((table[side.images] * _RADIX + y) * _RADIX + x)
        check_labels(part.index, both[0] == both[1])
        keys.append(np.stack(both, axis=1) * 2 + [0, 1])
    patches, rows = np.unique(np.concatenate(keys), return_inverse=True)
    keypoints = patches // 2
    labels = np.concatenate([part.index.labels for part in located])
    return PatchPlan(
        scenes=keypoints // _RADIX**2,
        names=list(numbers),
        keypoints=np.stack([keypoints % _RADIX, keypoints // _RADIX % _RADIX], axis=1),
        spectra=patches % 2,
        points=np.unique(keypoints, return_inverse=True)[1],
        pairs=np.column_stack([rows.reshape(-1, 2), labels]),
        sources=np.repeat(np.arange(len(located)), [len(part.index) for part in located]),
        numbers=np.concatenate([np.arange(len(part.index)) for part in located]),
    )


def check_labels(index: CrossIndex, same: NDArray[np.bool_]) -> None:
    """Raise InputError at the first pair whose label is not whether it shows the same point, `same` (M,)."""
    wrong = np.flatnonzero(same != index.labels)
    if len(wrong):
        said = "match, but lie at two keypoints" if index.labels[wrong[0]] else "do not match, but are of one point"
        more = f" (and {len(wrong) - 1} more lines like it)" if len(wrong) > 1 else ""
        raise InputError(f"{index.where(int(wrong[0]))}: says that two patches {said}{more}: correct or remove it")


def cut_patch_set(
    located: Sequence[LocatedIndex],
    out: str | Path,
    spectra: Sequence[str],
    *,
    color: bool,
    licence: str,
    provenance: dict[str, Any],
    progress: Progress | None,
) -> PatchSet:
    """Cut and write the patches, two images in memory at a time.

    Args:
        located: the indices and their images.
        out: folder to write; must not exist.
        spectra: names of the two.
        color: store RGB instead of grey.
        licence: recorded in the manifest.
        provenance: recorded in the manifest.
        progress: called with (patches done, patches in all).

    Raises:
        InputError: what `plan` refuses, an image that cannot be read, that is neither uint8 nor uint16 or not of the
            first image's depth, and a keypoint whose patch leaves its image.
    """
    planned = plan(located)
    files = _files(located)
    count = len(planned.points)
    opened = files[int(planned.spectra[0]), planned.names[int(planned.scenes[0])]]
    dtype = read_planes(opened, color=color, orient=False, floats=False).dtype
    with PatchSet.create(
        out, count, channels=3 if color else 1, dtype=dtype, spectra=spectra, positions=True, pairs=len(planned.pairs),
        provenance={**provenance, "crop": f"rows y - {HALF} to y + {HALF - 1}, columns x alike", "color": color},
        licence=licence,
    ) as writer:  # fmt: skip
        assert writer.positions is not None
        assert writer.pairs is not None
        bounds = np.searchsorted(planned.scenes, np.arange(len(planned.names) + 1))
        for scene, name in enumerate(planned.names):
            rows = np.arange(bounds[scene], bounds[scene + 1])
            for side in (0, 1):
                own = rows[planned.spectra[rows] == side]
                if not len(own):
                    continue
                image = read_planes(files[side, name], color=color, orient=False, floats=False)
                if image.dtype != dtype:
                    raise InputError(
                        f"{files[side, name]}: is {image.dtype}, {opened} is {dtype}: give images of one depth"
                    )
                _check_inside(located, planned, own, image.shape, files[side, name])
                for start in range(0, len(own), _BLOCK):
                    some = own[start : start + _BLOCK]
                    writer.patches[some] = crop_windows(image, planned.keypoints[some])
            writer.release()
            if progress:
                progress(int(bounds[scene + 1]), count)
        writer.points[:] = planned.points
        writer.images[:] = planned.scenes
        writer.image_names += planned.names
        writer.spectra[:] = planned.spectra
        writer.positions[:] = planned.keypoints
        writer.pairs[:] = planned.pairs
    return PatchSet.open(out)


def _files(located: Sequence[LocatedIndex]) -> dict[tuple[int, str], Path]:
    """The file of each side and scene. Raises InputError where two names of one side are one scene's."""
    files: dict[tuple[int, str], Path] = {}
    for part in located:
        for side in (0, 1):
            for scene, file in zip(part.scenes[side], part.files[side], strict=True):
                if files.setdefault((side, scene), file) != file:
                    other = files[side, scene]
                    raise InputError(f"{part.index.path}: {other} and {file.name} are one scene, {scene}: rename one")
    return files


def _check_inside(
    located: Sequence[LocatedIndex], planned: PatchPlan, rows: Ids, shape: tuple[int, ...], file: Path
) -> None:
    """Raise InputError at the first of `rows`, all of one image, whose patch leaves the image of `shape` (C, H, W)."""
    height, width = shape[1:]
    keypoints = planned.keypoints[rows]
    outside = ((keypoints < HALF) | (keypoints > np.array([width, height]) - HALF)).any(axis=1)
    if outside.any():
        row = int(rows[np.argmax(outside)])
        pair = int(np.argmax((planned.pairs[:, :2] == row).any(axis=1)))
        line = located[planned.sources[pair]].index.where(int(planned.numbers[pair]))
        x, y = planned.keypoints[row]
        raise InputError(
            f"{line}: the patch at x = {x}, y = {y} leaves {file}, {width} x {height} pixels: "
            f"x and y must be from {HALF} to the width and height less {HALF}"
        )
