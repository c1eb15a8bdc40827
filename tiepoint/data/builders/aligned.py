"""Images of two spectra to a PatchSet: upright patches of the same points, at the keypoints of either image.

The patch around a keypoint is 64x64 pixels of its own image, columns x - 32 .. x + 31 and rows y - 32 .. y + 31 of the
keypoint rounded to whole pixels. The other image is sampled bilinearly at the same grid, carried over by the transform,
so no image is resampled as a whole. Nothing is filtered first: images whose scales differ by more than two alias.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.data.builders.aligned_pairs import ScenePair, facing, find_scenes
from tiepoint.data.builders.options import AlignedOptions
from tiepoint.data.published.crop import crop_windows
from tiepoint.data.published.sets import check_spectra
from tiepoint.errors import InputError
from tiepoint.images.pixels import to_uint8, to_unit, value_range
from tiepoint.images.raster import read_planes
from tiepoint.options import override
from tiepoint.patches import SIZE, PatchSet
from tiepoint.types import Matrix, Points, Progress, tracked

Shape = tuple[int, ...]  # (C, H, W)
OFFSETS = np.arange(SIZE) - SIZE // 2  # of a patch's pixels from its keypoint
GRID = np.stack(np.meshgrid(OFFSETS, OFFSETS), axis=-1).reshape(-1, 2).astype(np.float64)  # (x, y), row by row
ROUNDING_PX = 1e-6  # by which a patch may leave the other image
STEP_PX = 8  # between the points that are tried where no keypoint is left


def build_aligned(
    source: str | Path,
    out: str | Path,
    *,
    spectra: tuple[str, str] = ("vis", "nir"),
    options: AlignedOptions | None = None,
    licence: str = "unknown",
    progress: Progress | None = None,
    **flat: Any,
) -> PatchSet:
    """Cut patches of the same points from pairs of images and write them as a PatchSet across two spectra.

    A SIFT keypoint is dropped if it lies closer than `min_distance` to a stronger one, in x and in y both, closer than
    `border` to the border of its image, or if its patch leaves the other image. Rows 2i and 2i + 1 are the two patches
    of point i. Every image is read twice, for its keypoints and for its patches, so that one pair at a time is in
    memory.

    Args:
        source: folder or table of image pairs, see `tiepoint.data.builders.aligned_pairs.find_scenes`.
        out: folder to write; must not exist.
        spectra: their names, of the first and of the second image of each pair.
        flat: fields of `options`, which they replace.
        progress: called with (steps done, steps in all), two for each pair.

    Raises:
        InputError: what `find_scenes` refuses, an image that cannot be read or is of floats without `stretch`, aligned
            images of different sizes, a transform that puts no patch inside both images, a number out of range, or no
            keypoint left in any pair.
    """
    how = override(options or AlignedOptions(), flat)
    check_spectra(spectra)
    scenes = find_scenes(source, spectra)
    searched = int(how.keypoints == "second")
    chosen: list[tuple[ScenePair, Points, Matrix]] = []
    wide = False
    for scene in tracked(scenes, progress, 2 * len(scenes)):
        images = _read(scene, how)
        matrix = facing(scene.matrix, images[0].shape, f"{scene.first} to {scene.second.name}")
        matrix = np.asarray(np.linalg.inv(matrix), dtype=np.float64) if searched else matrix
        own, other = images[searched], images[1 - searched]
        found = detect(own, how.features, how.contrast)
        kept = select(found, matrix, own.shape, other.shape, how.min_distance, how.border)
        if len(kept):
            chosen.append((scene, kept[: how.max_keypoints], matrix))
            wide |= any(image.dtype == np.uint16 for image in images)
        elif not scene.aligned:
            _check_overlap(scene, matrix, own.shape, other.shape, how.border)
    if not chosen:
        raise InputError(f"{source}: no keypoint is left in any pair: lower the contrast, the border or the distance")
    count = 2 * sum(len(points) for _, points, _ in chosen)
    left = {scene.name for scene, _, _ in chosen}
    provenance = {
        "builder": "tiepoint data aligned",
        "source": Path(source).resolve().name,
        "pairs": len(scenes),
        "without_keypoints": [scene.name for scene in scenes if scene.name not in left],
        **asdict(how),
        "sampling": {"size": SIZE, "upright": SIZE, "interpolation": "bilinear"},
    }
    with PatchSet.create(
        out, count, channels=3 if how.color else 1, dtype=np.uint16 if wide else np.uint8, spectra=spectra,
        positions=True, provenance=provenance, licence=licence,
    ) as writer:  # fmt: skip
        steps = 2 * len(scenes)
        for scene, points, matrix in tracked(chosen, progress, steps, before=steps - len(chosen)):
            images = _read(scene, how)
            own = _widen(crop_windows(images[searched], points.astype(np.int64)), wide)
            other = _widen(cut(images[1 - searched], points, matrix), wide)
            patches = np.stack([other, own] if searched else [own, other], axis=1).reshape(-1, *own.shape[1:])
            positions = np.repeat(project(points, matrix) if searched else points, 2, axis=0)
            writer.append(patches, scene.name, positions=positions)
        writer.fill(points=np.arange(count) // 2, spectra=np.arange(count) % 2)
    return PatchSet.open(out)


def _read(scene: ScenePair, how: AlignedOptions) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both images (C, H, W), uint8 or uint16."""
    images = []
    for path in (scene.first, scene.second):
        image = read_planes(path, color=how.color)
        if how.stretch:
            image = np.rint(to_unit(image, value_range(image)).clip(0, 1) * 65535).astype(np.uint16)
        if image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{path}: grey values are {image.dtype}: PatchSets hold 8 or 16 bits: use --stretch")
        images.append(image)
    if scene.aligned and images[0].shape != images[1].shape:
        sizes = " and ".join(f"{image.shape[2]} x {image.shape[1]}" for image in images)
        needed = "aligned images are of one size; give the transform of others"
        raise InputError(f"{scene.first} and {scene.second.name}: are {sizes} px: {needed}")
    return images[0], images[1]


def _widen(patches: NDArray[Any], wide: bool) -> NDArray[Any]:
    """Patches in 16 bits if `wide`: 255 becomes 65535."""
    return patches.astype(np.uint16) * 257 if wide and patches.dtype == np.uint8 else patches


def _check_overlap(scene: ScenePair, matrix: Matrix, own: Shape, other: Shape, border: int) -> None:
    """Raise InputError where the transform, and not the lack of keypoints, leaves nothing to cut."""
    y, x = np.mgrid[border : own[1] - border : STEP_PX, border : own[2] - border : STEP_PX]
    points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    if len(points) and not fits_both(points, matrix, own, other, border).any():
        fault = "their transform puts no patch inside both images: it must map pixels of the first image to the second"
        raise InputError(f"{scene.first} and {scene.second.name}: {fault}")


def detect(image: NDArray[Any], features: int, contrast: float) -> Points:
    """SIFT keypoints (N, 2) of an image (C, H, W), rounded to pixels, by falling response."""
    grey = to_uint8(image[0] if len(image) == 1 else cv2.cvtColor(np.dstack(list(image)), cv2.COLOR_RGB2GRAY))
    return np.rint(np.array([k.pt for k in sift(grey, contrast, features)], dtype=np.float64).reshape(-1, 2))


def sift(grey: NDArray[np.uint8], contrast: float, features: int = 0) -> list[cv2.KeyPoint]:
    """SIFT keypoints of an image (H, W) by falling response, at most `features` unless that is 0."""
    # Without the precise upscale every keypoint is 0.24 px off in x and y.
    keypoints = cv2.SIFT.create(features, contrastThreshold=contrast, enable_precise_upscale=True).detect(grey, None)
    return sorted(keypoints, key=lambda k: (-k.response, k.pt[1], k.pt[0], k.size, k.angle))


def select(points: Points, matrix: Matrix, own: Shape, other: Shape, min_distance: float, border: int) -> Points:
    """The points (N, 2), whole pixels, that fit both images and are `min_distance` px in x or y from kept ones."""
    points = points[fits_both(points, matrix, own, other, border)]
    reach = max(int(np.ceil(min_distance)) - 1, 0)  # |dx| < min_distance, dx whole
    taken = np.zeros(own[1:], dtype=bool)
    kept = []
    for row, (x, y) in enumerate(points.astype(np.int64).tolist()):
        if not taken[y, x]:
            kept.append(row)
            taken[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    return points[kept]


def fits_both(points: Points, matrix: Matrix, own: Shape, other: Shape, border: int) -> NDArray[np.bool_]:
    """Whether each point (N, 2) of the image `own` (C, H, W) keeps its border and has its whole patch in the other."""
    inside = ((points >= border) & (points <= np.array(own[:0:-1]) - 1 - border)).all(axis=1)
    corners = np.array([[x, y] for x in OFFSETS[[0, -1]] for y in OFFSETS[[0, -1]]], dtype=np.float64)
    mapped = project((points[:, None] + corners).reshape(-1, 2), matrix).reshape(-1, 4, 2)
    last = np.array(other[:0:-1]) - 1
    within = ((mapped >= -ROUNDING_PX) & (mapped <= last + ROUNDING_PX)).all(axis=(1, 2))
    return np.asarray(inside & within)


def cut(image: NDArray[Any], points: Points, matrix: Matrix) -> NDArray[Any]:
    """Patches (N, C, 64, 64) of an image (C, H, W): the grid around each point (N, 2), mapped by `matrix` (3, 3).

    Not by OpenCV's remap, which rounds coordinates to 1/32 px and takes no image wider than 32767 px.
    """
    last = np.array(image.shape[:0:-1]) - 1
    patches = np.empty((len(points), len(image), SIZE, SIZE), dtype=image.dtype)
    for patch, point in zip(patches, points, strict=True):
        where = project(point + GRID, matrix).clip(0, last)
        low = np.floor(where).astype(np.int64)
        (left, top), (right, bottom) = low.T, np.minimum(low + 1, last).T
        a, b = (where - low).T
        above = image[:, top, left] * (1 - a) + image[:, top, right] * a
        below = image[:, bottom, left] * (1 - a) + image[:, bottom, right] * a
        patch[:] = np.rint(above * (1 - b) + below * b).reshape(-1, SIZE, SIZE)
    return patches


def project(points: Points, matrix: Matrix) -> Points:
    """Points (N, 2) mapped by a homography (3, 3); NaN beyond the horizon, that is with no third coordinate above 0."""
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    pixels: Points = mapped[:, :2] / np.where(mapped[:, 2:] > 0, mapped[:, 2:], np.nan)
    return pixels
