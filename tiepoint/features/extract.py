"""Patches at frames, free of aliasing.

Each patch is sampled bilinearly from the level of a Gaussian pyramid whose pixels are at least as far apart as the
patch's samples, so no frequency above the patch's own Nyquist limit folds back. Beyond the image the border pixel is
repeated.

Two backends sample the same pyramid at the same places: OpenCV patch by patch over threads, and torch (see
`tiepoint.features.extract_torch`) a chunk of patches at a time on any device. OpenCV before 5.0 rounds places to 1/32
px.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features.sampling_plan import Plan, planes_of

BACKENDS = ("auto", "opencv", "torch")
MAX_THREADS = 8
MIN_PATCHES_PER_THREAD = 256  # patches that make a thread worth its start
MAX_SIDE_PX = 32766  # side of an image that warpAffine takes


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
    """Cut a patch at each frame: (N, C, size, size) of the image's dtype.

    Memory: the patches, and the image's pyramid, a third more than the image (with torch, six bytes a pixel and band on
    the device). For patches that stay on the device see `extract_torch.sample`.

    Args:
        image: (H, W) or (C, H, W), uint8, uint16 or float32; with OpenCV C is at most 4.
        frames: (N, 2, 3), see `tiepoint.features.frames`.
        size, support: side of a patch in samples and in sigmas.
        backend: "opencv", "torch", or "auto": OpenCV on the CPU, torch on other devices.
        device: of torch.
        threads: of OpenCV, if there are patches enough; None for as many as it would use itself.

    Raises InputError for an image that is empty, of another type or shape, frames that are not finite, or another
    backend.
    """
    planes = planes_of(image, frames)
    if backend not in BACKENDS:
        raise InputError(f"no backend {backend!r}: there are {', '.join(BACKENDS)}")
    if backend == "torch" or (backend == "auto" and device != "cpu"):
        from tiepoint.features.extract_torch import DTYPES, sample

        # Whole numbers at once on the CPU, where float32 would take four times as much; few devices know uint16.
        kind = DTYPES[image.dtype.name if device == "cpu" else "float32"]
        cut = sample(planes, frames, size=size, support=support, device=device, dtype=kind).cpu().numpy()
        return np.asarray(cut if cut.dtype == image.dtype else np.rint(cut), dtype=image.dtype)
    return _by_opencv(planes, Plan.of(planes, frames, size, support), size, threads)


def _by_opencv(planes: NDArray[Any], plan: Plan, size: int, threads: int | None) -> NDArray[Any]:
    patches = np.empty((len(plan.levels), size, size, len(planes)), dtype=planes.dtype)
    order = np.argsort(plan.levels, kind="stable")
    levels = plan.levels.tolist()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def cut(rows: NDArray[np.int64]) -> None:
        for i in rows.tolist():
            source, matrix = _fitting(plan.pyramid[levels[i]], plan.matrices[i], size)
            cv2.warpAffine(source, matrix, (size, size), dst=patches[i], flags=flags, borderMode=cv2.BORDER_REPLICATE)

    wanted = min(MAX_THREADS, cv2.getNumThreads()) if threads is None else threads
    parts = max(1, min(wanted, len(order) // MIN_PATCHES_PER_THREAD))
    if parts == 1:
        cut(order)
    else:
        with ThreadPoolExecutor(parts) as pool:  # warpAffine lets go of Python's lock
            list(pool.map(cut, np.array_split(order, parts)))
    return np.ascontiguousarray(patches.transpose(0, 3, 1, 2))


def _fitting(level: NDArray[Any], matrix: NDArray[np.float64], size: int) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The level and the matrix, or of a level that warpAffine cannot take, the part around the patch."""
    if max(level.shape[:2]) <= MAX_SIDE_PX:
        return level, matrix
    ends = np.array([0.0, size - 1.0])
    corners = matrix[:, 0, None, None] * ends + matrix[:, 1, None, None] * ends[:, None] + matrix[:, 2, None, None]
    limits = np.array(level.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=(1, 2))) - 1, 0, limits - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=(1, 2))) + 2, low + 1, limits).astype(int)
    return level[low[1] : high[1], low[0] : high[0]], matrix - np.column_stack([np.zeros((2, 2)), low])
