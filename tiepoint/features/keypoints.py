"""Keypoints of an image, whatever found them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.features.frames import angles, compose, from_opencv, sigmas, to_opencv


def is_clear_of_mask(points: ArrayLike, mask: NDArray[np.bool_] | None, margin: ArrayLike) -> NDArray[np.bool_]:
    """Whether no pixel outside the mask (H, W) lies within `margin` px, one or (N,), of each point (N, 2).

    It is tested at the pixel nearest to the point, and the margin is widened by the pixel that this may be wrong by.
    False for a point outside the image and for NaN, whatever the mask. Half the diagonal of a patch is support * sigma
    / sqrt(2).
    """
    places = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if mask is None:
        return np.asarray(np.isfinite(places).all(axis=1))
    height, width = mask.shape
    with np.errstate(invalid="ignore"):
        within = (places > -0.5) & (places < np.array([width, height]) - 0.5)
    inside = np.asarray(within.all(axis=1))
    gaps = mask_distances(np.where(inside[:, None], places, 0), mask)
    return np.asarray(inside & (gaps > np.asarray(margin, dtype=np.float64) + 1))


def mask_distances(points: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance (N,) in px from the pixel nearest to each point (N, 2) to the nearest pixel that is not valid.

    Infinite where all of the mask (H, W) is valid. A point outside the image is taken to its border.
    """
    if mask.all():
        return np.full(len(points), np.inf)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    x, y = np.clip(np.rint(points), 0, np.array(mask.shape[::-1]) - 1).astype(np.int64).T
    return np.asarray(distance[y, x], dtype=np.float64)


SIFT_SIGMA, SIFT_LAYERS = 1.6, 3  # of the pyramid's first level, and levels an octave
DEFAULT_SIGMA_PX = 64 / 12  # of keypoints without a scale: a patch of 12 sigmas and 64 samples has one a pixel


@dataclass(frozen=True)
class Keypoints:
    """Keypoints by falling response."""

    frames: NDArray[np.float64]  # (N, 2, 3), see `tiepoint.features.frames`
    responses: NDArray[np.float32]  # (N,), the detector's own measure; SIFT's is the contrast
    opencv: tuple[cv2.KeyPoint, ...] = ()  # the same as OpenCV holds them, where it found them; see `to_opencv`

    @classmethod
    def from_opencv(cls, found: tuple[cv2.KeyPoint, ...]) -> Keypoints:
        """Keypoints whose `size` is 2 sigma."""
        return cls(from_opencv(found), np.array([k.response for k in found], dtype=np.float32), found)

    @classmethod
    def at(
        cls, points: NDArray[np.floating], responses: NDArray[np.floating], sigma: float = DEFAULT_SIGMA_PX
    ) -> Keypoints:
        """Upright keypoints of one scale at points (N, 2)."""
        count = len(points)
        return cls(compose(points, np.full(count, sigma), np.zeros(count)), np.asarray(responses, dtype=np.float32))

    @property
    def points(self) -> NDArray[np.float64]:
        """Positions (N, 2), x and y in pixels."""
        return self.frames[:, :, 2]

    def __len__(self) -> int:
        return len(self.frames)

    def take(self, rows: NDArray[Any]) -> Keypoints:
        """The keypoints of an index or mask."""
        indices = np.arange(len(self))[rows]
        opencv = tuple(self.opencv[i] for i in indices) if self.opencv else ()
        return Keypoints(self.frames[indices], self.responses[indices], opencv)

    def by_response(self) -> Keypoints:
        """Sorted by falling response; equal ones by y, x, scale and angle, so that the order is always the same."""
        clockwise = np.round(-angles(self.frames), 6) % (2 * np.pi)
        scales = np.round(sigmas(self.frames), 6)  # a turned frame's scale differs in the last digits
        return self.take(np.lexsort((clockwise, scales, self.points[:, 0], self.points[:, 1], -self.responses)))

    def distinct(self) -> Keypoints:
        """The first at each place and scale: without the further orientations of a point."""
        keys = np.column_stack([self.points, sigmas(self.frames)])
        return self.take(np.sort(np.unique(np.round(keys, 6), axis=0, return_index=True)[1]))

    def to_opencv(self) -> tuple[cv2.KeyPoint, ...]:
        """The keypoints for OpenCV's own SIFT descriptor, which reads the level of its pyramid from `octave`.

        Those that OpenCV found are given as it holds them; others lose their affine shape, and take the nearest level.
        """
        if self.opencv:
            return self.opencv
        made = to_opencv(self.frames, self.responses)
        octaves = sift_octaves(sigmas(self.frames)).tolist()
        for keypoint, octave in zip(made, octaves, strict=True):
            keypoint.octave = octave
        return made


def sift_octaves(scales: NDArray[np.floating]) -> NDArray[np.int64]:
    """`octave` of SIFT keypoints with these sigmas, as OpenCV packs it: octave from -1 in the low byte, layer above."""
    level = np.rint(SIFT_LAYERS * np.log2(np.maximum(scales, 1e-9) / SIFT_SIGMA)).astype(np.int64)
    octave = np.maximum((level - 1) // SIFT_LAYERS, -1)  # layers 1 to 3 have both neighbours
    layer = np.clip(level - SIFT_LAYERS * octave, 0, SIFT_LAYERS + 2)
    return np.asarray((octave & 255) | (layer << 8))
