"""Structure that spectra share: which way edges run, whatever side of them is bright.

At a pixel with the derivatives Gx and Gy of an image smoothed by `sigma`, and <> a second smoothing by `sigma`,

    J = <(Gx + i Gy)^2>,  E = <|Gx + i Gy|^2>,  z = (J / E) sqrt(min(E / (L + f M), 4))

The angle of J is twice that of the edge, so an edge and its negative give the same number and random ones cancel.
|J| / E tells edges from noise; the root makes strong and weak edges alike, L being the mean of E around the pixel and
M that of the image.

Source: doubled angles after Granlund (1978) and Knutsson; their correlation is a form of orientation correlation, Fitch
et al., BMVC 2002.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.complex64]
LOCAL_MEAN_SIGMA_PX = 8.0  # sigma of L, px
FLOOR = 0.1  # f
EDGE_PX = 4  # px: how far an edge of nodata reaches in the field
MAX_RELATIVE_ENERGY = 4.0
ROUNDING = 1e-4  # of grey values, relative: what a constant image's derivatives may be


def orientation_field(image: NDArray[Any], sigma: float = 1.0, mask: NDArray[np.bool_] | None = None) -> Field:
    """The field z (H, W), complex64, |z| <= 2, of a grey image (H, W) of any depth; about 0 where it is flat.

    Zero at EDGE_PX px and less from pixels outside `mask` (H, W), whose field is that of the mask's edge.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), sigma)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3)
    real, imaginary, energy = (
        cv2.GaussianBlur(part, (0, 0), sigma) for part in (gx * gx - gy * gy, 2 * gx * gy, gx * gx + gy * gy)
    )
    floor = FLOOR * float(energy.mean()) + (ROUNDING * float(np.abs(smooth).max())) ** 2 + 1e-30
    around = cv2.GaussianBlur(energy, (0, 0), LOCAL_MEAN_SIGMA_PX) + floor
    strength = np.sqrt(np.minimum(energy / around, MAX_RELATIVE_ENERGY)) / (energy + 1e-5 * floor)
    field = np.asarray((real + 1j * imaginary) * strength, dtype=np.complex64)
    if mask is not None:
        field[~shrink_mask(mask)] = 0
    return field


def shrink_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask (H, W) without the pixels that lie EDGE_PX px and less from others, or from the border."""
    kernel = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), kernel, borderValue=0) > 0)
