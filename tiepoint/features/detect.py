"""Keypoints of an image, by any of the detectors."""

from dataclasses import replace
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
from tiepoint.options import Detection, override

__all__ = ["DETECTORS", "Keypoints", "detect", "sift"]

MASK_CLEARANCE_SIGMAS = 2.0  # sigmas between a keypoint and what the mask excludes


def detect(
    image: NDArray[Any],
    detection: Detection | None = None,
    *,
    upright: bool = False,
    mask: NDArray[np.bool_] | None = None,
    **flat: Any,
) -> Keypoints:
    """Detect keypoints.

    16-bit and float images are stretched to 8 bits for the detector alone. Detectors without an orientation are given
    that of the prevailing gradient.

    Args:
        image: (H, W), uint8, uint16 or float32.
        detection: the defaults of `tiepoint.options.Detection` without it. For SIFT `contrast_threshold` is the
            contrast; what others make of it stands at their functions. For `affine` see `shape.adapt_shape`, for
            `uniform` `tiepoint.features.uniform`.
        upright: set all angles to 0, for images that are known to be rotated little.
        mask: (H, W), False where the image holds nothing; keypoints keep `MASK_CLEARANCE_SIGMAS` sigmas from there.
        flat: fields of `Detection` by name, which replace those of `detection`.

    Raises InputError for an unknown detector, or one that this installation lacks; an image that is empty, of another
    shape or type, or with NaN; an option out of its range; a mask of another shape.
    """
    chosen = override(detection or Detection(), flat)
    chosen = replace(chosen, detector="sift") if chosen.detector == "auto" else chosen
    _check(image, chosen, mask)
    if min(image.shape) < 3 or image.min() == image.max():
        return Keypoints.at(np.empty((0, 2)), np.empty(0))
    found = DETECTORS[chosen.detector](to_uint8(image), chosen.contrast_threshold, chosen.max_keypoints)
    if mask is not None:
        found = found.take(mask_distances(found.points, mask) > MASK_CLEARANCE_SIGMAS * sigmas(found.frames))
    found = found.by_response()
    if upright or chosen.affine:
        found = found.distinct()
    most = chosen.max_keypoints
    found = found.take(_select_uniform(found, most) if chosen.uniform else np.arange(min(len(found), most)))
    return _shaped(image, found, chosen.detector, upright, chosen.affine)


def _check(image: NDArray[Any], detection: Detection, mask: NDArray[np.bool_] | None) -> None:
    if detection.detector == "dense":
        raise InputError(
            "detector dense describes pairs of images: register or match them, or use `dense` of a describer"
        )
    if detection.detector not in DETECTORS:
        raise InputError(f"no detector {detection.detector!r}: there are {', '.join(DETECTORS)}")
    if image.ndim != 2 or image.size == 0:
        raise InputError(f"image has shape {image.shape}: give grey values (H, W)")
    if image.dtype not in DTYPES:
        raise InputError(f"grey values are {image.dtype}: give uint8, uint16 or float32")
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise InputError("image holds NaN or infinite values: fill them, and give a mask of what is valid")
    if mask is not None and (mask.shape != image.shape or mask.dtype != np.bool_):
        raise InputError(f"mask has shape {mask.shape} and type {mask.dtype}: give bool {image.shape}")


def _select_uniform(found: Keypoints, count: int) -> NDArray[np.int64]:
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
