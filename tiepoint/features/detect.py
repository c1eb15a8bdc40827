"""Keypoints of an image, by any of the detectors."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features import shape
from tiepoint.features.detectors import DETECTORS, ORIENTED, SHAPED, sift
from tiepoint.features.frames import compose, sigmas
from tiepoint.features.keypoints import Keypoints, mask_distances
from tiepoint.features.uniform import select_uniform
from tiepoint.images.pixels import DTYPES, to_uint8

__all__ = ["DETECTORS", "Keypoints", "detect", "sift"]

MASK_CLEARANCE_SIGMAS = 2.0  # sigmas between a keypoint and what the mask excludes


def detect(
    image: NDArray[Any],
    detector: str = "sift",
    *,
    max_keypoints: int = 8000,
    contrast_threshold: float = 0.01,
    even: bool = False,
    upright: bool = False,
    affine: bool = False,
    mask: NDArray[np.bool_] | None = None,
) -> Keypoints:
    """Detect keypoints.

    16-bit and float images are stretched to 8 bits for the detector alone. Detectors without an orientation are given
    that of the prevailing gradient.

    Args:
        image: (H, W), uint8, uint16 or float32.
        detector: one of `DETECTORS`.
        max_keypoints: how many to keep.
        contrast_threshold: lowest response; lower it for images of little contrast. For SIFT it is the contrast; what
            others make of it stands at their functions.
        even: keep those that are strong where they stand and lie evenly (see `spread`), not the strongest ones.
        upright: set all angles to 0, for images that are known to be turned little.
        affine: measure the affine shape (see `shape.adapted`), and the orientation in it, one a place.
        mask: (H, W), False where the image holds nothing; keypoints keep `MASK_CLEARANCE_SIGMAS` sigmas from there.

    Raises:
        InputError: an unknown detector, or one that this installation lacks; an image that is empty, of another shape
            or type, or with NaN; a negative number of keypoints; a mask of another shape.
    """
    _check(image, detector, max_keypoints, contrast_threshold, mask)
    if max_keypoints == 0 or min(image.shape) < 3 or image.min() == image.max():
        return Keypoints.at(np.empty((0, 2)), np.empty(0))
    found = DETECTORS[detector](to_uint8(image), contrast_threshold, max_keypoints)
    if mask is not None:
        found = found.take(mask_distances(found.points, mask) > MASK_CLEARANCE_SIGMAS * sigmas(found.frames))
    found = found.by_response()
    if upright or affine:
        found = found.distinct()
    found = found.take(_even(found, max_keypoints) if even else np.arange(min(len(found), max_keypoints)))
    return _shaped(image, found, detector, upright, affine)


def _check(image: NDArray[Any], detector: str, count: int, contrast: float, mask: NDArray[np.bool_] | None) -> None:
    if detector not in DETECTORS:
        raise InputError(f"no detector {detector!r}: there are {', '.join(DETECTORS)}")
    if image.ndim != 2 or image.size == 0:
        raise InputError(f"image has shape {image.shape}: give grey values (H, W)")
    if image.dtype not in DTYPES:
        raise InputError(f"grey values are {image.dtype}: give uint8, uint16 or float32")
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise InputError("image holds NaN or infinite values: fill them, and give a mask of what is valid")
    if count < 0:
        raise InputError(f"max_keypoints is {count}: give 0 or a positive number")
    if not 0 <= contrast <= 1:
        raise InputError(f"contrast_threshold is {contrast:g}: give a number from 0 to 1")
    if mask is not None and (mask.shape != image.shape or mask.dtype != np.bool_):
        raise InputError(f"mask has shape {mask.shape} and type {mask.dtype}: give bool {image.shape}")


def _even(found: Keypoints, count: int) -> NDArray[np.int64]:
    """Rows of an even selection. A point's orientations are one point, and stay together."""
    if len(found) <= count:
        return np.arange(len(found))
    places, place = np.unique(found.points, axis=0, return_inverse=True)
    strengths = np.full(len(places), -np.inf)
    np.maximum.at(strengths, place, found.responses)
    wanted = -(-count * len(places) // len(found))  # rounded up
    chosen = np.zeros(len(places), dtype=np.bool_)
    chosen[select_uniform(places, strengths, wanted)] = True
    return np.flatnonzero(chosen[place])[:count]


def _shaped(image: NDArray[Any], found: Keypoints, detector: str, upright: bool, affine: bool) -> Keypoints:
    """Keypoints with the orientation and shape asked for; OpenCV's own stay where these are its own or upright."""
    frames, opencv = found.frames, found.opencv
    if affine and detector not in SHAPED:
        frames, opencv = shape.adapt_shape(image, frames), ()
    elif not affine and detector in SHAPED:
        frames = compose(found.points, sigmas(frames), np.zeros(len(frames)))
    if upright:
        frames = shape.make_upright(frames)
        opencv = tuple(cv2.KeyPoint(k.pt[0], k.pt[1], k.size, 0, k.response, k.octave, k.class_id) for k in opencv)
    elif affine or detector not in ORIENTED:
        frames = shape.orient(image, shape.make_upright(frames))
    return Keypoints(frames, found.responses, opencv)
