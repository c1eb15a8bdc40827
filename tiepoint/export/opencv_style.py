"""Any describer behind OpenCV's Feature2D interface."""

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
from tiepoint.options import Detection, override


class Feature2D:
    """Keypoints and descriptors as `cv2.Feature2D` gives them: a drop-in for `cv2.SIFT.create()`.

    Images are grey (H, W) or BGR (H, W, 3), uint8, uint16 or float32; masks are uint8, not zero where keypoints may
    be. Descriptors are float32 (N, D), to be compared by `defaultNorm()`, the L2 norm.

    OpenCV's keypoints have a size and an angle, and no affine shape. With `affine`, `detectAndCompute` describes
    patches cut by the shape, as `tiepoint.features.describe.describe` does; `compute`, which is given keypoints alone,
    sees square ones.

    `detection` says which keypoints are detected, and how wide their patches are (`support`, in sigmas: half of the
    size of a keypoint); `flat` gives its fields by name. Raises InputError for no such describer or option, or a
    `support` or `affine` that the describer does not take.
    """

    def __init__(
        self, describer: str | Path | Describer = "sdgmnet", detection: Detection | None = None, **flat: Any
    ) -> None:
        self.describer = load_describer(describer)
        self.detection = override(detection or Detection(), flat)
        check_options(self.describer, self.detection.support, self.detection.affine)
        self.support = self.describer.support if self.detection.support is None else self.detection.support

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
        if self.detection.affine and len(found):
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
        return detect(grey, self.detection, mask=None if mask is None else np.asarray(mask) != 0)

    def _described(self, grey: NDArray[Any], frames: NDArray[np.float64]) -> NDArray[np.float32]:
        return describe_patches(grey, frames, self.describer, self.support, value_range(grey))


def as_grey(image: NDArray[Any]) -> NDArray[Any]:
    """An image in OpenCV's layout, grey or BGR, as grey (H, W). Raises InputError for others."""
    if image.ndim == 3 and image.shape[2] in (1, 3):
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.shape[2] == 3 else image[:, :, 0]
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16, np.float32):
        needed = "grey (H, W) or BGR (H, W, 3), uint8, uint16 or float32"
        raise InputError(f"image of shape {image.shape}, {image.dtype}: give {needed}")
    return np.ascontiguousarray(image)
