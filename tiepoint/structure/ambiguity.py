"""Agreement that proves little: mirrored images, texture that repeats, and too few windows to rule out chance.

Around such transforms the structure of both images agrees as it does around right ones, so the evidence of
`tiepoint.registration.verdict` does not tell them apart; what else would agree as well does.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tiepoint.images.downsampled import resize, resize_mask
from tiepoint.structure.align import independent_windows
from tiepoint.structure.global_search import ROTATIONS, SCALES, correlate
from tiepoint.structure.orientation_field import orientation_field
from tiepoint.types import Mask, Masks, Points

# On training images: of 39 pairs across spectra the better mirrored image correlates at most 0.67 times as well as the
# right one, and images with their own mirror image at least 2.1 times as well; of 126 images none repeats itself by
# more than 0.5, boards and bricks by 0.87 or more. Noise of many scales registers to other noise with scores to 0.15.
MAX_MIRRORED_RATIO, MAX_REPETITION, MIN_SCORE_OF_FEW_WINDOWS = 1.25, 0.8, 0.2
MIN_CONFIRMING_MATCHES = 50  # keypoint matches that a mirrored image, or chance, would not give: road scenes gave 30
MIN_WINDOWS = 8.0
SIDE_PX = 512
PEAK_WIDTH_PX = 6.0  # px of the reduced image: the width of the correlation's own peak
MIN_OVERLAP = 0.4
EQUAL_PEAK_RATIO = 0.95  # of the best peak: a period's multiples are as good, up to rounding
AMBIGUOUS_CAP = 0.1  # confidence that an ambiguous transform keeps at most


def find_ambiguities(
    a: NDArray[Any],
    b: NDArray[Any],
    places: Points,
    score: float,
    matches: int,
    masks: Masks = (None, None),
    coarse: float | None = None,
    *,
    chance: bool = True,
) -> tuple[str, ...]:
    """Why a transform that the structure confirms may be wrong all the same, in words; empty where nothing says so.

    Args:
        a, b: (H, W), grey, of any depth.
        places: (N, 2) pixels of b at which the structure agrees.
        score: median correlation there, in -1..1.
        matches: keypoint matches that agree; MIN_CONFIRMING_MATCHES of them rule out mirrors and chance.
        masks, coarse: see `mirrored_ratio`.
        chance: whether agreement in a few windows may be chance, which windows that recognise each other rule out.
    """
    found = []
    strength, period = find_repetition(b, masks[1])
    if strength > MAX_REPETITION:
        found.append(f"the texture repeats every {np.hypot(*period):.0f} px: a transform off by that fits as well")
    if matches >= MIN_CONFIRMING_MATCHES:
        return tuple(found)
    if mirrored_ratio(a, b, masks, coarse) > MAX_MIRRORED_RATIO:
        found.append("the images agree better when one is mirrored: flip it")
    windows = independent_windows(places, b.shape)
    if chance and windows < MIN_WINDOWS and score < MIN_SCORE_OF_FEW_WINDOWS:
        few = f"the images agree in {windows:.0f} windows with a correlation of {score:.2f}"
        found.append(f"{few}: chance gives as much")
    return tuple(found)


def mirrored_ratio(a: NDArray[Any], b: NDArray[Any], masks: Masks = (None, None), coarse: float | None = None) -> float:
    """How much better a, flipped, correlates with b than a does, as a ratio; see `tiepoint.structure.global_search`.

    The flipped image is tried at half of the rotations and scales, which finds what is turned by a few degrees.
    `masks` are valid pixels; `coarse` is the best score of `correlate` of both images, computed here if None.
    """
    best = correlate(a, b, masks=masks)[0].score if coarse is None else coarse
    flipped = 0.0
    for axis in (0, 1):
        mask = None if masks[0] is None else np.flip(masks[0], axis)
        found = correlate(np.flip(a, axis), b, rotations=ROTATIONS[::2], scales=SCALES[::2], masks=(mask, masks[1]))
        flipped = max(flipped, found[0].score)
    return flipped / max(best, 1e-6)


def find_repetition(image: NDArray[Any], mask: Mask | None = None) -> tuple[float, tuple[float, float]]:
    """How well an image's structure correlates with itself elsewhere, in 0..1, and where: x and y in pixels.

    The shift is the nearest of the best peaks, among the shifts at which MIN_OVERLAP of the structure lies over
    structure. Without a peak the correlation is 0. Texture finer than a few pixels of the image, reduced to a longer
    side of SIDE_PX, is not seen. The image (H, W) is grey, of any depth; `mask` its valid pixels.
    """
    zoom = min(1.0, SIDE_PX / max(image.shape))
    field = orientation_field(resize(image, zoom), mask=resize_mask(mask, zoom))
    shape = (cv2.getOptimalDFTSize(2 * field.shape[0]), cv2.getOptimalDFTSize(2 * field.shape[1]))
    spectrum = fft.fft2(field, shape)
    products = fft.ifft2(np.abs(spectrum) ** 2).real
    power = fft.fft2(np.abs(field) ** 2, shape)
    inside = fft.fft2(np.ones(field.shape), shape)
    # Energy of the part of the field that the shifted image covers, and of the part that covers it.
    energies = [fft.ifft2(p).real for p in (power.conj() * inside, power * inside.conj())]
    ratio = (products / np.sqrt(np.maximum(energies[0] * energies[1], 1e-9))).astype(np.float32)
    y, x = fft.fftfreq(shape[0], 1 / shape[0])[:, None], fft.fftfreq(shape[1], 1 / shape[1])[None]
    enough = np.minimum(*energies) >= MIN_OVERLAP * max(float(np.square(np.abs(field)).sum()), 1e-3)
    peaks = enough & (np.hypot(x, y) > PEAK_WIDTH_PX) & (ratio >= cv2.dilate(ratio, np.ones((5, 5))))
    if not peaks.any():
        return 0.0, (0.0, 0.0)
    best = peaks & (ratio >= EQUAL_PEAK_RATIO * ratio[peaks].max())
    at = np.unravel_index(int(np.argmin(np.where(best, np.hypot(x, y), np.inf))), ratio.shape)
    return max(0.0, float(ratio[at])), (float(x[0, at[1]] / zoom), float(y[at[0], 0] / zoom))
