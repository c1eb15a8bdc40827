"""Images of two spectra to a PatchSet: upright patches of the same places, at the keypoints of either image.

The patch around a keypoint is 64x64 pixels of its own image, columns x - 32 .. x + 31 and rows y - 32 .. y + 31 of the
keypoint rounded to whole pixels. The other image is sampled bilinearly at the same grid, carried over by the transform,
so no image is resampled as a whole. Nothing is filtered first: images whose scales differ by more than two alias.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.builders.aligned_crop import cut, detect, project, select, usable
from tiepoint.data.builders.aligned_pairs import ScenePair, facing, find_scenes
from tiepoint.data.published.crop import crop_windows
from tiepoint.errors import InputError
from tiepoint.images.pixels import read_planes, to_unit, value_range
from tiepoint.patches import SIZE, PatchSet
from tiepoint.types import Matrix, Points

Side = Literal["first", "second"]
STEP = 8  # px between the places that are tried where no keypoint is left


def build(
    source: str | Path,
    out: str | Path,
    *,
    spectra: tuple[str, str] = ("vis", "nir"),
    keypoints: Side = "first",
    max_keypoints: int = 250,
    features: int = 3000,
    contrast: float = 0.02,
    min_distance: float = 8.0,
    border: int = 40,
    color: bool = False,
    stretch: bool = False,
    licence: str = "unknown",
    progress: Callable[[int, int], None] | None = None,
) -> PatchSet:
    """Cut patches of the same places from pairs of images and write them as a PatchSet across two spectra.

    Keypoints are SIFT's, the strongest first; one is dropped if it lies nearer than `min_distance` to one before it, in
    x and in y both, nearer than `border` to the border of its image, or if its patch leaves the other image. The
    defaults are those of the VIS-NIR patch protocol. Rows 2i and 2i + 1 are the two patches of point i. Every image is
    read twice, for its keypoints and for its patches, so that one pair at a time is in memory.

    Args:
        source: folder or table of image pairs, see `tiepoint.data.builders.aligned_pairs.find_scenes`.
        out: folder to write; must not exist.
        spectra: their names; the first takes the networks' place of vis, the second that of nir.
        keypoints: the image that is searched for them.
        max_keypoints: most of a pair.
        features: most that SIFT returns, before any is dropped; 0 for all.
        contrast: SIFT's threshold.
        min_distance: px. Even if it is 0 a pixel has one keypoint.
        border: px.
        color: store RGB instead of grey; a grey image is repeated.
        stretch: map each image's 0.1 to 99.9 percentiles to the whole range of 16 bits, as for thermal images; an 8-bit
            image is multiplied by 257. Without it that is done to 8-bit images that share a set with 16-bit ones.
        licence: of the images, recorded in the manifest.
        progress: called with (steps done, steps in all), two a pair.

    Raises:
        InputError: what `find_scenes` refuses, an image that cannot be read or is of floats without `stretch`, aligned
            images of different sizes, a transform that puts no patch inside both images, a number out of range, or no
            keypoint left in any pair.
    """
    _check(spectra, keypoints, max_keypoints, features, contrast, min_distance, border)
    scenes = find_scenes(source, spectra)
    searched = 0 if keypoints == "first" else 1
    found: list[tuple[ScenePair, Points, Matrix]] = []
    wide = False
    for done, scene in enumerate(scenes):
        images = _read(scene, color, stretch)
        matrix = facing(scene.matrix, images[0].shape, f"{scene.first} to {scene.second.name}")
        matrix = np.asarray(np.linalg.inv(matrix), dtype=np.float64) if searched else matrix
        own, other = images[searched], images[1 - searched]
        kept = select(detect(own, features, contrast), matrix, own.shape, other.shape, min_distance, border)
        if len(kept):
            found.append((scene, kept[:max_keypoints], matrix))
            wide |= any(image.dtype == np.uint16 for image in images)
        elif not scene.aligned:
            _check_overlap(scene, matrix, own.shape, other.shape, border)
        if progress:
            progress(done + 1, 2 * len(scenes))
    if not found:
        raise InputError(f"{source}: no keypoint is left in any pair: lower the contrast, the border or the distance")
    count = 2 * sum(len(points) for _, points, _ in found)
    left = {scene.name for scene, _, _ in found}
    provenance = {
        "builder": "tiepoint data aligned",
        "source": Path(source).resolve().name,
        "pairs": len(scenes),
        "without_keypoints": [scene.name for scene in scenes if scene.name not in left],
        "keypoints": keypoints, "max_keypoints": max_keypoints, "features": features, "contrast": contrast,
        "min_distance": min_distance, "border": border, "color": color, "stretch": stretch,
        "sampling": {"size": SIZE, "upright": SIZE, "interpolation": "bilinear"},
    }  # fmt: skip
    with PatchSet.create(
        out, count, channels=3 if color else 1, dtype=np.uint16 if wide else np.uint8, spectra=spectra,
        positions=True, provenance=provenance, licence=licence,
    ) as writer:  # fmt: skip
        assert writer.positions is not None
        start = 0
        for number, (scene, points, matrix) in enumerate(found):
            images = _read(scene, color, stretch)
            rows = slice(start, start + 2 * len(points))
            patches = writer.patches[rows]
            patches[searched::2] = _widen(crop_windows(images[searched], points.astype(np.int64)), wide)
            patches[1 - searched :: 2] = _widen(cut(images[1 - searched], points, matrix), wide)
            writer.positions[rows] = np.repeat(project(points, matrix) if searched else points, 2, axis=0)
            writer.images[rows] = number
            writer.image_names.append(scene.name)
            writer.release()
            start = rows.stop
            if progress:
                progress(2 * len(scenes) - len(found) + number + 1, 2 * len(scenes))
        writer.points[:] = np.arange(count) // 2
        writer.spectra[:] = np.arange(count) % 2
    return PatchSet.open(out)


def _read(scene: ScenePair, color: bool, stretch: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both images (C, H, W), uint8 or uint16."""
    images = []
    for path in (scene.first, scene.second):
        image = read_planes(path, color)
        if stretch:
            image = np.rint(to_unit(image, value_range(image)).clip(0, 1) * 65535).astype(np.uint16)
        if image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{path}: grey values are {image.dtype}: PatchSets hold 8 or 16 bits: use --stretch")
        images.append(image)
    if scene.aligned and images[0].shape != images[1].shape:
        sizes = " and ".join(f"{image.shape[2]} x {image.shape[1]}" for image in images)
        raise InputError(
            f"{scene.first} and {scene.second.name}: are {sizes} px: aligned images are of one size; "
            "give the transform of others"
        )
    return images[0], images[1]


def _widen(patches: NDArray[Any], wide: bool) -> NDArray[Any]:
    """Patches in 16 bits if `wide`: 255 becomes 65535."""
    return patches.astype(np.uint16) * 257 if wide and patches.dtype == np.uint8 else patches


def _check_overlap(
    scene: ScenePair, matrix: Matrix, own: tuple[int, ...], other: tuple[int, ...], border: int
) -> None:  # fmt: skip
    """Raise InputError where the transform, and not the lack of keypoints, leaves nothing to cut."""
    y, x = np.mgrid[border : own[1] - border : STEP, border : own[2] - border : STEP]
    places = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    if len(places) and not usable(places, matrix, own, other, border).any():
        raise InputError(
            f"{scene.first} and {scene.second.name}: their transform puts no patch inside both images: "
            "it must map pixels of the first image to the second"
        )


def _check(
    spectra: tuple[str, str], keypoints: str, max_keypoints: int, features: int, contrast: float, distance: float,
    border: int,
) -> None:  # fmt: skip
    if len(spectra) != 2 or spectra[0] == spectra[1] or not all(spectra):
        raise InputError(f"spectra are {', '.join(spectra)}: name two different ones")
    if keypoints not in ("first", "second"):
        raise InputError(f"keypoints is {keypoints!r}: must be first or second")
    limits = {
        "max_keypoints": (max_keypoints, 1, 10**6),
        "features": (features, 0, 10**7),
        "contrast": (contrast, 0, 1),
        "min_distance": (distance, 0, 1e6),
        "border": (border, SIZE // 2, 10**6),
    }
    for key, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise InputError(f"{key} is {value:g}, must be from {low:g} to {high:g}")
