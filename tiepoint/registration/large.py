"""Image files that are too large to be held: when they are, how they are opened reduced, and what then shows them."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tiepoint.errors import InputError
from tiepoint.features.describe import Features
from tiepoint.features.view import View
from tiepoint.geometry.robust import apply
from tiepoint.images.downsampled import Downsampled
from tiepoint.images.header import inspect, opened
from tiepoint.images.raster import Raster, Reader, as_raster, open_image
from tiepoint.options import Band, Nodata
from tiepoint.options import Registration as Options
from tiepoint.registration.result import Registration
from tiepoint.types import Image, Progress

Input = Image | Raster | Features | View | Reader
MAX_WHOLE_PX = 2**24  # above which an image counts as large: SIFT takes 235 bytes for each pixel
MIN_REDUCED_PX = 256  # longer side that the smaller of the reduced images keeps


class ReducedPair(NamedTuple):
    """Both images, reduced alike, but a small one by less; `sources` are None for readers, whose band is not known."""

    a: Downsampled
    b: Downsampled
    sources: tuple[Path | None, Path | None]
    bands: tuple[Band, Band]
    nodata: tuple[Nodata, Nodata] = (None, None)

    @property
    def is_whole(self) -> bool:
        """Whether neither image needs to be reduced."""
        return self.a.factor == self.b.factor == 1

    def read(self, steps: tuple[Progress | None, Progress | None] = (None, None)) -> tuple[View, View]:
        """Both images at their reduced size, or as they are where neither is reduced; `steps` is called for each."""
        views = []
        chosen = zip((self.a, self.b), self.sources, self.bands, self.nodata, steps, strict=True)
        for image, source, band, nodata, step in chosen:
            raster = image.reader.read() if self.is_whole else image.read(progress=step)
            views.append(View(raster, None, image.reader.name, source, band, nodata))
        return views[0], views[1]


def is_read_in_windows(a: Input, b: Input, options: Options, has_relater: bool) -> bool:
    """Whether a pair is registered at a reduced size first, and not held whole.

    Readers always are. Files are if `large` says so: always, never, or, with auto, where either has more than
    MAX_WHOLE_PX pixels by its header and the other options allow it. Raises InputError for a file that is missing or
    damaged, or options that do not allow what was asked for.
    """
    files = [image for image in (a, b) if isinstance(image, str | Path)]
    reason = options.whole_only(has_relater)
    if isinstance(a, Reader) or isinstance(b, Reader) or options.reading.large == "always":
        if reason is not None:
            raise InputError(reason)
        if any(not isinstance(image, str | Path | Reader) for image in (a, b)):
            raise InputError("large images are read from files: give two paths, or readers of `open_image`")
        return True
    return options.reading.large == "auto" and reason is None and len(files) == 2 and any(map(_is_large, files))


def open_reduced(stack: ExitStack, a: Input, b: Input, options: Options) -> ReducedPair:
    """Both images, reduced to at most `overview` px a side. Those that are opened here are closed with the stack."""
    readers, bands = [], (options.reading.band_a, options.reading.band_b)
    marks = options.reading.nodata_values
    for image, band, nodata in zip((a, b), bands, marks, strict=True):
        if isinstance(image, Reader) and band is not None:
            raise InputError(f"{image.name}: its band was chosen when it was opened: leave out band {band!r}")
        if isinstance(image, Reader) and nodata is not None:
            raise InputError(f"{image.name}: is open already: leave out nodata {nodata:g}, or give it to `open_image`")
        assert isinstance(image, str | Path | Reader)
        readers.append(
            image if isinstance(image, Reader) else stack.enter_context(open_image(image, band, nodata=nodata))
        )
    shapes = [reader.shape for reader in readers]
    factor = -(-max(map(max, shapes)) // options.reading.overview)
    factors = [max(1, min(factor, max(shape) // MIN_REDUCED_PX)) for shape in shapes]
    first, second = (Downsampled(reader, k, options.reading.tile) for reader, k in zip(readers, factors, strict=True))
    source_a, source_b = (None if isinstance(image, Reader) else Path(str(image)) for image in (a, b))
    return ReducedPair(first, second, (source_a, source_b), bands, marks)


def read_for_pictures(registration: Registration) -> tuple[Raster, Raster, Registration]:
    """Both images of a registration of files as they were compared, and the registration in their pixels.

    Images that were read in windows come reduced. Other fields stay, the residuals in pixels of b.

    Raises InputError for an image that was not a file, or a file that cannot be read any more.
    """
    files = []
    for view in (registration.a, registration.b):
        if view.source is None:
            raise InputError(f"{view.name}: was no file: give the images themselves")
        files.append((view.source, view.band, view.nodata))
    if registration.a.factor == registration.b.factor == 1:
        first, second = (as_raster(path, str(path), band, nodata) for path, band, nodata in files)
        return first, second, registration
    with ExitStack() as stack:
        pair = open_reduced(stack, files[0][0], files[1][0], registration.options)
        a, b = (view.raster for view in pair.read())
        assert a is not None
        assert b is not None
        to_a, to_b = (np.asarray(np.linalg.inv(image.up)) for image in pair[:2])
        matrix = None if registration.transform is None else to_b @ registration.transform @ pair.a.up
    points, matches = (
        np.hstack([apply(to_a, pixels[:, :2]), apply(to_b, pixels[:, 2:])])
        for pixels in (registration.points, registration.matches)
    )
    agreement = None if registration.agreement is None else registration.agreement.mapped(to_b)
    infos = [replace(registration.a, size=a.pixels.shape[::-1]), replace(registration.b, size=b.pixels.shape[::-1])]
    shown = replace(registration, matrix=matrix, points=points, matches=matches, a=infos[0], b=infos[1], warp=None)
    return a, b, replace(shown, agreement=agreement)


def _is_large(path: str | Path) -> bool:
    with opened(path) as file:
        header = inspect(file, path)
    return header.width * header.height > MAX_WHOLE_PX
