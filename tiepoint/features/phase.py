"""Phase congruency: how far an image's frequencies agree in phase at a pixel, whatever their contrast.

For orientation o, with e_s + i o_s the response of the log-Gabor filter of scale s, A_s its modulus, (E, O) the sums of
e_s and o_s over the scales and F = |(E, O)|:

    PC_o = w floor(sum_s (e_s E + o_s O - |e_s O - o_s E|) / F - T) / (sum_s A_s + eps)

floor cuts at 0. The noise threshold T = tau (sqrt(pi/2) + K sqrt((4 - pi)/2)), with tau the Rayleigh parameter of the
modulus that noise has over all scales, estimated from the median modulus at the finest one. w = 1 / (1 + exp(G (1/2 -
b))) weighs by b, the share of scales that respond. Over the orientations t_o, PC_o is a quadratic form whose greater
eigenvalue is large on edges and corners, and whose smaller one on corners alone:

    a = sum_o (PC_o cos t_o)^2, b = 2 sum_o PC_o^2 cos t_o sin t_o, c = sum_o (PC_o sin t_o)^2,
    M, m = (c + a +- sqrt(b^2 + (a - c)^2)) / ORIENTATIONS

Sources: Kovesi, Videre 1(3), 1999, and "Phase congruency detects corners and edges", DICTA 2003; the constants of
RIFT, Li, Hu and Ai, IEEE TIP 29, 2020.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.images.window import Window

SCALES, ORIENTATIONS = 4, 6
WAVELENGTH, STEP = 3.0, 1.6  # of the finest filter in pixels, and from one to the next
BANDWIDTH = 0.75  # the log-Gabor's sigma over its centre frequency
NOISE, SHARPNESS = 1.0, 3.0  # K and G
EPS = 1e-4  # beside moduli of grey values 0 to 255
TILE_PX, MARGIN_PX = 1024, 48  # pixels; the coarsest filter, of 12.3 px, has died away at 48
NOISE_TILES = 4

Array = NDArray[np.float32]


def moments(image: NDArray[np.uint8] | Array) -> tuple[Array, Array]:
    """Greater and smaller moment M and m of phase congruency at each pixel; about 0 to 1, large at edges and corners.

    Large images are worked on by tiles: beside the image and the results, memory does not grow with it. The image is
    (H, W), of grey values of 0 to 255, neither empty nor with NaN; the results are (H, W), float32.
    """
    greater, smaller = (np.empty(image.shape, dtype=np.float32) for _ in range(2))
    tiles = _Tiles(image)
    bank = _Bank.create(tiles.shape)
    some = tiles.places[:: math.ceil(len(tiles.places) / NOISE_TILES)]
    spectra = [np.fft.fft2(tiles.window(place)) for place in some]
    noise = [float(np.mean([bank.rayleigh(spectrum, o) for spectrum in spectra])) for o in range(ORIENTATIONS)]
    del spectra
    for place in tiles.places:
        inner = slice(MARGIN_PX, MARGIN_PX + place.height), slice(MARGIN_PX, MARGIN_PX + place.width)
        large, small = bank.moments(np.fft.fft2(tiles.window(place)), noise)
        greater[place.slices], smaller[place.slices] = large[inner], small[inner]
    return greater, smaller


class _Tiles:
    """Windows of one shape, fit for the Fourier transform, over an image mirrored at its border."""

    def __init__(self, image: NDArray[np.uint8] | Array) -> None:
        self.height, self.width = (math.ceil(n / math.ceil(n / TILE_PX)) for n in image.shape)
        self.places = Window.tiles((image.shape[0], image.shape[1]), self.height, self.width)
        self.shape = tuple(cv2.getOptimalDFTSize(n + 2 * MARGIN_PX) for n in (self.height, self.width))
        self._image = image

    def window(self, place: Window) -> Array:
        starts = zip((place.y, place.x), self.shape, self._image.shape, strict=True)
        rows, columns = (_mirrored(start - MARGIN_PX, side, n) for start, side, n in starts)
        return self._image[np.ix_(rows, columns)].astype(np.float32)


def _mirrored(start: int, count: int, length: int) -> NDArray[np.int64]:
    """Indices from `start` reflected into 0..length-1, as ... 2 1 0 1 2 ..."""
    period = max(2 * (length - 1), 1)
    folded = np.abs(np.arange(start, start + count)) % period
    return np.asarray(np.minimum(folded, (period - folded) % period))


@dataclass(frozen=True)
class _Bank:
    """Log-Gabor filters in the frequency domain: each the product of a radial and an angular part."""

    radial: list[Array]  # SCALES of (H, W)
    angular: list[Array]  # ORIENTATIONS of (H, W)

    @classmethod
    def create(cls, shape: tuple[int, ...]) -> _Bank:
        fy, fx = (np.fft.fftfreq(n).astype(np.float32) for n in shape)
        radius = np.hypot(fy[:, None], fx[None])
        radius[0, 0] = 1
        low_pass = 1 / (1 + (radius / 0.45) ** 30)  # without the corners of the square, which have no other side
        low_pass[0, 0] = 0
        radial = []
        for s in range(SCALES):
            octaves = np.log(radius * (WAVELENGTH * STEP**s))
            radial.append((np.exp(-(octaves**2) / (2 * math.log(BANDWIDTH) ** 2)) * low_pass).astype(np.float32))
        angular = []
        for o in range(ORIENTATIONS):
            turn = np.arctan2(fy[:, None], fx[None]) - math.pi * o / ORIENTATIONS
            apart = np.minimum(np.abs(np.arctan2(np.sin(turn), np.cos(turn))) * ORIENTATIONS / 2, math.pi)
            angular.append(((np.cos(apart) + 1) / 2).astype(np.float32))
        return cls(radial, angular)

    def responses(self, spectrum: NDArray[np.complexfloating], orientation: int) -> Iterator[tuple[Array, Array]]:
        """Even and odd response at each scale."""
        turned = spectrum * self.angular[orientation]
        for radial in self.radial:
            response = np.fft.ifft2(turned * radial)
            yield response.real.astype(np.float32), response.imag.astype(np.float32)

    def rayleigh(self, spectrum: NDArray[np.complexfloating], orientation: int) -> float:
        """tau: if noise's modulus at the finest scale is Rayleigh distributed, it falls with the scale's bandwidth."""
        finest = float(np.median(np.hypot(*next(self.responses(spectrum, orientation))))) / math.sqrt(math.log(4))
        return finest * (1 - STEP**-SCALES) / (1 - 1 / STEP)

    def moments(self, spectrum: NDArray[np.complexfloating], noise: list[float]) -> tuple[Array, Array]:
        """M and m over one window."""
        a, b, c = (np.zeros(spectrum.shape, np.float32) for _ in range(3))
        for o, tau in enumerate(noise):
            square = _congruency(list(self.responses(spectrum, o)), tau) ** 2
            cos, sin = math.cos(math.pi * o / ORIENTATIONS), math.sin(math.pi * o / ORIENTATIONS)
            a += square * (cos * cos)
            b += square * (2 * cos * sin)
            c += square * (sin * sin)
        root = np.sqrt(b * b + (a - c) ** 2)
        return np.asarray((c + a + root) / ORIENTATIONS), np.asarray((c + a - root) / ORIENTATIONS)


def _congruency(responses: list[tuple[Array, Array]], tau: float) -> Array:
    """PC of one orientation."""
    even, odd = (np.sum(parts, axis=0) for parts in zip(*responses, strict=True))
    length = np.hypot(even, odd) + EPS
    even, odd = even / length, odd / length
    energy, total, largest = (np.zeros_like(length) for _ in range(3))
    for e, o in responses:
        energy += e * even + o * odd - np.abs(e * odd - o * even)
        modulus = np.hypot(e, o)
        total += modulus
        np.maximum(largest, modulus, out=largest)
    share = (total / (largest + EPS) - 1) / (SCALES - 1)
    weight = 1 / (1 + np.exp(SHARPNESS * (0.5 - share)))
    threshold = tau * (math.sqrt(math.pi / 2) + NOISE * math.sqrt((4 - math.pi) / 2))
    return np.asarray(weight * np.maximum(energy - threshold, 0) / (total + EPS), dtype=np.float32)
