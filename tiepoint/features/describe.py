"""An image to keypoints and their descriptors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.features.detect import detect
from tiepoint.features.extract import extract
from tiepoint.features.frames import upright_frames
from tiepoint.features.keypoints import is_clear_of_mask
from tiepoint.images.geo import Geo
from tiepoint.images.pixels import to_unit
from tiepoint.images.raster import Raster, as_raster
from tiepoint.models.describer import Describer, sees_upright
from tiepoint.models.load import load_describer
from tiepoint.types import Image

PATCH = 64
SMALLEST = 32
CHUNK = 1024


@dataclass(frozen=True)
class Features:
    """Described keypoints of an image, by falling response.

    Attributes:
        frames: (N, 2, 3), see `tiepoint.features.frames`.
        descriptors: (N, D) float32, unit vectors.
        responses: (N,) float32, the detector's contrast.
        size: width and height of the image in pixels.
        describer: name of the describer.
        image: (H, W), the grey image they are of, or None where it is not at hand.
        mask: (H, W) bool, its valid pixels; None if all are.
        geo: its georeference, or None.
    """

    frames: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    responses: NDArray[np.float32]
    size: tuple[int, int]
    describer: str
    image: NDArray[Any] | None = None
    mask: NDArray[np.bool_] | None = None
    geo: Geo | None = None

    @property
    def points(self) -> NDArray[np.float64]:
        """Positions (N, 2), x and y in pixels."""
        return self.frames[:, :, 2]

    def __len__(self) -> int:
        return len(self.frames)


def describe(
    image: Image | Raster,
    describer: str | Path | Describer = "sdgmnet",
    *,
    detector: str = "sift",
    affine: bool = False,
    max_keypoints: int = 8000,
    even: bool = False,
    contrast_threshold: float = 0.01,
    support: float | None = None,
    band: int | str | None = None,
    turn: ArrayLike | None = None,
    name: str = "image",
) -> Features:
    """Detect keypoints and describe them.

    Learned describers see patches cut at the image's own depth: uint8 over 255; uint16 and float mapped linearly by the
    image's percentiles. "sift" and "rootsift" are OpenCV's own descriptors, computed on the image; with `affine`, as
    OpenCV's keypoints have no shape, they too describe patches, see `tiepoint.models.classical.SIFT`. Keypoints whose
    patch reaches pixels that are not valid are left out.

    Args:
        image: a path, an array (H, W) or (C, H, W), uint8, uint16 or float, or a `tiepoint.images.raster.Raster`.
        describer: a name or path, as `tiepoint.load` takes, or a loaded one.
        detector: one of `tiepoint.features.detect.DETECTORS`.
        affine: measure the affine shape of each keypoint, see `tiepoint.features.detect.detect`, and cut the patch by
            it: for strong changes of viewpoint. A place then has one orientation. Not for describers of upright
            patches.
        max_keypoints: how many to keep, the strongest first.
        even: keep those that lie evenly over the image, see `tiepoint.features.uniform`.
        contrast_threshold: of the detector; lower it for images of little contrast.
        support: width of a patch in sigmas; the describer's own if None.
        band: take one band of an image file, by its number from 1 or by its name; see `read_image` for what is taken
            by default.
        turn: (2, 2), for describers of upright patches: how this image is turned and scaled against the one that it
            shall be matched with; their patches are cut so turned and scaled. None for the identity.
        name: what errors call an image given as an array.

    Raises:
        InputError: an unusable file or array, an image under 32 px, a constant one, or one without keypoints; `affine`
            for a describer of upright patches.
    """
    raster = as_raster(image, name, band)
    grey, name = raster.pixels, raster.name
    if min(grey.shape) < SMALLEST:
        raise InputError(f"{name}: {grey.shape[1]}x{grey.shape[0]} pixels: give an image of at least {SMALLEST} a side")
    if grey.min() == grey.max():
        raise InputError(f"{name}: all pixels are equal: give an image with texture")
    if max_keypoints < 1:
        raise InputError(f"max_keypoints is {max_keypoints}: give a positive number")
    model = load_describer(describer)
    check_options(model, support, affine)
    upright = model.upright_width
    keypoints = detect(
        raster.to_uint8(), detector, max_keypoints=max_keypoints, contrast_threshold=contrast_threshold, even=even,
        upright=upright is not None, affine=affine, mask=raster.mask,
    )  # fmt: skip
    if upright is not None:
        frames = upright_frames(keypoints.points, upright, model.support)
        if turn is not None:
            frames[:, :, :2] = np.asarray(turn, dtype=np.float64) @ frames[:, :, :2]
        keypoints = replace(keypoints, frames=frames, opencv=())
    width_of_patch = model.support if support is None else support
    reach = _half_diagonals(keypoints.frames, width_of_patch)
    keypoints = keypoints.take(np.flatnonzero(is_clear_of_mask(keypoints.points, raster.mask, reach)))
    if not len(keypoints):
        raise InputError(f"{name}: no keypoints found: lower the contrast threshold ({contrast_threshold:g})")
    if model.on_image and not affine:
        descriptors = model.describe_keypoints(raster.to_uint8(), keypoints.to_opencv())
    else:
        if width_of_patch <= 0:
            raise InputError(f"support is {width_of_patch:g}: give a positive number of sigmas")
        descriptors = describe_patches(raster.pixels, keypoints.frames, model, width_of_patch, raster.limits)
    height, width = grey.shape
    return Features(
        keypoints.frames, descriptors, keypoints.responses, (width, height), model.name, grey, raster.mask, raster.geo
    )


def check_options(model: Describer, support: float | None, affine: bool) -> None:
    """Raise InputError where a describer sees no patches so wide or so shaped; see `describe`."""
    if affine and sees_upright(model):
        raise InputError(f"{model.name} describes upright patches of one width: leave out affine, or name another one")
    if model.on_image and support is not None and support != model.support:
        raise InputError(f"support {support:g}: {model.name} always sees {model.support:g} sigmas: leave it out")


def _half_diagonals(frames: NDArray[np.float64], support: float) -> NDArray[np.float64]:
    """Distance (N,) in pixels from each keypoint to the corner of its patch that lies farthest."""
    x, y = frames[:, :, 0], frames[:, :, 1]
    return np.asarray(np.maximum(np.linalg.norm(x + y, axis=1), np.linalg.norm(x - y, axis=1)) * support / 2)


def describe_patches(
    image: NDArray[Any], frames: NDArray[np.float64], model: Describer, support: float, limits: tuple[float, float]
) -> NDArray[np.float32]:
    """Descriptors (N, D) of patches cut from an image (H, W) at frames (N, 2, 3), N at least 1.

    Chunk by chunk: all patches at once would take 16 kB each. `limits` are the grey values that stand for 0 and 1.
    """
    parts = []
    for start in range(0, len(frames), CHUNK):
        patches = extract(image, frames[start : start + CHUNK], size=PATCH, support=support)
        parts.append(model.describe(torch.from_numpy(to_unit(patches, limits))).cpu().float().numpy())
    return np.concatenate(parts)
