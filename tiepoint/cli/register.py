"""`tiepoint register`: one image registered to another, or the pairs of a table or of two folders."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from tiepoint.cli.output import emit, facts, note, progress_bar, publish
from tiepoint.errors import InputError
from tiepoint.options import Batch, Files
from tiepoint.options import Registration as Options

if TYPE_CHECKING:
    from tiepoint.registration.result import Registration

EXAMPLES = {
    "left.png right.png --out out/pair --report out/pair/report.html": "Register two images and write a page.",
    "visible/ thermal/ --out out/pairs --describer sdgmnet-visir": "Register images of the same names.",
}
WRITTEN = ("result.json", "matches.png", "overlay.png", "agreement.png", "tie_points.csv", "tie_points.points",
           "tie_points.geojson")  # fmt: skip
LEFT_OUT = ("tiepoint", "tie_points", "residuals", "matrix", "pose", "warp", "reasons", "probabilities", "evidence")


def main(
    a: Positional[Path],
    b: Positional[Path | None] = None,
    /,
    *,
    out: Path | None = None,
    describer: str = "auto",
    relater: str | None = None,
    device: str = "auto",
    json: bool = False,
    options: Annotated[Options, arg(name="")] = Options(),
    files: Files = Files(),
    batch: Batch = Batch(),
) -> int:
    """Register image A to image B: find the transform, its tie points and a verdict.

    A may also be a table of pairs (.csv with the columns a, b and, if wanted, name; paths are relative to the table),
    or A and B two folders, of which images of the same name are pairs. What an earlier run into the same folder did is
    then not done again.

    Exit code 0: accepted; 1: refused, or of many pairs at least one refused or failed; 2: an input that cannot be used.

    Args:
        a: Image to register, table of pairs, or folder.
        b: Image it is registered to, or folder. A table stands alone.
        out: Folder for result.json, matches.png, where windows were described also agreement.png, and, if accepted,
            overlay.png and tie_points.csv; with a georeference also ground control points (tie_points.points) and
            tie_points.geojson. Many pairs need it: it gets summary.csv, summary.json and a folder for each pair. In
            all of them result.json is written first.
        describer: auto describes windows everywhere by sdgmnet-any, whatever the sensors. A name or path describes
            keypoints, or windows with --detector dense.
        relater: Name or path of a relater, which gives each tie point its match probability.
        json: Print one JSON object, with the matrix and a row xa, ya, xb, yb for each tie point, or of many pairs the
            rows of the summary.
    """
    report, warp_output = files.report, files.warp_output
    if b is None or _are_folders(a, b):
        named = {name: None if path is None else str(path) for name, path in vars(files).items()}
        return _many(a, b, out, describer, options, batch, relater=relater, device=device, json=json, **named)

    from tiepoint.export.geotiff import check_warped
    from tiepoint.files import check_outputs, locked
    from tiepoint.registration.register import register
    from tiepoint.version import __version__

    if warp_output is not None:
        check_warped(warp_output, options.estimation.model)
    check_outputs(*([] if out is None else (out / name for name in WRITTEN)), report, warp_output)
    with locked(out):
        with progress_bar("registering") as advance:
            found = register(a, b, describer, options, relater=relater, device=device, progress=advance)
        result = {"tiepoint": __version__, "a": str(a), "b": str(b), **found.to_json()}
        written = _write(found, result, out, report, warp_output)
    emit(result if json else _summarise(result), json, title="Registered" if found.accepted else "Not registered")
    then = "" if written else "--out FOLDER writes pictures and tie points, --warp-output FILE.tif A on the grid of B"
    if not found.accepted:
        then = "look at matches.png of --out; another --describer or --model may suit the images better"
    note(*written, then=then)
    return 0 if found.accepted else 1


def _are_folders(a: Path, b: Path) -> bool:
    """Whether two arguments mean many pairs: folders both. Raises InputError for a folder and a file, or a table."""
    if a.is_dir() != b.is_dir():
        folder, file = (a, b) if a.is_dir() else (b, a)
        raise InputError(f"{folder} is a folder and {file} is not: name two images or two folders")
    if table := next((path for path in (a, b) if path.suffix.lower() == ".csv"), None):
        raise InputError(f"{table}: a table of pairs stands alone: leave the other argument out")
    return a.is_dir()


def _many(a: Path, b: Path | None, out: Path | None, describer: str, *options: Any, json: bool, **more: Any) -> int:
    """Register the pairs of table `a`, or of the folders `a` and `b`. Returns 0 if all are accepted, else 1."""
    if b is None and a.suffix.lower() != ".csv":
        raise InputError(f"{a}: stands alone and is no table of pairs (.csv): name a second image or folder")
    if out is None:
        raise InputError("many pairs need a folder for their results: name one with --out")

    from tiepoint.batch.batch import register_many
    from tiepoint.batch.pair_list import pair_folders, read_table
    from tiepoint.batch.summary import counts

    start = time.perf_counter()
    pairs = read_table(a) if b is None else pair_folders(a, b)
    with progress_bar("registering") as advance:
        rows = register_many(pairs, out, describer, *options, progress=advance, **more)
    result = {"out": str(out), **counts(rows), "seconds": round(time.perf_counter() - start, 3)}
    table = []
    for row in rows:
        numbers = (row.confidence, row.inliers, row.rms, row.seconds)
        why = row.error or "; ".join(row.reasons)
        table.append((row.name, row.verdict, why, *("" if value is None else value for value in numbers)))
    header = ("name", "verdict", "why", "confidence", "inliers", "rms", "seconds")
    tables = [("Pairs", header, table, 3), facts("Registered", result)]
    publish({**result, "rows": [row.to_json() for row in rows]}, json, tables)
    then = "look at refused pairs; the command, repeated, does only what is left"
    note(out / "summary.csv", out / "summary.json", then=then)
    return 0 if all(row.accepted for row in rows) else 1


def _write(
    found: Registration, result: dict[str, Any], out: Path | None, report: Path | None, warp_output: Path | None,
) -> list[Path]:  # fmt: skip
    """Write the result, then the pictures, tables, page and image that were asked for; of a refused one what it has.

    Pictures show the pixels that were registered. What an earlier run wrote is removed where it would contradict this
    one. Returns what was written.
    """
    from tiepoint.export.geotiff import write_warped
    from tiepoint.export.ties import write_ties
    from tiepoint.files import discard, write_json
    from tiepoint.images.pixels import write_image
    from tiepoint.registration.large import read_for_pictures
    from tiepoint.report import write_report
    from tiepoint.report.draw import draw_agreement, draw_overlay, draw_registration, summary

    written = []
    if out is not None:
        write_json(out / "result.json", result)  # before all that can fail; it also says that the rest is tiepoint's
    if out is not None or report is not None:
        first, second, shown = read_for_pictures(found)
    if out is not None:
        names = ["result.json", "matches.png"]
        write_image(out / "matches.png", draw_registration(first, second, shown))
        if shown.transform is None:
            discard(out / "overlay.png")
        else:
            overlay = draw_overlay(first, second, shown.warp or shown.transform, title=summary(found))
            write_image(out / "overlay.png", overlay)
            names.append("overlay.png")
        if shown.agreement is None:
            discard(out / "agreement.png")
        else:
            write_image(out / "agreement.png", draw_agreement(second, shown))
            names.append("agreement.png")
        names += write_ties(out, found)
        written += [out / name for name in names]
    if report is not None:
        write_report(shown, first, second, report)
        written.append(report)
    if warp_output is not None and found.transform is None:
        discard(warp_output)
    elif warp_output is not None and found.a.source is not None:
        with progress_bar("warping") as advance:
            write_warped(warp_output, found.a.source, found, progress=advance)
        written.append(warp_output)
    return written


def _summarise(result: dict[str, Any]) -> dict[str, Any]:
    """The result as the rows of a table: what is short."""
    rows = {key: value for key, value in result.items() if key not in LEFT_OUT}
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
