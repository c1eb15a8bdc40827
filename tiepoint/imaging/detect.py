"""SIFT keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.imaging.frames import from_opencv
from tiepoint.imaging.io import to_uint8


@dataclass(frozen=True)
class Keypoints:
    """Keypoints by falling response.

    Attributes:
        frames: (N, 2, 3), see `tiepoint.imaging.frames`.
        responses: (N,) float32, the detector's contrast.
        opencv: the same keypoints as OpenCV holds them; its own descriptors need their octaves.
    """

    frames: NDArray[np.float64]
    responses: NDArray[np.float32]
    opencv: tuple[cv2.KeyPoint, ...]

    def __len__(self) -> int:
        return len(self.frames)


def sift(contrast_threshold: float = 0.01) -> cv2.SIFT:
    """OpenCV's SIFT with the precise upscale; without it every keypoint is 0.24 px off in x and y."""
    return cv2.SIFT.create(contrastThreshold=contrast_threshold, enable_precise_upscale=True)


def detect(image: NDArray[Any], *, max_keypoints: int = 8000, contrast_threshold: float = 0.01) -> Keypoints:
    """Detect SIFT keypoints (Lowe, IJCV 2004).

    A point with several orientations gives several keypoints. 16-bit and float images are stretched to 8 bits for the
    detector alone.

    Args:
        image: (H, W), uint8, uint16 or float32.
        max_keypoints: how many to keep, the strongest first.
        contrast_threshold: lowest response; lower it for images of little contrast.
    """
    found = sift(contrast_threshold).detect(to_uint8(image), None)
    table = np.array([(-k.response, k.pt[1], k.pt[0], k.size, k.angle) for k in found]).reshape(-1, 5)
    order = np.lexsort(table.T[::-1])[:max_keypoints]
    kept = tuple(found[i] for i in order)
    return Keypoints(from_opencv(kept), np.array([k.response for k in kept], dtype=np.float32), kept)
