"""An image to keypoints and their descriptors."""

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
from tiepoint.options import Band, Detection, Nodata, override
from tiepoint.types import Image

PATCH = 64
MIN_SIDE_PX = 32
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
        geo: georeference of the image, or None.
        spacing: px between neighbours, where they are the windows of a grid; 0 for keypoints.
    """

    frames: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    responses: NDArray[np.float32]
    size: tuple[int, int]
    describer: str
    geo: Geo | None = None
    spacing: float = 0.0

    @property
    def points(self) -> NDArray[np.float64]:
        """Positions (N, 2), x and y in pixels."""
        return self.frames[:, :, 2]

    def __len__(self) -> int:
        return len(self.frames)


def describe(
    image: Image | Raster,
    describer: str | Path | Describer = "sdgmnet",
    detection: Detection | None = None,
    *,
    band: Band = None,
    nodata: Nodata = None,
    rotation: ArrayLike | None = None,
    name: str = "image",
    device: str | torch.device = "auto",
    **flat: Any,
) -> Features:
    """Detect keypoints and describe them.

    Learned describers see patches cut at the image's own depth: uint8 over 255; uint16 and float mapped linearly by the
    image's percentiles. "sift" and "rootsift" are OpenCV's own descriptors, computed on the image; with `affine`, as
    OpenCV's keypoints have no shape, they describe patches too, see `tiepoint.models.classical.SIFT`. Keypoints whose
    patch reaches pixels that are not valid are left out.

    Args:
        image: a path, an array (H, W) or (C, H, W), uint8, uint16 or float, or a `tiepoint.images.raster.Raster`.
        describer: a name or path, as `tiepoint.load` takes, or a loaded one.
        detection: the defaults of `tiepoint.options.Detection` without it.
        band: of the image, by its number from 1 or by its name; see `read_image` for the default.
        nodata: grey value of pixels that are not valid, beside what the image says.
        rotation: (2, 2), for describers of upright patches: how this image is rotated and scaled against the one that
            it will be matched with. Their patches are cut with it; without it they are not rotated.
        name: what errors call an image given as an array.
        device: where a describer that is given by name computes: "auto" (cuda, mps or cpu), or a torch device.
        flat: fields of `Detection` by name, which replace those of `detection`.

    Raises InputError for an unusable file or array, an image under 32 px, a constant one, or one without keypoints; an
    unknown option; `affine` for a describer of upright patches.
    """
    detection = override(detection or Detection(), flat)
    raster = as_raster(image, name, band, nodata)
    grey, name = raster.pixels, raster.name
    height, width = grey.shape
    if min(grey.shape) < MIN_SIDE_PX:
        raise InputError(f"{name}: {width}x{height} pixels: give an image of at least {MIN_SIDE_PX} a side")
    if grey.min() == grey.max():
        raise InputError(f"{name}: all pixels are equal: give an image with texture")
    model = load_describer(describer, device)
    check_options(model, detection.support, detection.affine)
    upright_width = model.upright_width
    image_8bit = raster.to_uint8()
    keypoints = detect(image_8bit, detection, upright=upright_width is not None, mask=raster.mask)
    if upright_width is not None:
        frames = upright_frames(keypoints.points, upright_width, model.support)
        if rotation is not None:
            frames[:, :, :2] = np.asarray(rotation, dtype=np.float64) @ frames[:, :, :2]
        keypoints = replace(keypoints, frames=frames, opencv=())
    support = model.support if detection.support is None else detection.support
    x, y = np.moveaxis(keypoints.frames[:, :, :2], 2, 0)
    # From each keypoint to the corner of its patch that lies farthest.
    reach = np.maximum(np.linalg.norm(x + y, axis=1), np.linalg.norm(x - y, axis=1)) * support / 2
    keypoints = keypoints.take(np.flatnonzero(is_clear_of_mask(keypoints.points, raster.mask, reach)))
    if not len(keypoints):
        raise InputError(f"{name}: no keypoints found: lower the contrast threshold ({detection.contrast_threshold:g})")
    if model.on_image and not detection.affine:
        descriptors = model.describe_keypoints(image_8bit, keypoints.to_opencv())
    else:
        descriptors = describe_patches(grey, keypoints.frames, model, support, raster.limits)
    return Features(keypoints.frames, descriptors, keypoints.responses, (width, height), model.name, raster.geo)


def check_options(model: Describer, support: float | None, affine: bool) -> None:
    """Raise InputError where a describer sees no patches so wide or so shaped; see `describe`."""
    if affine and sees_upright(model):
        raise InputError(f"{model.name} describes upright patches of one width: leave out affine, or name another one")
    if model.on_image and support is not None and support != model.support:
        raise InputError(f"support {support:g}: {model.name} always sees {model.support:g} sigmas: leave it out")


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
