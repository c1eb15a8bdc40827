"""Match probabilities of places of two registered images, by a relater."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.imaging.io import to_unit, value_range
from tiepoint.relater import LearnedRelater

CHUNK = 256  # places at a time


def relate_places(
    a: NDArray[Any],
    b: NDArray[Any],
    matrix: NDArray[np.float64],
    places: NDArray[np.float64],
    relater: LearnedRelater,
    spectra: tuple[str, str] | None = None,
) -> NDArray[np.float64]:
    """Probability (N,), in 0..1, that a and b show the same at each place.

    The patches are upright in b, as wide as the relater's input, one pixel a sample; those of a are sampled at the same
    grid, carried over by the transform, and border pixels are repeated beyond an image. Values are scaled by the
    image's own range, see `tiepoint.imaging.io.value_range`.

    Args:
        a, b: (H, W), grey, of any depth.
        matrix: (3, 3), maps a pixel (x, y, 1) of a to b.
        places: (N, 2) pixels of b.
        relater: a loaded one.
        spectra: of a and of b; the relater's own in their order if None.

    Raises:
        InputError: spectra that the relater was not trained for.
    """
    order = tuple(relater.spectra) if spectra is None else spectra
    if sorted(order) != sorted(relater.spectra):
        raise InputError(f"{relater.name}: relates {' and '.join(relater.spectra)}, not {' and '.join(order)}")
    if not len(places):
        return np.empty(0)
    size = relater.input_size
    offsets = np.arange(size) - size // 2
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    grid = np.stack([x, y], axis=2).reshape(1, -1, 2)
    back = np.linalg.inv(matrix)
    images = [to_unit(image, value_range(image)).clip(0, 1) for image in (a, b)]
    parts = []
    for start in range(0, len(places), CHUNK):
        where = np.asarray(np.rint(places[start : start + CHUNK])[:, None] + grid, np.float64)
        in_a = np.asarray(cv2.perspectiveTransform(where.reshape(-1, 1, 2), back), np.float64).reshape(where.shape)
        patches = [_sample(image, spots, size) for image, spots in zip(images, (in_a, where), strict=True)]
        if order != tuple(relater.spectra):
            patches.reverse()
        parts.append(relater(*patches).double().cpu().numpy())
    return np.concatenate(parts)


def _sample(image: NDArray[np.float32], where: NDArray[np.float64], size: int) -> torch.Tensor:
    maps = where.reshape(len(where) * size, size, 2).astype(np.float32)  # OpenCV maps at most 32,767 rows in one call
    x, y = maps[:, :, 0], maps[:, :, 1]
    sampled = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(sampled.reshape(len(where), 1, size, size))
