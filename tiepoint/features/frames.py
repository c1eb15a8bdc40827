"""Local affine frames, and the border where other libraries' keypoint conventions end.

Convention: an image's pixel centres are at integers, x right, y down. A frame is a 2x3 matrix [M | c] that maps the
unit square's axes and centre to pixels: c is the keypoint, M's columns are one sigma long, so a patch of `support`
sigmas shows the points c + support * M u with u in [-1/2, 1/2]^2. Angles are radians, counter-clockwise as seen on the
screen; angle 0 looks right. This module and `extract` import numpy and OpenCV alone, so every room may use them.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray


def compose(centres: ArrayLike, sigmas: ArrayLike, angles: ArrayLike) -> NDArray[np.float64]:
    """Frames (N, 2, 3) of keypoints with centres (N, 2) in pixels, sigmas (N,) in pixels and angles (N,) in radians."""
    sigma, angle = np.asarray(sigmas, dtype=np.float64), np.asarray(angles, dtype=np.float64)
    cos, sin = sigma * np.cos(angle), sigma * np.sin(angle)
    x, y = np.asarray(centres, dtype=np.float64).reshape(-1, 2).T
    # y points down: counter-clockwise on the screen is -sin in rows.
    return np.stack([cos, sin, x, -sin, cos, y], axis=1).reshape(-1, 2, 3)


def upright_frames(points: ArrayLike, width: float, support: float = 12.0) -> NDArray[np.float64]:
    """Frames (N, 2, 3) of patches `width` px wide and of angle 0 at `points` (N, 2), for describers of such patches.

    Sample i of `size` samples sits (i + 1/2) / size of the width from the left: an even number of samples one pixel
    apart falls on pixels where a point lies half-way between them, and is interpolated at a whole pixel. The frames
    will be cut with the `support` of the describer, in sigmas.
    """
    centres = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return compose(centres, np.full(len(centres), width / support), np.zeros(len(centres)))


def sigmas(frames: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale of each frame (N,) in pixels: the square root of its area."""
    return np.asarray(np.sqrt(np.abs(np.linalg.det(frames[:, :, :2].astype(np.float64)))))


def angles(frames: NDArray[np.floating]) -> NDArray[np.float64]:
    """Orientation of each frame's x axis (N,), radians, counter-clockwise as seen, in (-pi, pi]."""
    return np.asarray(np.arctan2(-frames[:, 1, 0].astype(np.float64), frames[:, 0, 0].astype(np.float64)))


def from_opencv(keypoints: Sequence[cv2.KeyPoint]) -> NDArray[np.float64]:
    """Frames of OpenCV keypoints: `size` is 2 sigma, `angle` degrees clockwise as seen (-1: none, taken as 0)."""
    table = np.array([(*k.pt, k.size / 2, k.angle) for k in keypoints], dtype=np.float64).reshape(-1, 4)
    degrees = np.where(table[:, 3] < 0, 0.0, table[:, 3])
    return compose(table[:, :2], table[:, 2], -np.deg2rad(degrees))


def from_colmap(keypoints: NDArray[np.floating]) -> NDArray[np.float64]:
    """Frames of COLMAP keypoints: (N, 6) x, y, a11, a12, a21, a22 or (N, 4) x, y, scale, orientation.

    COLMAP puts the centre of the top-left pixel at (0.5, 0.5); the affine shape's first column is as long as SIFT's
    sigma, and the orientation turns from x to y, clockwise as seen.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.ndim != 2 or keypoints.shape[1] not in (4, 6):
        raise ValueError(f"COLMAP keypoints have 4 or 6 columns, not shape {keypoints.shape}")
    centres = keypoints[:, :2] - 0.5
    if keypoints.shape[1] == 4:
        return compose(centres, keypoints[:, 2], -keypoints[:, 3])
    return np.concatenate([keypoints[:, 2:].reshape(-1, 2, 2), centres[:, :, None]], axis=2)


def to_opencv(frames: NDArray[np.floating], responses: ArrayLike | None = None) -> tuple[cv2.KeyPoint, ...]:
    """OpenCV keypoints of frames (N, 2, 3): `size` is 2 sigma, `angle` degrees clockwise as seen in [0, 360).

    The affine shape is lost but for its scale and the orientation of its x axis. `responses` (N,) are kept if given.
    """
    strengths = np.zeros(len(frames)) if responses is None else np.asarray(responses, dtype=np.float64)
    degrees = np.rad2deg(-angles(frames)) % 360
    table = np.column_stack([frames[:, :, 2], 2 * sigmas(frames), degrees, strengths]).tolist()
    return tuple(cv2.KeyPoint(*row) for row in table)


def to_colmap(frames: NDArray[np.floating], columns: int = 6) -> NDArray[np.float32]:
    """COLMAP keypoints of frames (N, 2, 3): see `from_colmap`, which is the inverse.

    Six columns keep the affine shape, four its scale and orientation alone. float32, as COLMAP stores them.
    """
    if columns not in (4, 6):
        raise ValueError(f"COLMAP keypoints have 4 or 6 columns, not {columns}")
    centres = frames[:, :, 2] + 0.5
    shape = frames[:, :, :2].reshape(-1, 4) if columns == 6 else np.column_stack([sigmas(frames), -angles(frames)])
    return np.hstack([centres, shape]).astype(np.float32)


def from_laf(lafs: NDArray[np.floating], support: float = 12.0) -> NDArray[np.float64]:
    """Frames of kornia's local affine frames (N, 2, 3), whose columns are half a side of a patch long.

    Pixel centres, axes and orientation are ours. `support` is the side of the patch in sigmas.
    """
    return _scale_axes(lafs, 2 / support)


def to_laf(frames: NDArray[np.floating], support: float = 12.0) -> NDArray[np.float64]:
    """kornia's local affine frames (N, 2, 3) of patches `support` sigmas wide at `frames`: see `from_laf`."""
    return _scale_axes(frames, support / 2)


def _scale_axes(frames: NDArray[np.floating], factor: float) -> NDArray[np.float64]:
    scaled = np.array(frames, dtype=np.float64)
    scaled[:, :, :2] *= factor
    return scaled


def carry(frames: NDArray[np.floating], matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """Frames (N, 2, 3) in the pixels to which the affine map `matrix` (3, 3) takes theirs."""
    mapped = np.asarray(matrix[:2, :2] @ frames, dtype=np.float64)
    mapped[:, :, 2] += matrix[:2, 2]
    return mapped


def perturb(frames: NDArray[np.floating], noise: NDArray[np.floating], support: float = 12.0) -> NDArray[np.float64]:
    """Frames after noise (N, 2, 3) [A | t] in units of the patch: u -> A u + t, t in sides of the patch."""
    axes = frames[:, :, :2].astype(np.float64)
    moved = np.einsum("nij,nj->ni", support * axes, noise[:, :, 2]) + frames[:, :, 2]
    return np.concatenate([axes @ noise[:, :, :2], moved[:, :, None]], axis=2)
