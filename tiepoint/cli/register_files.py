"""What `tiepoint register` writes for one pair of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiepoint.cli.output import progress_bar
from tiepoint.errors import InputError

if TYPE_CHECKING:
    from tiepoint.imaging.bands import Bands
    from tiepoint.imaging.describe import Features
    from tiepoint.imaging.draw import Picture
    from tiepoint.imaging.registration import Registration


def check_warped(warped: Path, a: Path, b: Path, model: str) -> None:
    """Raise InputError, before the images are registered, where no warped image could be written to this file."""
    from tiepoint.imaging.geo import import_rasterio
    from tiepoint.imaging.registration import TWO_VIEWS
    from tiepoint.imaging.warped import check_name

    check_name(warped)
    if any(warped.resolve() == image.resolve() for image in (a, b)):
        raise InputError(f"{warped}: is one of the images: name another file for the warped one")
    if model in TWO_VIEWS:
        raise InputError(f"model {model} has no transform to warp an image by: leave out --warped")
    import_rasterio(f"{warped}: a GeoTIFF")


def write_files(
    found: Registration, result: dict[str, Any], a: Path, b: Path, band: Bands, *, out: Path | None,
    report: Path | None, warped: Path | None, quiet: bool,
) -> None:  # fmt: skip
    """Write the pictures, tables, page and image that were asked for; of a refused registration what it has.

    Pictures show the pixels that were registered. What an earlier run wrote is removed where it would contradict this
    one.
    """
    if out is not None:
        _folder(out, found, result)
    if report is not None:
        from tiepoint.imaging.report import write_report

        write_report(found, a, b, report, band=band)
    if warped is not None:
        if found.transform is None:
            warped.unlink(missing_ok=True)
            return
        from tiepoint.imaging.warped import write_warped

        with progress_bar("warping", quiet=quiet) as advance:
            write_warped(warped, a, found, progress=advance)


def _folder(out: Path, found: Registration, result: dict[str, Any]) -> None:
    from tiepoint.export.ties import write_ties
    from tiepoint.files import write_json
    from tiepoint.imaging.draw import draw_matches, draw_overlay
    from tiepoint.imaging.io import write_image

    first, second = _levels(found.matches.a), _levels(found.matches.b)
    write_image(out / "matches.png", draw_matches(first, second, found.points, found.inliers))
    if found.transform is not None:
        write_image(out / "overlay.png", draw_overlay(first, second, found.warp or found.transform))
    else:
        (out / "overlay.png").unlink(missing_ok=True)
    write_ties(out, found)
    write_json(out / "result.json", result)


def _levels(features: Features) -> Picture:
    from tiepoint.imaging.io import to_uint8, value_range

    assert features.image is not None  # of files
    return to_uint8(features.image, value_range(features.image, features.mask))
