"""Image sequences with known homographies to a folder in the layout of HPatches (Balntas et al., CVPR 2017).

Keypoints of image 1 give the reference patches. For each other image and each level of noise the keypoint's frame is
disturbed, as a detector would err, then carried over by the homography, and a patch is cut there.
"""

import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.data import noise
from tiepoint.data.builders.aligned import sift
from tiepoint.data.builders.aligned_pairs import facing, read_matrix
from tiepoint.data.builders.options import HomographyOptions
from tiepoint.data.readers.hpatches import NOISES, SIDE, TARGETS, HPatches
from tiepoint.errors import InputError
from tiepoint.features.extract import extract
from tiepoint.features.frames import from_opencv, perturb
from tiepoint.files import atomic_directory, write_json
from tiepoint.images.pixels import write_image
from tiepoint.images.raster import read_planes
from tiepoint.options import override
from tiepoint.types import Matrix, Progress, tracked

Frames = NDArray[np.float64]


def build_homography(
    root: str | Path,
    kinds: Mapping[str, str],
    out: str | Path,
    *,
    options: HomographyOptions | None = None,
    progress: Progress | None = None,
    **flat: Any,
) -> HPatches:
    """Cut strips of patches from image sequences and write them in the layout of HPatches.

    A sequence is a folder of `root` with the images 1.<suffix> to 6.<suffix> and text files H_1_2 to H_1_6, each the
    3x3 matrix that maps a pixel (x, y, 1) of image 1 to image k, pixel centres at integers. Patches are square in image
    1. In the others a frame is mapped by the homography's derivative at its centre, as an affine detector would find
    it. Keypoints are SIFT's, the strongest first; those with a patch, noise included, that leaves its image are
    dropped.

    `kinds` maps a sequence to "v" for a change of viewpoint or "i" of illumination; its strips go to v_<sequence>.
    `out` must not exist, `flat` gives single fields of `options`, and `progress` is called with (sequences done,
    sequences in all). Raises InputError where a sequence or one of its files is missing or damaged, or no keypoint is
    left.
    """
    settings = asdict(override(options or HomographyOptions(), flat))
    _check_kinds(root, kinds)
    with atomic_directory(out) as temporary:
        for name, kind in tracked(kinds.items(), progress, len(kinds)):
            strips = cut_sequence(Path(root) / name, **settings)
            folder = temporary / f"{kind}_{name}"
            folder.mkdir()
            for strip, patches in strips.items():
                write_image(folder / f"{strip}.png", patches.reshape(-1, SIDE))
        levels = {letter: asdict(noise.LEVELS[level]) for letter, level in NOISES.items()}
        provenance = {"builder": "tiepoint data homography", "sequences": dict(kinds), **settings, "noise": levels}
        write_json(temporary / "build.json", provenance)
    return HPatches.open(out)


def cut_sequence(
    folder: Path, *, count: int, contrast: float, min_distance: float, support: float, seed: int
) -> dict[str, NDArray[np.uint8]]:
    """The strips of one sequence, name -> patches (n, 65, 65), n at most `count`; see `build_homography`."""
    images, matrices = read_sequence(folder)
    keypoints = from_opencv(sift(images[0], contrast))
    generator = torch.Generator().manual_seed(seed ^ zlib.crc32(os.fsencode(folder.name)))
    frames = {"ref": keypoints}
    for letter, level in NOISES.items():
        for target in TARGETS:
            drawn = noise.draw(noise.LEVELS[level], len(keypoints), generator).numpy()
            frames[f"{letter}{target}"] = warp_frames(perturb(keypoints, drawn, support), matrices[target - 1])
    sources = {strip: images[0 if strip == "ref" else int(strip[1:])] for strip in frames}
    fitting = np.all([inside(frames[strip], support, sources[strip].shape) for strip in frames], axis=0)
    kept = _spread(keypoints, np.flatnonzero(fitting), min_distance, count)
    if not len(kept):
        remedy = "lower the contrast or the support, or give images that overlap more"
        raise InputError(f"{folder}: no keypoint has its patches inside all six images: {remedy}")
    return {strip: extract(sources[strip], frames[strip][kept], size=SIDE, support=support)[:, 0] for strip in frames}


def read_sequence(folder: Path) -> tuple[list[NDArray[np.uint8]], list[Matrix]]:
    """Six images of a sequence, grey, and the matrices (3, 3) from image 1 to images 2 to 6. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: a sequence has the images 1 to 6 and the files H_1_2 to H_1_6")
    images = []
    for number in range(1, len(TARGETS) + 2):
        files = sorted(folder.glob(f"{number}.*"))
        if len(files) != 1:
            raise InputError(f"{folder}/{number}.*: {len(files)} files, must be one image, such as {number}.png")
        images.append(read_planes(files[0])[0])
        if images[-1].dtype != np.uint8:
            raise InputError(f"{files[0]}: grey values are {images[-1].dtype}: strips are of 8 bits: convert it first")
    paths = [folder / f"H_1_{target + 1}" for target in TARGETS]
    return images, [facing(read_matrix(path), images[0].shape, path) for path in paths]


def warp_frames(frames: Frames, matrix: Matrix) -> Frames:
    """Frames (N, 2, 3) carried over by a homography (3, 3): [M | c] -> [J M | h(c)], J the derivative of h at c.

    Those beyond the horizon, where the third coordinate is not positive, become NaN.
    """
    mapped = np.concatenate([frames[:, :, 2], np.ones((len(frames), 1))], axis=1) @ matrix.T
    depth = np.where(mapped[:, 2] > 0, mapped[:, 2], np.nan)[:, None]
    pixels = mapped[:, :2] / depth
    derivative = (matrix[:2, :2] - pixels[:, :, None] * matrix[2, :2]) / depth[:, :, None]
    return np.concatenate([derivative @ frames[:, :, :2], pixels[:, :, None]], axis=2)


def inside(frames: Frames, support: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether all corners of each frame's patch lie on pixels of an image of `shape` (H, W); (N,)."""
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * support / 2
    points = np.einsum("nij,kj->nki", frames[:, :, :2], corners) + frames[:, None, :, 2]
    return np.asarray(((points >= -0.5) & (points <= np.array(shape[1::-1]) - 0.5)).all(axis=(1, 2)))


def _check_kinds(root: str | Path, kinds: Mapping[str, str]) -> None:
    if not kinds:
        raise InputError(f"{root}: name at least one sequence, a folder with the images 1 to 6 and H_1_2 to H_1_6")
    for name, kind in kinds.items():
        if kind not in ("v", "i"):
            raise InputError(f"sequence {name}: kind is {kind!r}, must be 'v' (viewpoint) or 'i' (illumination)")
        if Path(name).name != name:
            raise InputError(f"sequence {name}: must be the name of a folder in {root}")


def _spread(frames: Frames, rows: NDArray[np.int64], distance: float, count: int) -> NDArray[np.int64]:
    """The first `count` of `rows` that keep their distance from those before them."""
    kept: list[int] = []
    centres = frames[:, :, 2]
    for row in rows.tolist():
        if len(kept) < count and (np.linalg.norm(centres[kept] - centres[row], axis=1) >= distance).all():
            kept.append(row)
    return np.array(kept, dtype=np.int64)
