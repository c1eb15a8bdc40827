"""Where bands come from, and how they become one grey: a band, the luma of a colour image, or the mean of many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np

from tiepoint.errors import InputError
from tiepoint.images.geo import Geo
from tiepoint.images.pixels import MAX_SAMPLES, percentile_range, to_unit
from tiepoint.images.window import Window
from tiepoint.types import Mask, Planes


class BandSource(Protocol):
    """Bands of an image that can be read in parts.

    `bands` are names, without an alpha channel; `colours` are the indices of red, green and blue in a colour image;
    `nodata` are values, as stored, that mark pixels that are not valid, beside what the file says.
    """

    name: str
    bands: tuple[str, ...]
    colours: tuple[int, int, int] | None
    geo: Geo | None
    nodata: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def read(self, bands: Sequence[int], window: Window, step: int = 1) -> tuple[Planes, Mask | None]:
        """Bands (K, h, w) of a window as stored, and where each is valid (K, h, w); None if everywhere.

        With a step only about every step-th row and column is returned.
        """

    def close(self) -> None:
        """Close the file, if one is open."""


@dataclass
class ArraySource:
    """Bands (C, H, W) in memory, with the mask (H, W) or (C, H, W) of valid pixels, or None, and values of others."""

    name: str
    planes: Planes
    bands: tuple[str, ...]
    colours: tuple[int, int, int] | None = None
    mask: Mask | None = None
    nodata: tuple[float, ...] = ()
    geo: Geo | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.planes.shape[1], self.planes.shape[2]

    def read(self, bands: Sequence[int], window: Window, step: int = 1) -> tuple[Planes, Mask | None]:
        """See `BandSource`."""
        rows, columns = window.slices
        rows, columns = slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step)
        planes = np.stack([self.planes[band, rows, columns] for band in bands])
        valid = self.mask
        if valid is not None:
            valid = np.broadcast_to(valid, self.planes.shape)[list(bands), rows, columns]
        return planes, without_values(planes, valid, self.nodata)

    def close(self) -> None:
        """Nothing is open."""


def without_values(planes: Planes, valid: Mask | None, nodata: Sequence[float]) -> Mask | None:
    """Where bands are valid, see `BandSource.read`, and hold none of some values. NaN is never valid."""
    for value in nodata:
        if not np.isnan(value):
            with np.errstate(over="ignore"):
                held = planes != np.float32(value) if planes.dtype == np.float32 else planes != value
            valid = held if valid is None else valid & held
    return valid


@dataclass(frozen=True)
class Grey:
    """How an image becomes grey: one band as stored; the luma of red, green and blue (ITU-R BT.601); or a mean.

    For the mean of bands each is mapped by its range to 0 and 1 and clipped there, so that no band outweighs the others
    and no band is left out.
    """

    kind: Literal["band", "luma", "mean"]
    bands: tuple[int, ...]  # indices of those that take part
    ranges: tuple[tuple[float, float], ...] = ()  # for the mean, their 0.1 and 99.9 percentiles over valid pixels


def choose_grey(source: BandSource, band: int | str | None) -> Grey:
    """The grey of one band, by number from 1 or by name, or the default: luma of a colour image, a single band as it
    is, else the mean of all bands that are not constant.
    """
    if band is not None:
        return Grey("band", (_index(source, band),))
    if source.colours is not None:
        return Grey("luma", source.colours)
    if len(source.bands) == 1:
        return Grey("band", (0,))
    used, ranges = [], []
    for index in range(len(source.bands)):
        planes, valid = source.read((index,), Window.whole(source.shape), sampling_step(source.shape))
        plane = to_depth(planes[0], source.name)
        low, high = percentile_range(plane, _finite(plane, None if valid is None else valid[0]))
        if high > low:
            used.append(index)
            ranges.append((low, high))
    return Grey("mean", tuple(used), tuple(ranges)) if used else Grey("band", (0,))


def render(source: BandSource, grey: Grey, window: Window, step: int = 1) -> tuple[Planes, Mask | None]:
    """The grey pixels (h, w), uint8, uint16 or float32, and which are valid (h, w), None if all are.

    A pixel is valid where the chosen band is, where any of red, green and blue is and all are finite, or for the mean
    where any band is; it is then the mean of the valid ones.
    """
    if grey.kind == "mean":
        return _mean(source, grey, window, step)
    planes, valid = source.read(grey.bands, window, step)
    planes = to_depth(planes, source.name)
    pixels = planes[0] if grey.kind == "band" else cv2.cvtColor(np.dstack(list(planes)), cv2.COLOR_RGB2GRAY)
    mask = _finite(pixels, None if valid is None else np.asarray(valid.any(axis=0)))
    return pixels, None if mask is None or mask.all() else mask


def to_depth(planes: Planes, name: str) -> Planes:
    """Grey values in a depth that detectors and describers take: uint8 and uint16 stay, bool becomes 0 and 255.

    All else becomes float32, which holds whole numbers up to 2^24 exactly; of larger ones the last bits are lost.
    """
    if planes.dtype in (np.uint8, np.uint16, np.float32):
        return planes
    if planes.dtype == np.bool_:
        return planes.astype(np.uint8) * 255
    if planes.dtype.kind not in "iuf":
        raise InputError(f"{name}: grey values are {planes.dtype}: give real numbers, such as the amplitude")
    with np.errstate(over="ignore"):  # nodata of doubles, -1.8e308, becomes infinite and thereby invalid
        return planes.astype(np.float32)


def sampling_step(shape: tuple[int, int]) -> int:
    """The step by which an image (H, W) is read for its statistics: to about a million pixels."""
    return max(1, int(np.ceil(np.sqrt(shape[0] * shape[1] / MAX_SAMPLES))))


def _mean(source: BandSource, grey: Grey, window: Window, step: int) -> tuple[Planes, Mask | None]:
    """Band by band, so that two are in memory and not all."""
    total = count = None
    for band, limits in zip(grey.bands, grey.ranges, strict=True):
        planes, valid = source.read((band,), window, step)
        plane = to_depth(planes[0], source.name)
        mask = _finite(plane, None if valid is None else valid[0])
        with np.errstate(over="ignore", invalid="ignore"):  # of what is not valid, or beyond the range of float32
            unit = to_unit(plane, limits).clip(0, 1)
        if mask is not None:
            unit[~mask] = 0
        held = np.ones(plane.shape, dtype=np.float32) if mask is None else mask.astype(np.float32)
        total, count = (unit, held) if total is None or count is None else (total + unit, count + held)
    assert total is not None
    assert count is not None
    mask = count > 0
    return total / np.maximum(count, 1), None if mask.all() else mask


def _finite(plane: Planes, mask: Mask | None) -> Mask | None:
    if plane.dtype != np.float32:
        return mask
    finite = np.isfinite(plane)
    if finite.all():
        return mask
    return finite if mask is None else mask & finite


def _index(source: BandSource, band: int | str) -> int:
    """The index of a band given by name, else by number from 1, which may be written as text."""
    names = [name.casefold() for name in source.bands]
    if isinstance(band, str) and band.casefold() in names:
        return names.index(band.casefold())
    number = int(band) if not isinstance(band, str) or band.isdecimal() else 0
    if not 1 <= number <= len(names):
        listed = [f"{i} {name!r}" if name != str(i) else name for i, name in enumerate(source.bands[:12], 1)]
        more = f" ... {len(names)}" if len(names) > 12 else ""
        raise InputError(f"{source.name}: has no band {band!r}: it holds {', '.join(listed)}{more}")
    return number - 1
