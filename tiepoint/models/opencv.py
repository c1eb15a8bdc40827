"""OpenCV's patch descriptors as describers, so that every protocol can measure them.

All but ORB need a build with the contrib modules. Left out are SURF (patented, in no pip build), LUCID (its entries are
ranks, not bits), KAZE and AKAZE (they describe in their own scale space, not in a patch) and BRISK (it turns the patch
to an orientation of its own).
"""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.errors import InputError
from tiepoint.models.classical import grey_levels, normalise
from tiepoint.models.describer import Describer
from tiepoint.nets.inputs import check_shape


@dataclass(frozen=True)
class Kind:
    """One of OpenCV's descriptors, and the patch that fills its sampling pattern."""

    factory: str  # the function of cv2 or cv2.xfeatures2d that makes it
    side: int  # of the patch, in pixels, that the pattern was designed for; patches are resized to it
    centre: float  # where the keypoint sits in such a patch, so that samples fall on its pixels
    size: float  # of the keypoint, where it scales the pattern
    border: int = 0  # pixels of replicated edge around the patch, without which OpenCV drops the keypoint
    support: float = 12.0  # width of the patch in sigmas of a SIFT keypoint
    options: dict[str, Any] = field(default_factory=dict)  # of the factory


# Sides: VGG samples 64 pixels; BoostDesc, BEBLID and TEBLID were learned on 32; ORB, BRIEF and LATCH read the pixels
# given here around an integer centre; DAISY and FREAK reach from the centre as far as position and sigma of their outer
# ring, 22.5 and 22 pixels. 13.5 sigmas is 6.75 keypoint sizes, OpenCV's advice for SIFT keypoints.
# Enumerations by number: plain builds lack names: desc 100 is VGG_120, 302 is BINBOOST_256; n_bits 100 and 103
# are 512 bits; norm 101 is NRM_PARTIAL (each of the histograms of DAISY by itself).
KINDS = {
    "opencv-vgg": Kind("VGG_create", 64, 31.5, 64, 0, 13.5, {"desc": 100, "scale_factor": 1.0}),
    "opencv-boostdesc": Kind("BoostDesc_create", 32, 16, 32, 0, 13.5, {"desc": 302, "scale_factor": 1.0}),
    "opencv-beblid": Kind("BEBLID_create", 32, 16, 32, 0, 13.5, {"scale_factor": 1.0, "n_bits": 100}),
    "opencv-teblid": Kind("TEBLID_create", 32, 16, 32, 0, 13.5, {"scale_factor": 1.0, "n_bits": 103}),
    "opencv-daisy": Kind("DAISY_create", 45, 22, 1, options={"norm": 101}),
    "opencv-latch": Kind("LATCH_create", 55, 27, 1, options={"rotationInvariance": False}),
    "opencv-freak": Kind("FREAK_create", 45, 22, 7, 2, options={"orientationNormalized": False}),
    "opencv-brief": Kind("BriefDescriptorExtractor_create", 57, 28, 1),
    "opencv-orb": Kind("ORB_create", 31, 15, 31, options={"nlevels": 1, "edgeThreshold": 0}),
}


class OpenCV(Describer):
    """One of `KINDS`: a keypoint at the patch's centre, angle 0, whose pattern fills the patch.

    VGG has 120 numbers and DAISY 200; both are L2-normalised. BoostDesc is BinBoost of 256 bits, BEBLID and TEBLID have
    512 bits, FREAK 512, LATCH, BRIEF and ORB 256. A bit becomes +-1 / sqrt(bits), so that inner products order pairs as
    the Hamming distance does. Raises InputError for a name that is none of these or that this OpenCV lacks.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in KINDS:
            raise InputError(f"no descriptor {name!r}: there are {', '.join(KINDS)}")
        self.name = name
        self.kind = KINDS[name]
        self.support = self.kind.support
        factory = getattr(cv2, self.kind.factory, None)
        factory = factory or getattr(getattr(cv2, "xfeatures2d", None), self.kind.factory, None)
        if factory is None:
            raise InputError(f"{name}: this OpenCV lacks it: install opencv-contrib-python-headless in its place")
        self._extractor = factory(**self.kind.options)
        self._width = int(self._extractor.descriptorSize())
        self.binary = self._extractor.defaultNorm() == cv2.NORM_HAMMING
        self.dimension = 8 * self._width if self.binary else self._width

    def describe(self, patches: Tensor) -> Tensor:
        """Describe `patches` (N, 1, S, S), float in 0..1, uint8 or uint16, as unit vectors (N, dimension), float32.

        What OpenCV leaves without a descriptor counts as all bits 0, or as the uniform vector.
        """
        check_shape(patches, self.name)
        raw = np.zeros((len(patches), self._width), dtype=np.uint8 if self.binary else np.float32)
        for i, patch in enumerate(grey_levels(patches, self.kind.side)):
            found = self._compute(patch)
            if found is not None and len(found):
                raw[i] = found[0]
        return torch.from_numpy(signs(raw) if self.binary else normalise(raw, root=False))

    def _compute(self, patch: NDArray[np.uint8]) -> Any:
        border, place = self.kind.border, self.kind.centre + self.kind.border
        if border:
            patch = np.pad(patch, border, mode="edge")
        return self._extractor.compute(patch, [cv2.KeyPoint(place, place, self.kind.size, 0)])[1]


def signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Packed bits (N, B / 8) as unit vectors (N, B): the inner product is 1 - 2 * Hamming distance / B."""
    bits = np.unpackbits(packed, axis=1).astype(np.float32)
    return np.asarray((2 * bits - 1) / np.float32(bits.shape[1] ** 0.5))
