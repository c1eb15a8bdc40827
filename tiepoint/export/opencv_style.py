"""Any describer behind OpenCV's Feature2D interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.imaging.detect import detect, sift
from tiepoint.imaging.extract import extract
from tiepoint.imaging.frames import from_opencv
from tiepoint.imaging.io import to_uint8, to_unit, value_range
from tiepoint.models import Describer, load_describer
from tiepoint.nets.classical import SIFT, normalise

PATCH, CHUNK = 64, 1024


class Feature2D:
    """Keypoints and descriptors as `cv2.Feature2D` gives them: a drop-in for `cv2.SIFT.create()`.

    Images are grey (H, W) or BGR (H, W, 3), uint8, uint16 or float32; masks are uint8, not zero where keypoints may
    be. Descriptors are float32 (N, D), to be compared by `defaultNorm()`, the L2 norm.

    Args:
        describer: a name, a path or a loaded one.
        max_keypoints: how many to keep, the strongest first.
        contrast_threshold: of SIFT's keypoints; lower it for images of little contrast.
        support: width of a patch in sigmas (half a keypoint's size); the describer's own if None.
    """

    def __init__(
        self,
        describer: str | Path | Describer = "sdgmnet",
        *,
        max_keypoints: int = 8000,
        contrast_threshold: float = 0.01,
        support: float | None = None,
    ) -> None:
        self.describer = load_describer(describer)
        self.max_keypoints = max_keypoints
        self.contrast_threshold = contrast_threshold
        self.support = self.describer.support if support is None else support

    def detect(self, image: NDArray[Any], mask: NDArray[np.uint8] | None = None) -> tuple[cv2.KeyPoint, ...]:
        """SIFT keypoints by falling response; none for an image without texture.

        Keypoints keep two sigmas from what the mask excludes, where OpenCV only asks for the keypoint's own pixel.
        """
        grey = as_grey(image)
        if mask is not None and mask.shape != grey.shape:
            raise InputError(f"mask has shape {mask.shape}: give that of the image, {grey.shape}")
        found = detect(
            grey, max_keypoints=self.max_keypoints, contrast_threshold=self.contrast_threshold,
            mask=None if mask is None else np.asarray(mask) != 0,
        )  # fmt: skip
        return found.to_opencv()

    def compute(
        self, image: NDArray[Any], keypoints: Sequence[cv2.KeyPoint]
    ) -> tuple[tuple[cv2.KeyPoint, ...], NDArray[np.float32] | None]:
        """Describe keypoints, all of them, also at the border. Without keypoints the descriptors are None."""
        grey, kept = as_grey(image), tuple(keypoints)
        if not kept:
            return (), None
        if isinstance(self.describer, SIFT):
            raw = sift(self.contrast_threshold).compute(to_uint8(grey), kept)[1]
            return kept, normalise(np.asarray(raw, dtype=np.float32), self.describer.root)
        frames, limits, parts = from_opencv(kept), value_range(grey), []
        for start in range(0, len(kept), CHUNK):
            patches = extract(grey, frames[start : start + CHUNK], size=PATCH, support=self.support)
            parts.append(self.describer(torch.from_numpy(to_unit(patches, limits))).cpu().float().numpy())
        return kept, np.concatenate(parts)

    def detectAndCompute(  # OpenCV's name
        self, image: NDArray[Any], mask: NDArray[np.uint8] | None = None
    ) -> tuple[tuple[cv2.KeyPoint, ...], NDArray[np.float32] | None]:
        """Detect and describe: keypoints, and descriptors (N, D) or None without keypoints."""
        return self.compute(image, self.detect(image, mask))

    def descriptorSize(self) -> int:
        """Numbers of a descriptor."""
        return self.describer.dimension

    def descriptorType(self) -> int:
        """float32 as OpenCV counts types."""
        return int(cv2.CV_32F)

    def defaultNorm(self) -> int:
        """The L2 norm."""
        return int(cv2.NORM_L2)


def as_grey(image: NDArray[Any]) -> NDArray[Any]:
    """An image in OpenCV's layout, grey or BGR, as grey (H, W). Raises InputError for others."""
    if image.ndim == 3 and image.shape[2] in (1, 3):
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.shape[2] == 3 else image[:, :, 0]
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(
            f"image of shape {image.shape}, {image.dtype}: give grey (H, W) or BGR (H, W, 3), uint8, uint16 or float32"
        )
    return np.ascontiguousarray(image)
