"""OpenCV's SIFT and RootSIFT as describers, of patches and of keypoints on an image."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.models.describer import Describer
from tiepoint.nets.inputs import check_shape, prepare


class SIFT(Describer):
    """SIFT of a patch: one keypoint at its centre, angle 0, whose `size` makes 12 sigmas fill the patch.

    `root` takes the square root of the L1-normalised histogram (Arandjelovic and Zisserman, CVPR 2012).
    """

    dimension = 128
    on_image = True

    def __init__(self, root: bool = False, support: float = 12.0) -> None:
        super().__init__()
        self.name = "rootsift" if root else "sift"
        self.root = root
        self.support = support
        self._sift = cv2.SIFT.create()
        self._on_image = cv2.SIFT.create(enable_precise_upscale=True)  # as keypoints are detected

    def describe(self, patches: Tensor) -> Tensor:
        """Describe `patches` (N, 1, S, S), float in 0..1, uint8 or uint16, as unit vectors (N, 128), float32."""
        check_shape(patches, self.name)
        side = patches.shape[-1]
        centre, size = (side - 1) / 2, 2 * side / self.support
        raw = np.zeros((len(patches), self.dimension), dtype=np.float32)
        for i, patch in enumerate(grey_levels(patches, side)):
            raw[i] = self._sift.compute(patch, [cv2.KeyPoint(centre, centre, size, 0)])[1][0]
        return torch.from_numpy(normalise(raw, self.root))

    def describe_keypoints(self, image: NDArray[np.uint8], keypoints: Sequence[cv2.KeyPoint]) -> NDArray[np.float32]:
        """Describe keypoints as OpenCV does, in the image's own pyramid: unit vectors (N, 128)."""
        raw = self._on_image.compute(image, keypoints)[1]
        return normalise(np.asarray(raw, dtype=np.float32), self.root)


def grey_levels(patches: Tensor, side: int) -> NDArray[np.uint8]:
    """Patches (N, 1, S, S) as OpenCV takes them: (N, side, side), 0..255."""
    if not len(patches):
        return np.zeros((0, side, side), dtype=np.uint8)
    levels = (prepare(patches.detach(), side)[:, 0] * 255).round().clamp(0, 255)
    return np.asarray(levels.to(torch.uint8).cpu().numpy())


def normalise(raw: NDArray[np.float32], root: bool) -> NDArray[np.float32]:
    """Unit vectors of SIFT histograms (N, 128); a zero one, as of a constant patch, becomes uniform."""
    raw = np.where(raw.any(axis=1, keepdims=True), raw, 1.0).astype(np.float32)
    if root:
        return np.asarray(np.sqrt(raw / raw.sum(axis=1, keepdims=True)))
    norms: NDArray[np.float32] = np.linalg.norm(raw, axis=1, keepdims=True)
    return raw / norms
