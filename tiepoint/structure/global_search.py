"""A first transform without keypoints: the similarity under which the structure of two images agrees best.

Both images are reduced; for every rotation and scale of a grid the fields of `tiepoint.structure.orientation_field` are
correlated over all shifts by the Fourier transform. It finds moderate rotations and scales, whatever the spectra.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tiepoint.images.downsampled import VALID_FRACTION, resize, resize_mask
from tiepoint.images.window import rotation_matrix, scaling
from tiepoint.structure.orientation_field import orientation_field
from tiepoint.types import Masks, Matrix

ROTATIONS = tuple(float(r) for r in np.arange(-18, 19, 3))
SCALES = (0.88, 0.94, 1.0, 1.06, 1.13)
SIDE_PX = 256
MIN_MEAN_SQUARE = 1e-2  # mean square of a field that shows nothing


class Coarse(NamedTuple):
    """A similarity found by correlation."""

    matrix: Matrix  # maps a pixel (x, y, 1) of a to b
    score: float  # correlation of both fields over their norms, in -1..1; a small overlap cannot give a high one


def correlate(
    a: NDArray[Any],
    b: NDArray[Any],
    *,
    rotations: Sequence[float] = ROTATIONS,
    scales: Sequence[float] = SCALES,
    side: int = SIDE_PX,
    masks: Masks = (None, None),
) -> list[Coarse]:
    """The best similarity from a to b of every rotation and scale, by falling score; see the module.

    Args:
        a, b: (H, W), grey, of any depth and size.
        rotations: degrees, counter-clockwise as seen on the screen.
        scales: pixels of b for one of a.
        side: longer side of the reduced b, px; a is reduced by the same factor.
        masks: valid pixels of a and of b.
    """
    zoom = min(1.0, side / max(b.shape))
    small_a, small_b = resize(a, zoom), resize(b, zoom)
    small_masks = [resize_mask(mask, zoom) for mask in masks]
    field = orientation_field(small_b, mask=small_masks[1])
    seen = np.ones_like(small_a) if small_masks[0] is None else small_masks[0].astype(np.float32)
    largest = np.hypot(*small_a.shape) * max(scales) + 2
    size = cv2.getOptimalDFTSize(int(max(small_b.shape) + largest))
    target = fft.fft2(field, (size, size))
    norm = np.linalg.norm(field)
    up = scaling(1 / zoom)
    down = np.linalg.inv(up)
    found = []
    for scale in scales:
        for rotation in rotations:
            warp, shape = _about_centre(small_a.shape, scale, rotation)
            moved = cv2.warpAffine(small_a, warp, shape, borderMode=cv2.BORDER_REPLICATE)
            template = orientation_field(moved, mask=cv2.warpAffine(seen, warp, shape) > VALID_FRACTION)
            scores = fft.ifft2(fft.fft2(template, (size, size)).conj() * target).real
            y, x = (int(v) for v in np.unravel_index(int(np.argmax(scores)), scores.shape))
            matrix = np.vstack([warp, [0, 0, 1]])
            matrix[:2, 2] += [v - size if v > size // 2 else v for v in (x, y)]
            score = float(scores[y, x] / max(np.linalg.norm(template) * norm, MIN_MEAN_SQUARE * template.size))
            found.append(Coarse(up @ matrix @ down, score))
    return sorted(found, key=lambda c: -c.score)


def _about_centre(shape: tuple[int, ...], scale: float, degrees: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The 2x3 matrix that turns and scales an image about its centre into the frame that holds it, and its size."""
    linear = scale * rotation_matrix(degrees)
    size = np.ceil(np.abs(linear) @ np.array(shape[::-1])).astype(int) + 1
    shift = (size - 1) / 2 - linear @ (np.array(shape[::-1]) - 1) / 2
    return np.column_stack([linear, shift]), (int(size[0]), int(size[1]))
