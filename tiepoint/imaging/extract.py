"""Patches at frames, free of aliasing.

Each patch is sampled bilinearly from the level of a Gaussian pyramid whose pixels are at least as far apart as the
patch's samples, so no frequency above the patch's own Nyquist limit folds back. Beyond the image the border pixel is
repeated.

Two backends sample the same pyramid at the same places: OpenCV patch by patch over threads, and torch (see
`tiepoint.imaging.extract_torch`) a chunk of patches at a time on any device. OpenCV before 5.0 rounds places to 1/32
px.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError

BACKENDS = ("auto", "opencv", "torch")
THREADS = 8
PER_THREAD = 256  # patches that make a thread worth its start
LARGEST = 32766  # side of an image that warpAffine takes


def extract(
    image: NDArray[Any],
    frames: NDArray[np.floating],
    *,
    size: int = 64,
    support: float = 12.0,
    backend: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> NDArray[Any]:
    """Cut a patch at each frame.

    Memory: the patches, and the image's pyramid, a third more than the image (with torch, six bytes a pixel and band on
    the device). For patches that stay on the device see `extract_torch.sample`.

    Args:
        image: (H, W) or (C, H, W), uint8, uint16 or float32; with OpenCV C is at most 4.
        frames: (N, 2, 3), see `tiepoint.imaging.frames`.
        size: side of a patch in samples.
        support: side of a patch in sigmas.
        backend: "opencv", "torch", or "auto": OpenCV on the CPU, torch on other devices.
        device: of torch.
        threads: of the OpenCV backend, if there are patches enough; None for as many as OpenCV itself would use.

    Returns:
        (N, C, size, size) of the image's dtype.

    Raises:
        InputError: an image that is empty, of another type or shape, frames that are not finite, or another backend.
    """
    planes = _planes(image, frames)
    if backend not in BACKENDS:
        raise InputError(f"no backend {backend!r}: there are {', '.join(BACKENDS)}")
    if backend == "torch" or (backend == "auto" and device != "cpu"):
        from tiepoint.imaging.extract_torch import DTYPES, sample  # not above: loading torch takes a second

        # Whole numbers at once on the CPU, where float32 would take four times as much; few devices know uint16.
        kind = DTYPES[image.dtype.name if device == "cpu" else "float32"]
        cut = sample(planes, frames, size=size, support=support, device=device, dtype=kind).cpu().numpy()
        return np.asarray(cut if cut.dtype == image.dtype else np.rint(cut), dtype=image.dtype)
    return _by_opencv(planes, Plan.of(planes, frames, size, support), size, threads)


@dataclass(frozen=True)
class Plan:
    """Where the samples of patches lie in a pyramid.

    Attributes:
        pyramid: levels (H, W, C) of the image's dtype, each half the one before, whose pixel 2i is its pixel i.
        levels: (N,) the level of each patch.
        matrices: (N, 2, 3), map sample (column, row, 1) to x and y in pixels of its level.
    """

    pyramid: list[NDArray[Any]]
    levels: NDArray[np.int64]
    matrices: NDArray[np.float64]

    @classmethod
    def of(cls, planes: NDArray[Any], frames: NDArray[np.floating], size: int, support: float) -> Plan:
        """The plan of patches at `frames` (N, 2, 3) of an image (C, H, W)."""
        axes = frames[:, :, :2].astype(np.float64) * (support / size)
        # Sample i sits at u = (i + 1/2) / size - 1/2 of the patch's side.
        origins = frames[:, :, 2] - (size - 1) / 2 * axes.sum(axis=2)
        steps = np.linalg.norm(axes, ord=2, axis=(1, 2))
        levels = np.ceil(np.log2(np.maximum(steps, 1.0)) - 1e-6).astype(np.int64)
        pyramid = [np.ascontiguousarray(planes.transpose(1, 2, 0))]
        while len(pyramid) <= levels.max(initial=0) and max(pyramid[-1].shape[:2]) > 1:
            smaller = cv2.pyrDown(pyramid[-1], borderType=cv2.BORDER_REPLICATE)
            pyramid.append(smaller.reshape(*smaller.shape[:2], -1))
        levels = np.minimum(levels, len(pyramid) - 1)
        matrices = np.concatenate([axes, origins[:, :, None]], axis=2) / 2.0 ** levels[:, None, None]
        return cls(pyramid, levels, matrices)


def _by_opencv(planes: NDArray[Any], plan: Plan, size: int, threads: int | None) -> NDArray[Any]:
    patches = np.empty((len(plan.levels), size, size, len(planes)), dtype=planes.dtype)
    order = np.argsort(plan.levels, kind="stable")
    levels = plan.levels.tolist()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def cut(rows: NDArray[np.int64]) -> None:
        for i in rows.tolist():
            source, matrix = _fitting(plan.pyramid[levels[i]], plan.matrices[i], size)
            cv2.warpAffine(source, matrix, (size, size), dst=patches[i], flags=flags, borderMode=cv2.BORDER_REPLICATE)

    wanted = min(THREADS, cv2.getNumThreads()) if threads is None else threads
    parts = max(1, min(wanted, len(order) // PER_THREAD))
    if parts == 1:
        cut(order)
    else:
        with ThreadPoolExecutor(parts) as pool:  # warpAffine lets go of Python's lock
            list(pool.map(cut, np.array_split(order, parts)))
    return np.ascontiguousarray(patches.transpose(0, 3, 1, 2))


def _fitting(level: NDArray[Any], matrix: NDArray[np.float64], size: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The level and the matrix, or of a level that warpAffine cannot take, the part around the patch."""
    if max(level.shape[:2]) <= LARGEST:
        return level, matrix
    ends = np.array([0.0, size - 1.0])
    corners = matrix[:, 0, None, None] * ends + matrix[:, 1, None, None] * ends[:, None] + matrix[:, 2, None, None]
    limits = np.array(level.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=(1, 2))) - 1, 0, limits - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=(1, 2))) + 2, low + 1, limits).astype(int)
    return level[low[1] : high[1], low[0] : high[0]], matrix - np.column_stack([np.zeros((2, 2)), low])


def _planes(image: NDArray[Any], frames: NDArray[np.floating]) -> NDArray[Any]:
    """The image as (C, H, W), after a check of both."""
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"image must be uint8, uint16 or float32, not {image.dtype}")
    if image.ndim not in (2, 3) or image.size == 0:
        raise InputError(f"image has shape {image.shape}: give (H, W) or (C, H, W) with at least a pixel")
    if frames.ndim != 3 or frames.shape[1:] != (2, 3):
        raise InputError(f"frames have shape {frames.shape}: give (N, 2, 3)")
    bad = np.flatnonzero(~np.isfinite(frames).all(axis=(1, 2)))
    if len(bad):
        raise InputError(f"frame {bad[0]} is not finite: leave out keypoints with NaN or infinity")
    return image if image.ndim == 3 else image[None]
