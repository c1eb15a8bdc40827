"""What `tiepoint register` writes for one pair of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiepoint.cli.output import progress_bar

if TYPE_CHECKING:
    from tiepoint.imaging.bands import Bands
    from tiepoint.imaging.raster import Raster
    from tiepoint.imaging.registration import Registration


def write_files(
    found: Registration, result: dict[str, Any], a: Path, b: Path, band: Bands, *, out: Path | None,
    report: Path | None, warped: Path | None, quiet: bool,
) -> None:  # fmt: skip
    """Write the pictures, tables, page and image that were asked for; of a refused registration what it has.

    Pictures show the pixels that were registered. What an earlier run wrote is removed where it would contradict this
    one.
    """
    if out is not None or report is not None:
        from tiepoint.imaging.by_size import pictured

        first, second, shown = pictured(found, a, b, band)
    if out is not None:
        _folder(out, found, result, first, second, shown)
    if report is not None:
        from tiepoint.imaging.report import write_report

        write_report(shown, first, second, report)
    if warped is not None:
        if found.transform is None:
            warped.unlink(missing_ok=True)
            return
        from tiepoint.imaging.warped import write_warped

        with progress_bar("warping", quiet=quiet) as advance:
            write_warped(warped, a, found, progress=advance)


def _folder(out: Path, found: Registration, result: dict[str, Any], a: Raster, b: Raster, shown: Registration) -> None:
    from tiepoint.export.ties import write_ties
    from tiepoint.files import write_json
    from tiepoint.imaging.draw import draw_matches, draw_overlay
    from tiepoint.imaging.io import write_image

    first, second = a.to_uint8(), b.to_uint8()
    write_image(out / "matches.png", draw_matches(first, second, shown.points, shown.inliers))
    if shown.transform is not None:
        write_image(out / "overlay.png", draw_overlay(first, second, shown.warp or shown.transform))
    else:
        (out / "overlay.png").unlink(missing_ok=True)
    write_ties(out, found)
    write_json(out / "result.json", result)
