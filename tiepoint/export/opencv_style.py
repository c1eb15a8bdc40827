"""Any describer behind OpenCV's Feature2D interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features.describe import check_options, describe_patches
from tiepoint.features.detect import Keypoints, detect
from tiepoint.features.frames import from_opencv
from tiepoint.images.pixels import to_uint8, value_range
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer


class Feature2D:
    """Keypoints and descriptors as `cv2.Feature2D` gives them: a drop-in for `cv2.SIFT.create()`.

    Images are grey (H, W) or BGR (H, W, 3), uint8, uint16 or float32; masks are uint8, not zero where keypoints may
    be. Descriptors are float32 (N, D), to be compared by `defaultNorm()`, the L2 norm.

    OpenCV's keypoints have a size and an angle, and no affine shape. With `affine`, `detectAndCompute` describes
    patches cut by the shape, as `tiepoint.features.describe.describe` does; `compute`, which is given keypoints alone,
    sees square ones.

    Args:
        describer: a name, a path or a loaded one.
        detector: one of `tiepoint.features.detect.DETECTORS`.
        affine: measure the affine shape of keypoints, for strong changes of viewpoint. Not for describers of upright
            patches.
        max_keypoints: how many to keep, the strongest first.
        contrast_threshold: of the keypoint detector; lower it for images of little contrast.
        support: width of a patch in sigmas (half a keypoint's size); the describer's own if None.

    Raises:
        InputError: no such describer; a `support` or `affine` that it does not take.
    """

    def __init__(
        self,
        describer: str | Path | Describer = "sdgmnet",
        *,
        detector: str = "sift",
        affine: bool = False,
        max_keypoints: int = 8000,
        contrast_threshold: float = 0.01,
        support: float | None = None,
    ) -> None:
        self.describer = load_describer(describer)
        check_options(self.describer, support, affine)
        self.detector = detector
        self.affine = affine
        self.max_keypoints = max_keypoints
        self.contrast_threshold = contrast_threshold
        self.support = self.describer.support if support is None else support

    def detect(self, image: NDArray[Any], mask: NDArray[np.uint8] | None = None) -> tuple[cv2.KeyPoint, ...]:
        """Keypoints by falling response; none for an image without texture.

        Keypoints keep two sigmas from what the mask excludes, where OpenCV only asks for the keypoint's own pixel.
        """
        return self._detected(as_grey(image), mask).to_opencv()

    def compute(
        self, image: NDArray[Any], keypoints: Sequence[cv2.KeyPoint]
    ) -> tuple[tuple[cv2.KeyPoint, ...], NDArray[np.float32] | None]:
        """Describe keypoints, all of them, also at the border. Without keypoints the descriptors are None."""
        grey, kept = as_grey(image), tuple(keypoints)
        if not kept:
            return (), None
        if self.describer.on_image:
            return kept, self.describer.describe_keypoints(to_uint8(grey), kept)
        return kept, self._described(grey, from_opencv(kept))

    def detectAndCompute(  # OpenCV's name
        self, image: NDArray[Any], mask: NDArray[np.uint8] | None = None
    ) -> tuple[tuple[cv2.KeyPoint, ...], NDArray[np.float32] | None]:
        """Detect and describe: keypoints, and descriptors (N, D) or None without keypoints."""
        grey = as_grey(image)
        found = self._detected(grey, mask)
        if self.affine and len(found):
            return found.to_opencv(), self._described(grey, found.frames)
        return self.compute(grey, found.to_opencv())

    def descriptorSize(self) -> int:
        """Numbers of a descriptor."""
        return self.describer.dimension

    def descriptorType(self) -> int:
        """float32 as OpenCV counts types."""
        return int(cv2.CV_32F)

    def defaultNorm(self) -> int:
        """The L2 norm."""
        return int(cv2.NORM_L2)

    def _detected(self, grey: NDArray[Any], mask: NDArray[np.uint8] | None) -> Keypoints:
        if mask is not None and mask.shape != grey.shape:
            raise InputError(f"mask has shape {mask.shape}: give that of the image, {grey.shape}")
        return detect(
            grey, self.detector, affine=self.affine, max_keypoints=self.max_keypoints,
            contrast_threshold=self.contrast_threshold, mask=None if mask is None else np.asarray(mask) != 0,
        )  # fmt: skip

    def _described(self, grey: NDArray[Any], frames: NDArray[np.float64]) -> NDArray[np.float32]:
        return describe_patches(grey, frames, self.describer, self.support, value_range(grey))


def as_grey(image: NDArray[Any]) -> NDArray[Any]:
    """An image in OpenCV's layout, grey or BGR, as grey (H, W). Raises InputError for others."""
    if image.ndim == 3 and image.shape[2] in (1, 3):
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.shape[2] == 3 else image[:, :, 0]
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(
            f"image of shape {image.shape}, {image.dtype}: give grey (H, W) or BGR (H, W, 3), uint8, uint16 or float32"
        )
    return np.ascontiguousarray(image)
