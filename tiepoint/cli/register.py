"""`tiepoint register`: one image registered to another, or the pairs of a table or of two folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tiepoint.cli.output import emit, progress_bar
from tiepoint.errors import InputError

if TYPE_CHECKING:
    from tiepoint.images.raster import Raster
    from tiepoint.matching.bands import Bands
    from tiepoint.registration.result import Registration


import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tiepoint.cli.output import emit_table

if TYPE_CHECKING:
    from tiepoint.registration.large import Large


EXAMPLES = (
    (
        "tiepoint register left.tif right.tif --out pair --report pair/report.html",
        "Register one image to another; write tie points, pictures and a page.",
    ),
    (
        "tiepoint register vis nir --out registered --workers 2",
        "Register the images of one folder to those of the same name in another.",
    ),
)


def many(a: Path, b: Path) -> bool:
    """Whether two arguments mean many pairs: folders both. Raises InputError for a folder and a file, or a table."""
    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        raise InputError(f"{folder} is a folder and {file} is none: name two images or two folders")
    if table := next((path for path in (a, b) if path.suffix.lower() == ".csv"), None):
        raise InputError(f"{table}: a table of pairs stands alone: leave the other argument out")
    return a.is_dir()


def run(
    a: Path,
    b: Path | None,
    out: Path | None,
    describer: str,
    settings: Mapping[str, Any],
    *,
    report: Path | None,
    warped: Path | None,
    large: Large,
    workers: int,
    cache: bool,
    json: bool,
) -> int:
    """Register the pairs of table `a`, or of the folders `a` and `b`. Returns 0 if all are accepted, else 1."""
    if b is None and a.suffix.lower() != ".csv":
        raise InputError(f"{a}: stands alone and is no table of pairs (.csv): name a second image or folder")
    if out is None:
        raise InputError("many pairs need a folder for their results: name one with --out")

    from tiepoint.batch.batch import register_many
    from tiepoint.batch.pair_list import pair_folders, read_table
    from tiepoint.batch.summary import counts
    from tiepoint.export.ties import write_placed

    start = time.perf_counter()
    pairs = read_table(a) if b is None else pair_folders(a, b)
    with progress_bar("registering", quiet=json) as advance:
        rows = register_many(
            pairs, out, describer, report=None if report is None else str(report),
            warped=None if warped is None else str(warped), export=write_placed, large=large, workers=workers,
            cache=cache, progress=advance, **settings,
        )  # fmt: skip
    result = {"out": str(out), **counts(rows), "seconds": round(time.perf_counter() - start, 3)}
    if json:
        emit({**result, "rows": [row.to_json() for row in rows]}, True, title="")
    else:
        table = []
        for row in rows:
            why = row.error or "; ".join(row.reasons)
            numbers = (row.confidence, row.inliers, row.rms, row.seconds)
            table.append((row.name, row.verdict, why, *("" if value is None else value for value in numbers)))
        emit_table("Pairs", ("name", "verdict", "why", "confidence", "inliers", "rms", "seconds"), table, words=3)
        emit(result, False, title="Registered")
    return 0 if all(row.accepted for row in rows) else 1


def write_files(
    found: Registration, result: dict[str, Any], a: Path, b: Path, band: Bands, *, out: Path | None,
    report: Path | None, warped: Path | None, quiet: bool,
) -> None:  # fmt: skip
    """Write the pictures, tables, page and image that were asked for; of a refused registration what it has.

    Pictures show the pixels that were registered. What an earlier run wrote is removed where it would contradict this
    one.
    """
    if out is not None or report is not None:
        from tiepoint.registration.large import pictured

        first, second, shown = pictured(found, a, b, band)
    if out is not None:
        _folder(out, found, result, first, second, shown)
    if report is not None:
        from tiepoint.report import write_report

        write_report(shown, first, second, report)
    if warped is not None:
        if found.transform is None:
            warped.unlink(missing_ok=True)
            return
        from tiepoint.export.geotiff import write_warped

        with progress_bar("warping", quiet=quiet) as advance:
            write_warped(warped, a, found, progress=advance)


def _folder(out: Path, found: Registration, result: dict[str, Any], a: Raster, b: Raster, shown: Registration) -> None:
    from tiepoint.export.ties import write_ties
    from tiepoint.files import write_json
    from tiepoint.images.pixels import write_image
    from tiepoint.report.draw import draw_matches, draw_overlay

    first, second = a.to_uint8(), b.to_uint8()
    write_image(out / "matches.png", draw_matches(first, second, shown.points, shown.inliers))
    if shown.transform is not None:
        write_image(out / "overlay.png", draw_overlay(first, second, shown.warp or shown.transform))
    else:
        (out / "overlay.png").unlink(missing_ok=True)
    write_ties(out, found)
    write_json(out / "result.json", result)


Four = tuple[float, float, float, float]
Camera = Annotated[Four | None, tyro.conf.arg(metavar="FX FY CX CY")]
Matrix = list[list[float]]


def main(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    *,
    describer: str = "sdgmnet",
    relater: str | None = None,
    candidates: int | None = None,
    spectra: tuple[str, str] | None = None,
    band_a: str | None = None,
    band_b: str | None = None,
    model: Literal["auto", "homography", "affine", "similarity", "fundamental", "essential"] = "auto",
    camera_a: Camera = None,
    camera_b: Camera = None,
    warp: Literal["thin-plate", "piecewise"] | None = None,
    ratio: float = 0.9,
    ratio_rule: Literal["second", "apart"] = "second",
    rotations: int = 1,
    threshold: float = 3.0,
    detector: str = "sift",
    affine: bool = False,
    max_keypoints: int = 8000,
    even: bool = False,
    contrast_threshold: float = 0.01,
    structure: bool = True,
    refine: bool = True,
    least_confidence: float = 0.65,
    min_inliers: int = 12,
    seed: int = 0,
    large: Literal["auto", "always", "never"] = "auto",
    out: Path | None = None,
    report: Path | None = None,
    warped: Path | None = None,
    workers: int = 1,
    cache: bool = True,
    json: bool = False,
) -> int:
    """Register image A to image B, each pair of a table A (.csv with the columns a, b and, if wanted, name; paths
    relative to it), or each image of folder A to that of the same name in folder B.

    Exit code 0: accepted, 1: refused, or of many pairs at least one refused or failed, 2: an input that cannot be used.
    Of many pairs, what an earlier run into the same folder did is not done again.

    Args:
        a: image to register, table of pairs, or folder
        b: image it is registered to, or folder; none for a table
        describer: name or path of a describer
        relater: name or path of a relater, which gives each tie point its match probability
        candidates: the relater also makes the keypoint matches, out of so many candidates for each keypoint; slow
        spectra: of A and of B, by the names that the relater knows; its own order without it
        band_a: band of A by its name, or its number from 1; without it colours become their luma, and of more bands the
            mean is taken
        band_b: band of B
        model: transform to fit; auto takes the simplest that explains the correspondences. fundamental and essential
            are for a scene that is not flat: they give lines and no transform, by the keypoint matches alone
        camera_a: of model essential: focal lengths and principal point of A in pixels
        camera_b: those of B; the camera of A without it
        warp: bend the transform where tie points held out say that this is better: thin-plate for what is smooth,
            piecewise for what has edges
        ratio: largest ratio of L2 distances to the nearest and the second nearest; 1 switches the test off
        ratio_rule: what the nearest is compared with: the second nearest, or the first that lies apart from it
        rotations: so many equal turns of B are tried, for describers of upright patches; 1 tries none
        threshold: largest residual of a tie point, pixels of B
        detector: sift, gradient, phase, orb, fast, gftt, mser, akaze, grid, or kornia's harris, hessian or dog
        affine: measure the affine shape of keypoints, for strong changes of viewpoint; whatever the --model
        max_keypoints: of each image, the strongest first
        even: keep keypoints that are strong where they stand and lie evenly, not the strongest
        contrast_threshold: of the keypoint detector; lower it for images of little contrast
        structure: look for small rotations and scales by the images' structure too
        refine: correlate locally and judge by what agrees; without it the number of matches decides
        least_confidence: of an accepted registration, 0 to 1
        min_inliers: tie points that a registration without --refine needs
        seed: of the robust estimation
        large: whether the images of a pair are read in windows and registered at a reduced size first; auto does so for
            more than 16 million pixels, but not with --no-refine, the models of two views, or --warp and --relater
            together
        out: folder for result.json, matches.png and, if accepted, overlay.png and tie_points.csv, with a georeference
            of A or B also tie_points.points (ground control points) and tie_points.geojson; nothing is written without
            it. Of many pairs, which need it: summary.csv, summary.json and a folder for each pair
        report: file for a page of HTML that shows the registration: overlay, tie points, residuals; needs no network.
            Of many pairs its name in each pair's folder
        warped: file (.tif) for all bands of A on the grid of B and with its georeference, if accepted; needs rasterio.
            Of many pairs its name in each pair's folder
        workers: of many pairs, how many at a time
        cache: of many pairs, keep the images' features in the folder, for the next run
        json: print one JSON object, with the matrix and a row xa, ya, xb, yb for each tie point, or of many pairs the
            rows of the summary
    """

    settings: dict[str, Any] = {
        "model": model, "cameras": _cameras(camera_a, camera_b), "warp": warp, "band": (band_a, band_b),
        "ratio": ratio, "ratio_rule": ratio_rule, "rotations": rotations, "threshold": threshold,
        "detector": detector, "affine": affine, "max_keypoints": max_keypoints, "even": even,
        "contrast_threshold": contrast_threshold, "structure": structure, "refine": refine, "relater": relater,
        "candidates": candidates, "spectra": spectra, "least_confidence": least_confidence,
        "min_inliers": min_inliers, "seed": seed,
    }  # fmt: skip
    if b is None or many(a, b):
        return run(
            a, b, out, describer, settings, report=report, warped=warped, large=large, workers=workers, cache=cache,
            json=json,
        )  # fmt: skip

    from tiepoint.export.geotiff import check_warped
    from tiepoint.files import locked
    from tiepoint.registration.large import by_windows, register_large
    from tiepoint.registration.register import register

    if warped is not None:
        if any(warped.resolve() == image.resolve() for image in (a, b)):
            raise InputError(f"{warped}: is one of the images: name another file for the warped one")
        check_warped(warped, model)
    way = register_large if by_windows(a, b, large, settings) else register
    with locked(out):
        with progress_bar("registering", quiet=json) as advance:
            found = way(a, b, describer, **settings, progress=advance)
        result = {"a": str(a), "b": str(b), **found.to_json()}
        write_files(found, result, a, b, settings["band"], out=out, report=report, warped=warped, quiet=json)
    emit(result if json else _shown(result), json, title="Registered" if found.accepted else "Not registered")
    return 0 if found.accepted else 1


def _cameras(a: Four | None, b: Four | None) -> tuple[Matrix, Matrix] | None:
    """The intrinsics (3, 3) of both images as rows."""
    if a is None:
        if b is not None:
            raise InputError("--camera-b stands alone: give --camera-a too")
        return None
    first, second = ([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]] for fx, fy, cx, cy in (a, b or a))
    return first, second


def _shown(result: dict[str, Any]) -> dict[str, Any]:
    """The result as the rows of a table: what is short."""
    left_out = ("tie_points", "residuals", "matrix", "pose", "warp", "reasons", "probabilities", "evidence")
    rows = {key: value for key, value in result.items() if key not in left_out}
    rows |= {f"matrix row {i}": _numbers(row) for i, row in enumerate(result["matrix"] or [], 1)}
    if result["pose"] is not None:
        rows |= {f"rotation row {i}": _numbers(row) for i, row in enumerate(result["pose"]["rotation"], 1)}
        rows["translation"] = _numbers(result["pose"]["translation"])
    rows |= {f"warp: {key}": value for key, value in (result["warp"] or {}).items() if value is not None}
    rows |= {f"evidence: {key}": value for key, value in result["evidence"].items()}
    if result["reasons"]:
        rows["reasons"] = "; ".join(result["reasons"])
    return rows


def _numbers(row: list[float]) -> str:
    return " ".join(f"{value:.6g}" for value in row)
