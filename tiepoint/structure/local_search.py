"""Tie points to a fraction of a pixel, by correlating the structure of two images around points of one of them.

Image a is warped by the transform so far; around each point the field of the warped image is correlated with that of b
over all shifts up to `radius` (see `tiepoint.structure.orientation_field`), and the best shift, by a parabola through
its neighbours, moves the point's partner.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tiepoint.features.corners import parabola_vertex
from tiepoint.images.downsampled import lay_over
from tiepoint.structure.orientation_field import Field, orientation_field, shrink_mask
from tiepoint.types import Masks, Points

CHUNK = 64
MIN_SCORE = 0.01  # for a weight


@dataclass(frozen=True)
class Refined:
    """Correspondences found by local correlation."""

    a: Points  # (N, 2) pixels of a
    b: Points  # (N, 2) pixels of b
    scores: NDArray[np.float64]  # (N,) correlation at the best shift over the norms, in -1..1
    tried: int  # number of points whose windows lay inside both images, whatever their best shift

    def __len__(self) -> int:
        return len(self.a)


def weights_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much correspondences of these scores (N,) count in a fit (N,): their squares."""
    return np.maximum(scores, MIN_SCORE) ** 2


def local_shifts(
    a: NDArray[Any],
    b: NDArray[Any],
    matrix: Points,
    *,
    window: int = 64,
    radius: int = 12,
    cells: int = 20,
    places: Points | None = None,
    masks: Masks = (None, None),
) -> Refined:
    """Correlate a, warped by `matrix` (3, 3; a -> b), with b around points of b.

    Args:
        a, b: (H, W), grey, of any depth.
        matrix: the transform so far, good to `radius` px.
        window: side of what is correlated, px, even.
        radius: largest shift along x and y, px.
        cells: cells along the longer side of b if no `places` are given; the strongest corner of each cell is used.
        places: (N, 2) pixels of b.
        masks: valid pixels of a and of b.

    Returns:
        The points that lie on valid pixels, whose windows lie inside both images, and whose best shift is less than the
        radius.
    """
    height, width = b.shape
    moved, covered = lay_over(a.astype(np.float32), matrix, b.shape, masks[0])
    template = orientation_field(moved, mask=covered)
    search = orientation_field(b, mask=masks[1])
    inside = shrink_mask(covered if masks[1] is None else covered & masks[1])
    half = window // 2
    if places is None:
        places = strongest_points(template, inside, cells, half + radius)
    x, y = np.rint(places).T
    margin = half + radius
    kept = (x >= margin) & (y >= margin) & (x < width - margin) & (y < height - margin)
    kept[kept] &= inside[tuple(np.rint(places[kept][:, ::-1]).astype(int).T)]
    places = np.rint(places[kept])
    shifts, scores = _correlate(template, search, places.astype(int), half, radius)
    sound = np.isfinite(scores) & (np.abs(shifts).max(axis=1, initial=0) < radius)
    if not sound.any():
        return Refined(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), len(places))
    back = cv2.perspectiveTransform(places[sound].reshape(-1, 1, 2), np.linalg.inv(matrix))
    there = np.asarray(back, np.float64).reshape(-1, 2)
    return Refined(there, places[sound] + shifts[sound], scores[sound], len(places))


def strongest_points(field: Field, inside: NDArray[np.bool_], cells: int, border: int) -> Points:
    """The pixel of most structure, in more than one direction, of each cell of a grid, (N, 2)."""
    strength = np.abs(field)
    spread = cv2.GaussianBlur(strength, (0, 0), 8) - np.abs(_blur(field, 8))  # high where directions differ
    value = np.where(inside, spread, 0)
    height, width = value.shape
    side = max(8, max(height, width) // cells)
    found = []
    for y in range(border, height - border, side):
        for x in range(border, width - border, side):
            part = value[y : min(y + side, height - border), x : min(x + side, width - border)]
            at = int(np.argmax(part))
            if part.flat[at] > 0:
                found.append((x + at % part.shape[1], y + at // part.shape[1]))
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def _blur(field: Field, sigma: float) -> Field:
    parts = [cv2.GaussianBlur(np.ascontiguousarray(part), (0, 0), sigma) for part in (field.real, field.imag)]
    return np.asarray(parts[0] + 1j * parts[1], dtype=np.complex64)


def _correlate(
    template: Field, search: Field, places: NDArray[np.int64], half: int, radius: int
) -> tuple[Points, NDArray[np.float64]]:
    """Of each point the best shift (N, 2) and its score (N,)."""
    shifts, scores = np.zeros((len(places), 2)), np.full(len(places), np.nan)
    reach = half + radius
    size = cv2.getOptimalDFTSize(2 * reach)
    span = 2 * radius + 1
    for start in range(0, len(places), CHUNK):
        part = places[start : start + CHUNK]
        small = np.stack([template[y - half : y + half, x - half : x + half] for x, y in part])
        large = np.stack([search[y - reach : y + reach, x - reach : x + reach] for x, y in part])
        product = fft.fft2(small, (size, size)).conj() * fft.fft2(large, (size, size))
        surface = fft.ifft2(product).real[:, :span, :span]
        # Shifts are small, so the norm of the unshifted window serves all.
        under = np.square(np.abs(large))[:, radius : radius + 2 * half, radius : radius + 2 * half]
        norms = np.sqrt(np.square(np.abs(small)).sum(axis=(1, 2)) * under.sum(axis=(1, 2)).astype(np.float64))
        surface /= np.maximum(norms, 1e-6)[:, None, None]
        for row, values in enumerate(surface):
            y, x = divmod(int(np.argmax(values)), values.shape[1])
            scores[start + row] = values[y, x]
            shifts[start + row] = x - radius + _vertex(values[y, :], x), y - radius + _vertex(values[:, x], y)
    return shifts, scores


def _vertex(values: NDArray[np.floating], at: int) -> float:
    """Where the maximum of values lies between them, relative to its index `at`; 0 at either end."""
    if not 0 < at < len(values) - 1:
        return 0.0
    return float(parabola_vertex(*values[at - 1 : at + 2].astype(np.float64)))
