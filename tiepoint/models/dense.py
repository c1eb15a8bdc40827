"""Descriptors of every window of an image, by networks in dense form."""

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.errors import InputError
from tiepoint.images.downsampled import resize, resize_mask
from tiepoint.nets.dense import WINDOW_PX, DenseForm
from tiepoint.nets.inputs import floats
from tiepoint.types import Mask, Points

DEFAULT_WIDTH_PX = 64.0  # of windows, for describers that were trained on patches of many widths
MAX_TILE_PX = 1024  # px of the network's input, along each side of what it sees at once
MAX_SHARE = 0.5  # of the machine's memory, that descriptors may take
MARGIN_PX = 64  # px of the network's input: how far a descriptor still feels what lies beside its window


@dataclass(frozen=True)
class Dense:
    """Descriptors of an image on a grid of windows.

    Attributes:
        vectors: (D, H, W), float32, unit vectors; of use where `valid`.
        valid: (H, W) bool, whether all pixels of a window are valid.
        origin: x and y, px, of the centre of the window of row 0 and column 0.
        stride: px between the centres of neighbouring windows.
        width: side of a window, px.
    """

    vectors: Tensor
    valid: Tensor
    origin: float
    stride: float
    width: float

    @property
    def points(self) -> Points:
        """Centres (H, W, 2) of the windows: x and y in pixels of the image."""
        rows, columns = self.valid.shape
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        return np.stack([x, y], axis=-1).astype(np.float64) * self.stride + self.origin


@torch.inference_mode()
def describe_densely(
    form: DenseForm,
    image: NDArray[Any],
    stride: float,
    mask: Mask | None = None,
    width: float = DEFAULT_WIDTH_PX,
    tile: int = MAX_TILE_PX,
) -> Dense:
    """Describe every window of an image; see `tiepoint.models.describer.LearnedDescriber.dense`.

    Args:
        form: of the network, in evaluation mode.
        image: (H, W), float in 0..1, uint8 or uint16.
        stride: px between windows.
        mask: valid pixels, (H, W) bool; None where all are.
        width: of a window, px.
        tile: largest side, px of the network's input, of what is described at once; bounds memory.
    """
    mask = None if mask is None else np.asarray(mask, dtype=bool)
    _check(image, mask, width)
    zoom = WINDOW_PX / width
    step = stride * zoom
    natural = float(form.stride)
    coarser, finer = step / natural, natural / step if step > 0 else math.inf
    if not (1 <= step < math.inf and (coarser.is_integer() or finer.is_integer())):
        raise InputError(_bad_stride(stride, natural / zoom, width))
    _check_memory(image.shape, stride, natural / zoom, form.dimension)
    image = floats(torch.from_numpy(np.ascontiguousarray(image))).numpy()
    if not np.isfinite(image if mask is None else image[mask]).all():
        raise InputError("image has values that are not finite: mask them")
    small = torch.from_numpy(resize(image, zoom) if zoom < 1 else image)
    held = resize_mask(mask, zoom) if zoom < 1 else mask
    valid = torch.ones_like(small) if held is None else torch.from_numpy(held.astype(np.float32))
    weight = next(form.parameters())
    small = torch.where(valid > 0, small, 0.0)
    offsets = range(0, form.stride, int(step)) if finer > 1 else (0,)
    every = max(1, int(coarser))
    parts = [[_tiles(form, small[y:, x:], valid[y:, x:], tile, weight, every) for x in offsets] for y in offsets]
    across = len(offsets)
    rows, columns = ((side - WINDOW_PX) // (form.stride * every // across) + 1 for side in small.shape)
    vectors, whole = torch.zeros(len(parts[0][0][0]), rows, columns), torch.zeros(rows, columns, dtype=torch.bool)
    for y, line in enumerate(parts):
        for x, (described, seen) in enumerate(line):
            vectors[:, y::across, x::across], whole[y::across, x::across] = described, seen
    origin = (0.5 * (WINDOW_PX - 1) + 0.5) / zoom - 0.5
    return Dense(vectors, whole, origin, stride, width)


def _tiles(
    form: DenseForm, image: Tensor, valid: Tensor, tile: int, weight: Tensor, every: int
) -> tuple[Tensor, Tensor]:
    """Vectors (D, h, w) and validity (h, w) of windows, described tile by tile; tiles see a margin of others.

    They are computed where `weight` is, in its precision, and statistics in float32.
    """
    height, width = image.shape
    stride = form.stride * every
    rows, columns = ((side - WINDOW_PX) // stride + 1 for side in (height, width))
    step = max(1, (tile - 2 * MARGIN_PX - WINDOW_PX) // stride)
    lines = []
    for y in range(0, rows, step):
        line = []
        for x in range(0, columns, step):
            bottom, right = min(y + step, rows), min(x + step, columns)
            top, left = (max(0, start * stride - MARGIN_PX) // stride * stride for start in (y, x))
            area = (
                slice(top, bottom * stride + WINDOW_PX + MARGIN_PX),
                slice(left, right * stride + WINDOW_PX + MARGIN_PX),
            )
            planes = (plane[area].to(weight)[None, None] for plane in (image, valid))
            vectors, seen = form(*planes, every)
            here = slice(y - top // stride, bottom - top // stride), slice(x - left // stride, right - left // stride)
            line.append((vectors[0][:, *here].cpu(), seen[0, 0][here].cpu()))
        lines.append([torch.cat(side, dim=-1) for side in zip(*line, strict=True)])
    vectors, seen = (torch.cat(side, dim=-2) for side in zip(*lines, strict=True))
    return vectors, seen


def _check(image: NDArray[Any], mask: Mask | None, width: float) -> None:
    if not WINDOW_PX <= width < math.inf:
        raise InputError(f"width is {width:g}: give the side of a window, {WINDOW_PX} px or more")
    if image.ndim != 2 or min(image.shape) < width:
        raise InputError(
            f"image has shape {image.shape}: give a grey image (H, W) that holds a window of {width:g} x {width:g} px"
        )
    if mask is not None and mask.shape != image.shape:
        raise InputError(f"mask has shape {mask.shape}, image {image.shape}: give one of the image's size")
    if mask is not None and not mask.any():
        raise InputError("all pixels are masked: there is nothing to describe")


def _check_memory(shape: tuple[int, ...], stride: float, natural: float, dimension: int) -> None:
    """Raises InputError where the descriptors alone would take more than MAX_SHARE of the machine's memory."""
    needed = 4 * dimension * math.prod(shape) / stride**2
    held = MAX_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    if needed > held:
        larger = natural * 2 ** math.ceil(math.log2(max(1.0, stride / natural * math.sqrt(needed / held))))
        size = f"{shape[1]} x {shape[0]} px take {needed / 2**30:.1f} GiB at a stride of {stride:g}"
        raise InputError(f"descriptors of {size}, more than half of the memory: give {larger:g}, or parts of the image")


def _bad_stride(stride: float, natural: float, width: float) -> str:
    choices = ", ".join(f"{natural * 2.0**k:g}" for k in (-2, -1, 0, 1))
    return (
        f"stride is {stride:g}: for windows of {width:g} px give one of {choices}, or a larger multiple of {natural:g}"
    )
