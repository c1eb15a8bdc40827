"""`tiepoint register`: one image registered to another, or the pairs of a table or of two folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tiepoint.cli.output import emit, progress_bar


def main(
    a: Annotated[Path, tyro.conf.Positional],
    b: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    *,
    describer: str = "sdgmnet",
    relater: str | None = None,
    spectra: tuple[str, str] | None = None,
    model: Literal["auto", "homography", "affine", "similarity"] = "auto",
    ratio: float = 0.9,
    threshold: float = 3.0,
    max_keypoints: int = 8000,
    contrast_threshold: float = 0.01,
    structure: bool = True,
    refine: bool = True,
    least_confidence: float = 0.5,
    min_inliers: int = 12,
    seed: int = 0,
    out: Path | None = None,
    report: Path | None = None,
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
        spectra: of A and of B, by the names that the relater knows; its own order without it
        model: transform to fit; auto takes the simplest that explains the correspondences
        ratio: largest ratio of L2 distances to the nearest and the second nearest; 1 switches the test off
        threshold: largest residual of a tie point, pixels of B
        max_keypoints: of each image, the strongest first
        contrast_threshold: of the keypoint detector; lower it for images of little contrast
        structure: look for small rotations and scales by the images' structure too
        refine: correlate locally and judge by what agrees; without it the number of matches decides
        least_confidence: of an accepted registration, 0 to 1
        min_inliers: tie points that a registration without --refine needs
        seed: of the robust estimation
        out: folder for result.json, matches.png and, if accepted, overlay.png; nothing is written without it. Of many
            pairs, which need it: summary.csv, summary.json and a folder for each pair
        report: file for a page of HTML that shows the registration: overlay, tie points, residuals; needs no network.
            Of many pairs its name in each pair's folder
        workers: of many pairs, how many at a time
        cache: of many pairs, keep the images' features in the folder, for the next run
        json: print one JSON object, with the matrix and a row xa, ya, xb, yb for each tie point, or of many pairs the
            rows of the summary
    """
    from tiepoint.cli.register_batch import many, run

    settings: dict[str, Any] = {
        "model": model, "ratio": ratio, "threshold": threshold, "max_keypoints": max_keypoints,
        "contrast_threshold": contrast_threshold, "structure": structure, "refine": refine, "relater": relater,
        "spectra": spectra, "least_confidence": least_confidence, "min_inliers": min_inliers, "seed": seed,
    }  # fmt: skip
    if b is None or many(a, b):
        return run(a, b, out, describer, settings, report=report, workers=workers, cache=cache, json=json)

    from tiepoint.imaging.register import register

    with progress_bar("registering", quiet=json) as advance:
        found = register(a, b, describer, **settings, progress=advance)
    result = {"a": str(a), "b": str(b), **found.to_json()}
    if out is not None:
        from tiepoint.files import write_json
        from tiepoint.imaging.draw import draw_matches, draw_overlay
        from tiepoint.imaging.io import read_grey, write_image

        first, second = read_grey(a), read_grey(b)
        write_image(out / "matches.png", draw_matches(first, second, found.points, found.inliers))
        if found.matrix is not None:
            write_image(out / "overlay.png", draw_overlay(first, second, found.matrix))
        else:
            (out / "overlay.png").unlink(missing_ok=True)  # of an earlier run, it would contradict the verdict
        write_json(out / "result.json", result)
    if report is not None:
        from tiepoint.imaging.report import write_report

        write_report(found, a, b, report)
    if not json:
        result = {
            k: v
            for k, v in result.items()
            if k not in ("tie_points", "residuals", "matrix", "reasons", "probabilities", "evidence")
        }
        rows = [] if found.matrix is None else found.matrix.tolist()
        result |= {f"matrix row {i}": " ".join(f"{v:.6g}" for v in row) for i, row in enumerate(rows, 1)}
        result |= {f"evidence: {key}": value for key, value in found.evidence.to_json().items()}
        if found.reasons:
            result["reasons"] = "; ".join(found.reasons)
    emit(result, json, title="Registered" if found.accepted else "Not registered")
    return 0 if found.accepted else 1
