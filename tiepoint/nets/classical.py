"""OpenCV's SIFT and RootSIFT as describers of patches, so that every protocol can measure them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.errors import InputError


class SIFT:
    """SIFT of a patch: one keypoint at its centre, angle 0, whose `size` makes 12 sigmas fill the patch.

    `root` takes the square root of the L1-normalised histogram (Arandjelovic and Zisserman, CVPR 2012).
    """

    dimension = 128

    def __init__(self, root: bool = False, support: float = 12.0) -> None:
        self.name = "rootsift" if root else "sift"
        self.root = root
        self.support = support
        self._sift = cv2.SIFT.create()

    def __call__(self, patches: Tensor) -> Tensor:
        """Describe `patches` (N, 1, S, S), float in 0..1 or uint8, as unit vectors (N, 128), float32."""
        if patches.ndim != 4 or patches.shape[1] != 1 or patches.shape[2] != patches.shape[3]:
            raise InputError(f"patches {tuple(patches.shape)}: {self.name} takes (N, 1, S, S)")
        if patches.is_floating_point():
            patches = (patches * 255).round().clamp(0, 255).to(torch.uint8)
        if patches.dtype != torch.uint8:
            raise InputError(f"patches are {patches.dtype}: {self.name} takes float in 0..1 or uint8")
        side = patches.shape[-1]
        centre, size = (side - 1) / 2, 2 * side / self.support
        raw = np.zeros((len(patches), self.dimension), dtype=np.float32)
        for i, patch in enumerate(patches[:, 0].cpu().numpy()):
            raw[i] = self._sift.compute(patch, [cv2.KeyPoint(centre, centre, size, 0)])[1][0]
        return torch.from_numpy(normalise(raw, self.root))


def normalise(raw: NDArray[np.float32], root: bool) -> NDArray[np.float32]:
    """Unit vectors of SIFT histograms (N, 128); a zero one, as of a constant patch, becomes uniform."""
    raw = np.where(raw.any(axis=1, keepdims=True), raw, 1.0).astype(np.float32)
    if root:
        return np.asarray(np.sqrt(raw / raw.sum(axis=1, keepdims=True)))
    norms: NDArray[np.float32] = np.linalg.norm(raw, axis=1, keepdims=True)
    return raw / norms
