"""Options of the builders. The docstrings of the fields are the help of the commands."""

from dataclasses import dataclass
from typing import Any, Literal

from tiepoint.errors import InputError
from tiepoint.patches import SIZE

MAX_STRIP_PATCHES = 2**20 // 65  # OpenCV reads no image higher than 2^20 pixels


@dataclass(frozen=True)
class AlignedOptions:
    """Which patches are cut from pairs of images. The defaults are those of the VIS-NIR patch protocol."""

    keypoints: Literal["first", "second"] = "first"
    """Image of each pair in which keypoints are detected. They are SIFT's, the strongest first."""
    max_keypoints: int = 250
    """Number of keypoints to keep in each pair."""
    features: int = 3000
    """Number of keypoints that SIFT returns before any is dropped (0: all)."""
    contrast: float = 0.02
    """SIFT's contrast threshold. A lower one gives more keypoints."""
    min_distance: float = 8.0
    """Distance in x or in y that a keypoint keeps from stronger ones, px. Even at 0 a pixel has one keypoint."""
    border: int = 40
    """Width of the border without keypoints, px, at least 32."""
    color: bool = False
    """Store RGB instead of grey. A grey image is repeated."""
    stretch: bool = False
    """Map the 0.1 to 99.9 percentiles of each image to the whole range of 16 bits, as for thermal images. Without it
    8-bit images are multiplied by 257 where they share a set with 16-bit ones."""

    def __post_init__(self) -> None:
        if self.keypoints not in ("first", "second"):
            raise InputError(f"keypoints is {self.keypoints!r}: must be first or second")
        border = (SIZE // 2, 1e6)
        _check(self, max_keypoints=(1, 1e6), features=(0, 1e7), contrast=(0, 1), min_distance=(0, 1e6), border=border)


@dataclass(frozen=True)
class HomographyOptions:
    """Which patches are cut from image sequences."""

    count: int = 1000
    """Number of patches to keep in each strip."""
    contrast: float = 0.02
    """SIFT's contrast threshold. A lower one gives more keypoints."""
    min_distance: float = 8.0
    """Distance that a keypoint keeps from stronger ones, px of image 1."""
    support: float = 10.0
    """Side of a patch in sigmas. That of HPatches reaches 5 sigmas to either side."""
    seed: int = 0
    """Seed of the noise on the keypoints' frames. The patches of a sequence do not depend on the other sequences."""

    def __post_init__(self) -> None:
        strips = (1, MAX_STRIP_PATCHES)
        _check(self, count=strips, contrast=(0, 1), min_distance=(0, 1e6), support=(1e-3, 1e6), seed=(0, 2**63 - 1))


def _check(options: Any, **limits: tuple[float, float]) -> None:
    """Raise InputError that names the first option beyond its limits, both of which are allowed."""
    for key, (low, high) in limits.items():
        if not low <= getattr(options, key) <= high:
            raise InputError(f"{key} is {getattr(options, key):g}, must be from {low:g} to {high:g}")
