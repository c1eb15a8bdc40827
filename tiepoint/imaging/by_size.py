"""How image files are registered by their size, held whole or read in windows, and what then shows the registration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tiepoint.imaging.bands import Bands, band_of_each
from tiepoint.imaging.large import is_large, reduced_view, unsuited
from tiepoint.imaging.raster import Raster, as_raster
from tiepoint.imaging.registration import Registration

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
