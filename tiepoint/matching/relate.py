"""Match probabilities by a relater: of places of two registered images, and of pairs of keypoints.

Patches are cut as those of a `PatchSet` of aligned images, which relaters are trained on: upright, 64 samples a side,
one pixel a sample, the place at sample 32. A relater of smaller input reduces them itself.
"""

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError
from tiepoint.features.extract import extract
from tiepoint.features.frames import upright_frames
from tiepoint.features.view import View
from tiepoint.images.pixels import to_unit, value_range
from tiepoint.matching.shortlist import batches
from tiepoint.models.relater import LearnedRelater
from tiepoint.patches import SIZE
from tiepoint.types import Matrix, Planes, Points, Progress

CHUNK = 256  # places at a time
MEMORY = 256_000_000  # bytes of codes
Spectra = tuple[str, str] | None


def relate_places(
    a: Planes, b: Planes, matrix: Matrix, places: Points, relater: LearnedRelater, spectra: Spectra = None
) -> NDArray[np.float64]:
    """Probability (N,), in 0..1, that a and b show the same at each place.

    The patches are upright in b; those of a are sampled at the same grid, carried over by the transform, and border
    pixels are repeated beyond an image. Values are scaled by the image's own range, see
    `tiepoint.images.pixels.value_range`.

    Args:
        a, b: (H, W), grey, of any depth.
        matrix: (3, 3), maps a pixel (x, y, 1) of a to b.
        places: (N, 2) pixels of b.
        relater: a loaded one.
        spectra: of a and of b; the relater's own in their order if None. InputError for others than these.
    """
    order = order_of(relater, spectra)
    if not len(places):
        return np.empty(0)
    size = max(SIZE, relater.input_size)
    offsets = np.arange(size) - size // 2
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    grid = np.stack([x, y], axis=2).reshape(1, -1, 2)
    back = np.linalg.inv(matrix)
    first, second = (to_unit(image, value_range(image)).clip(0, 1) for image in (a, b))
    parts = []
    for start in range(0, len(places), CHUNK):
        where = np.asarray(np.rint(places[start : start + CHUNK])[:, None] + grid, np.float64)
        in_a = np.asarray(cv2.perspectiveTransform(where.reshape(-1, 1, 2), back), np.float64).reshape(where.shape)
        patches = [_sample(first, in_a, size), _sample(second, where, size)]
        if order != relater.spectra:
            patches.reverse()
        parts.append(relater.probabilities(*patches).double().cpu().numpy())
    return np.concatenate(parts)


def relate_pairs(
    a: View,
    b: View,
    pairs: NDArray[np.int64],
    relater: LearnedRelater,
    spectra: Spectra = None,
    *,
    rotation: ArrayLike | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Probability (M,), in 0..1, that the keypoints of each pair show the same.

    Patches are encoded once, not once a pair, as long as their codes fit into `memory`: pairs that share keypoints are
    related together, and a keypoint whose pairs do not fit is encoded again. RRL-Net's codes take 0.5 MB a patch, half
    of it in bf16. While one side is encoded its codes are held twice: half of `memory` comes on top.

    Args:
        a, b: described views whose images are at hand.
        pairs: (M, 2), rows of a and of b.
        relater, spectra: see `relate_places`.
        rotation: (2, 2), how b is rotated and scaled against a, see `tiepoint.matching.rotation`; it cuts its patches.
            None for the identity.
        memory: of the codes, bytes.
        progress: called with pairs done and their number.

    Raises InputError for spectra that the relater was not trained for, or views without their image.
    """
    order = order_of(relater, spectra)
    sides = [_Side(view, linear) for view, linear in ((a, None), (b, rotation))]
    probabilities = np.empty(len(pairs), dtype=np.float32)
    one = relater.encode(torch.zeros(1, 1, SIZE, SIZE), order[0])
    limit = max(2, memory // sum(code.nbytes for code in one))
    done = 0
    for rows in batches(pairs, limit):
        members = [np.unique(pairs[rows, side], return_inverse=True) for side in (0, 1)]
        codes = [
            relater.encode(torch.from_numpy(side.cut(keypoints)), spectrum)
            for side, (keypoints, _), spectrum in zip(sides, members, order, strict=True)
        ]
        inner = torch.from_numpy(np.stack([where for _, where in members], axis=1))
        if order != relater.spectra:
            codes.reverse()
            inner = inner.flip(1)
        probabilities[rows] = relater.relate(codes[0], codes[1], inner).float().cpu().numpy()
        del codes  # before the next ones are made
        done += len(rows)
        if progress:
            progress(done, len(pairs))
    return probabilities


def order_of(relater: LearnedRelater, spectra: Spectra) -> tuple[str, str]:
    """Spectra of two images. Raises InputError for others than the relater was trained for."""
    order = relater.spectra if spectra is None else spectra
    if sorted(order) != sorted(relater.spectra):
        raise InputError(f"{relater.name}: relates {' and '.join(relater.spectra)}, not {' and '.join(order)}")
    return order[0], order[1]  # a list is no equal of a tuple


class _Side:
    """An image in 0..1 and the frames of its keypoints' patches, one sigma a pixel."""

    def __init__(self, view: View, rotation: ArrayLike | None) -> None:
        if view.raster is None:
            few = "only its features are at hand: a relater cuts patches of its own, give a view"
            raise InputError(f"{view.name}: {few}")
        linear = np.eye(2) if rotation is None else np.asarray(rotation, dtype=np.float64)
        self.frames = upright_frames(view.known.points - linear @ [0.5, 0.5], SIZE, SIZE)  # the point is at sample 32
        self.frames[:, :, :2] = linear @ self.frames[:, :, :2]
        pixels = view.raster.pixels
        self.image = to_unit(pixels, value_range(pixels, view.raster.mask)).clip(0, 1)

    def cut(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Patches (N, 1, 64, 64) of some keypoints."""
        return np.asarray(extract(self.image, self.frames[rows], size=SIZE, support=SIZE), dtype=np.float32)


def _sample(image: NDArray[np.float32], where: Points, size: int) -> torch.Tensor:
    maps = where.reshape(len(where) * size, size, 2).astype(np.float32)  # OpenCV maps at most 32,767 rows in one call
    x, y = maps[:, :, 0], maps[:, :, 1]
    sampled = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(sampled.reshape(len(where), 1, size, size))
