"""Registering images that are too large to be held: at a reduced size first, then at places read one by one.

1. Both images are read by blocks and averaged to about OVERVIEW px a side, and registered so. A pair that is refused
   there is refused.
2. The transform is carried over to larger sizes, the full one at last (`tiepoint.registration.full_size`). At each of
   them the structure of both images is correlated at up to 20 x 20 places spread over the overlap, each read alone, and
   the transform is fitted anew to what all of them say.
3. What speaks for the transform at full size makes the confidence, as of images that are compared whole.

Each pixel is read about three times, and no more of the images is held than the reduced ones and one block.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tiepoint.errors import InputError
from tiepoint.features.frames import carry
from tiepoint.geometry.robust import MODELS, Model, apply
from tiepoint.geometry.select_model import SIMPLEST_FIRST
from tiepoint.geometry.warps import WARPS
from tiepoint.images.downsampled import MAX_TILE_PX, Downsampled
from tiepoint.images.header import inspect, opened
from tiepoint.images.raster import Raster, Reader, as_raster, open_image
from tiepoint.matching.bands import Bands, band_of_each
from tiepoint.matching.relate import order_of
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_relater
from tiepoint.models.relater import LearnedRelater
from tiepoint.registration.full_size import Settings, carried_over, levels
from tiepoint.registration.register import LEAST_CONFIDENCE, register
from tiepoint.registration.result import Registration
from tiepoint.registration.warp import bend
from tiepoint.types import Progress

Large = Literal["auto", "always", "never"]


def by_windows(a: str | Path, b: str | Path, large: Large, settings: Mapping[str, Any]) -> bool:
    """Whether two image files are for `register_large`, and not for `register`.

    Args:
        a, b: the files, of which the headers are read.
        large: "always", "never", or "auto": where either file is large and `register_large` takes the settings.
        settings: arguments of `register`, its defaults among them.

    Raises:
        InputError: a file that is missing or damaged.
    """
    if large != "auto":
        return large == "always"
    return unsuited(settings) is None and (is_large(a) or is_large(b))


def pictured(
    found: Registration, a: str | Path, b: str | Path, band: Bands = None
) -> tuple[Raster, Raster, Registration]:
    """Both images as they were compared, and the registration in their pixels: those read in windows reduced.

    Raises:
        InputError: a file that cannot be read any more.
    """
    if found.matches.a.image is None:
        return reduced_view(found, a, b, band=band)
    first, second = (as_raster(image, str(image), one) for image, one in zip((a, b), band_of_each(band), strict=True))
    return first, second, found


LARGE = 2**24  # px, above which an image counts as large: SIFT takes 235 bytes for each
OVERVIEW, LEAST_OVERVIEW = 1536, 512  # px: largest side of the reduced images, and the least that may be asked for
LEAST_SIDE = 256  # px: longer side that the smaller of the reduced images keeps


def is_large(path: str | Path) -> bool:
    """Whether an image file has more than LARGE pixels, from its header. InputError as `open_image`."""
    with opened(path) as file:
        header = inspect(file, path)
    return header.width * header.height > LARGE


def unsuited(settings: Mapping[str, Any]) -> str | None:
    """Why these arguments of `register`, its defaults among them, are none of `register_large`; None if they are."""
    if settings["model"] not in ("auto", *MODELS):
        return f"model is {settings['model']!r}: large images are registered by auto, {', '.join(MODELS)}"
    if settings["warp"] is not None and settings["relater"] is not None:
        return "a warp and a relater do not go together for large images: leave one of them out"
    if not settings["refine"]:
        return "large images are registered by the structure at full size: leave refine switched on"
    return None


def register_large(
    a: str | Path | Reader,
    b: str | Path | Reader,
    describer: str | Path | Describer = "sdgmnet",
    *,
    tile: int = MAX_TILE_PX,
    overview: int = OVERVIEW,
    model: Model | Literal["auto"] = "auto",
    warp: Literal["thin-plate", "piecewise"] | None = None,
    band: Bands = None,
    threshold: float = 3.0,
    relater: str | Path | LearnedRelater | None = None,
    spectra: tuple[str, str] | None = None,
    least_confidence: float = LEAST_CONFIDENCE,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Registration:
    """Register image a to image b in bounded memory, whatever their size; see the module.

    TIFF and JPEG 2000 are read in windows where rasterio is installed: of 20,000 x 20,000 px in 8 bit a pair takes
    under 1.5 GB. Other files are decoded whole and held, as TIFF is without rasterio: their bytes come on top, and the
    limit of pixels holds (see `tiepoint.images.header`).

    As by `register`, but that tie points are always places at full size, and that `matches` are those of the reduced
    images in pixels of the full ones: good to the factor of the reduction, and without the images. Images that need not
    be reduced are registered by `register`.

    Args:
        a: a path, or what `open_image` opened, which is left open.
        b: likewise.
        describer: as of `register`.
        tile: largest side of a window that is read at once, px.
        overview: largest side of the reduced images, px, at least 512; 235 bytes are taken for each of their pixels.
        model: "homography", "affine", "similarity", or "auto".
        warp: as of `register`; not with a relater.
        band: as of `register`; None for readers, whose band was chosen when they were opened.
        threshold: largest residual of a tie point, px of b; of the reduced images, of theirs.
        relater: as of `register`: gives each tie point its match probability, and drops those below 0.5. Of the reduced
            images it has no say, but with `candidates`, where it makes their matches.
        spectra: as of `register`.
        least_confidence: of an accepted registration, at the reduced size and at the full one.
        seed: of the robust estimation.
        progress: called with steps done and their number.
        options: others of `register`, for the reduced images. `refine` stays switched on.

    Raises:
        InputError: an unusable image or argument, or memory that is not bounded: a file over the limit of pixels that
            has to be decoded whole.
    """
    if tile < 1:
        raise InputError(f"tile is {tile}: give a positive number of pixels")
    if overview < LEAST_OVERVIEW:
        raise InputError(f"overview is {overview}: give at least {LEAST_OVERVIEW} px")
    if why := unsuited({"model": model, "warp": warp, "relater": relater, "refine": options.pop("refine", True)}):
        raise InputError(why)
    if warp is not None and warp not in WARPS:
        raise InputError(f"no warp {warp!r}: there are {', '.join(WARPS)}")
    judge = None if relater is None else load_relater(relater)
    if judge is not None:
        order_of(judge, spectra)  # refused before the images are read
    shared = {"model": model, "threshold": threshold, "least_confidence": least_confidence, "seed": seed, **options}
    with ExitStack() as stack:
        first, second = _both(stack, a, b, band, overview, tile)
        if first.factor == second.factor == 1:
            return register(
                first.reader.read(), second.reader.read(), describer, warp=warp, relater=judge, spectra=spectra,
                progress=progress, **shared,
            )  # fmt: skip
        steps = _steps(progress, 4 + len(levels(second.factor)))
        rasters = first.read(progress=steps[0]), second.read(progress=steps[1])
        matcher = None if options.get("candidates") is None else judge
        found = register(*rasters, describer, relater=matcher, spectra=spectra, progress=steps[2], **shared)
        models: tuple[Model, ...] = SIMPLEST_FIRST if model == "auto" else (model,)
        settings = Settings(models, threshold, least_confidence, seed, judge, spectra)
        result = carried_over(found, first, second, rasters, settings, steps[3:])
    if warp is not None:
        result = bend(result, warp, threshold)
    if progress:
        progress(100 * len(steps), 100 * len(steps))
    return result


def reduced_view(
    found: Registration, a: str | Path | Reader, b: str | Path | Reader, *, band: Bands = None, overview: int = OVERVIEW
) -> tuple[Raster, Raster, Registration]:
    """Both images of a registration, reduced to at most `overview` px a side, and its transform and points in their
    pixels: for pictures of images that are too large for one. Other fields stay, the residuals in pixels of b.

    Raises:
        InputError: see `register_large`.
    """
    with ExitStack() as stack:
        first, second = _both(stack, a, b, band, overview, MAX_TILE_PX)
        to_a, to_b = (np.asarray(np.linalg.inv(image.up)) for image in (first, second))
        points = np.hstack([apply(to_a, found.points[:, :2]), apply(to_b, found.points[:, 2:])])
        matrix = None if found.transform is None else to_b @ found.transform @ first.up
        one, two = first.read(), second.read()
        sides = [
            replace(
                features, frames=carry(features.frames, back), size=(raster.pixels.shape[1], raster.pixels.shape[0])
            )
            for features, back, raster in ((found.matches.a, to_a, one), (found.matches.b, to_b, two))
        ]
        matches = replace(found.matches, a=sides[0], b=sides[1])
        return one, two, replace(found, matrix=matrix, points=points, matches=matches, warp=None)


def _both(
    stack: ExitStack, a: str | Path | Reader, b: str | Path | Reader, band: Bands, overview: int, tile: int
) -> tuple[Downsampled, Downsampled]:
    """Both images reduced; those that are opened here are closed with the stack."""
    readers = []
    for image, chosen in zip((a, b), band_of_each(band), strict=True):
        if isinstance(image, Reader) and chosen is not None:
            raise InputError(f"{image.name}: its band was chosen when it was opened: leave out band {chosen!r}")
        readers.append(image if isinstance(image, Reader) else stack.enter_context(open_image(image, chosen)))
    factors = _factors(readers[0].shape, readers[1].shape, overview)
    first, second = (Downsampled(reader, factor, tile) for reader, factor in zip(readers, factors, strict=True))
    return first, second


def _factors(a: tuple[int, int], b: tuple[int, int], overview: int) -> tuple[int, int]:
    """By which images (H, W) are reduced: both alike, as `register` sees them, but a small one by less."""
    factor = -(-max(*a, *b) // overview)
    one, two = (max(1, min(factor, max(shape) // LEAST_SIDE)) for shape in (a, b))
    return one, two


def _steps(progress: Progress | None, count: int) -> list[Progress | None]:
    """Of parts of the work, a hundred steps each, what each calls with its own steps done and their number."""
    if progress is None:
        return [None] * count
    return [partial(_advance, progress, 100 * part, 100 * count) for part in range(count)]


def _advance(progress: Progress, start: int, whole: int, done: int, total: int) -> None:
    progress(start + 100 * done // total, whole)
