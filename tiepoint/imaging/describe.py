"""An image to keypoints and their descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.imaging.detect import Keypoints, detect, sift
from tiepoint.imaging.extract import extract
from tiepoint.imaging.io import Image, as_grey, to_uint8, to_unit, value_range
from tiepoint.models import Describer, load_describer
from tiepoint.nets.classical import SIFT, normalise

PATCH = 64
SMALLEST = 32
CHUNK = 1024


@dataclass(frozen=True)
class Features:
    """Described keypoints of an image, by falling response.

    Attributes:
        frames: (N, 2, 3), see `tiepoint.imaging.frames`.
        descriptors: (N, D) float32, unit vectors.
        responses: (N,) float32, the detector's contrast.
        size: width and height of the image in pixels.
        describer: name of the describer.
        image: (H, W), the grey image they are of, or None where it is not at hand.
    """

    frames: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    responses: NDArray[np.float32]
    size: tuple[int, int]
    describer: str
    image: NDArray[Any] | None = None

    @property
    def points(self) -> NDArray[np.float64]:
        """Positions (N, 2), x and y in pixels."""
        return self.frames[:, :, 2]

    def __len__(self) -> int:
        return len(self.frames)


def describe(
    image: Image,
    describer: str | Path | Describer = "sdgmnet",
    *,
    max_keypoints: int = 8000,
    contrast_threshold: float = 0.01,
    support: float | None = None,
    name: str = "image",
) -> Features:
    """Detect SIFT keypoints and describe them.

    Learned describers see patches cut at the image's own depth: uint8 over 255; uint16 and float mapped linearly by the
    image's percentiles. "sift" and "rootsift" are OpenCV's own descriptors, computed on the image.

    Args:
        image: a path, or an array (H, W), (1, H, W) or RGB (3, H, W), uint8, uint16 or float.
        describer: a name or path, as `tiepoint.load` takes, or a loaded one.
        max_keypoints: how many to keep, the strongest first.
        contrast_threshold: of the detector; lower it for images of little contrast.
        support: width of a patch in sigmas; the describer's own if None.
        name: what errors call an image given as an array.

    Raises:
        InputError: an unusable file or array, an image under 32 px, a constant one, or one without keypoints.
    """
    grey, name = as_grey(image, name)
    if min(grey.shape) < SMALLEST:
        raise InputError(f"{name}: {grey.shape[1]}x{grey.shape[0]} pixels: give an image of at least {SMALLEST} a side")
    if grey.min() == grey.max():
        raise InputError(f"{name}: all pixels are equal: give an image with texture")
    if max_keypoints < 1:
        raise InputError(f"max_keypoints is {max_keypoints}: give a positive number")
    model = load_describer(describer)
    keypoints = detect(grey, max_keypoints=max_keypoints, contrast_threshold=contrast_threshold)
    if not len(keypoints):
        raise InputError(f"{name}: no keypoints found: lower the contrast threshold ({contrast_threshold:g})")
    if isinstance(model, SIFT):
        if support is not None and support != model.support:
            raise InputError(f"support {support:g}: {model.name} always sees {model.support:g} sigmas: leave it out")
        raw = sift(contrast_threshold).compute(to_uint8(grey), keypoints.opencv)[1]
        descriptors = normalise(np.asarray(raw, dtype=np.float32), model.root)
    else:
        descriptors = _describe_patches(grey, keypoints, model, model.support if support is None else support)
    height, width = grey.shape
    return Features(keypoints.frames, descriptors, keypoints.responses, (width, height), model.name, grey)


def _describe_patches(
    grey: NDArray[Any], keypoints: Keypoints, model: Describer, support: float
) -> NDArray[np.float32]:
    """Cut and describe chunk by chunk: all patches at once would take 16 kB each."""
    if support <= 0:
        raise InputError(f"support is {support:g}: give a positive number of sigmas")
    limits = value_range(grey)
    parts = []
    for start in range(0, len(keypoints), CHUNK):
        patches = extract(grey, keypoints.frames[start : start + CHUNK], size=PATCH, support=support)
        parts.append(model(torch.from_numpy(to_unit(patches, limits))).cpu().float().numpy())
    return np.concatenate(parts)
