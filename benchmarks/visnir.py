"""Register visible to near-infrared images: one table for several describers, measured in one run.

    python benchmarks/visnir.py ../shared/data/visnir/test --describers sdgmnet rootsift

DATA_DIR holds a folder for each category, with <id>_vis.jpg, <id>_nir.jpg and <id>_vis_to_nir.txt (3x3, maps a pixel of
vis to nir). Every describer gets the same keypoints, ratio test and robust estimation. A pair's error is the mean
distance of the four mapped corners from the truth; a refused pair counts as infinitely wrong.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import tiepoint
from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.files import write_json
from tiepoint.imaging.geometry import corner_error
from tiepoint.imaging.register import register
from tiepoint.models import load

LIMITS = (3, 5)


def measure(pairs: list[tuple[Path, Path, Path]], describer: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each pair: category, name, verdict, inliers, corner error in pixels (None if refused) and seconds."""
    model = load(describer)
    rows = []
    with progress_bar(describer) as advance:
        for done, (visible, infrared, truth) in enumerate(pairs, start=1):
            started = time.perf_counter()
            found = register(visible, infrared, model, model="homography", **settings)
            seconds = time.perf_counter() - started
            error = None
            if found.matrix is not None:
                error = corner_error(found.matrix, np.loadtxt(truth), *found.matches.a.size)
            row = {"category": visible.parent.name, "pair": visible.stem.removesuffix("_vis"), "error": error}
            row |= {"accepted": found.accepted, "matches": len(found.inliers), "inliers": int(found.inliers.sum())}
            rows.append(row | {"seconds": round(seconds, 3)})
            advance(done, len(pairs))
    return rows


def summarise(rows: list[dict[str, Any]]) -> list[Any]:
    errors = np.array([math.inf if row["error"] is None else row["error"] for row in rows])
    shares = [float((errors < limit).mean()) for limit in LIMITS]
    false = sum(row["accepted"] and row["error"] >= 10 for row in rows)
    return [len(rows), *shares, float(np.median(errors)), sum(row["accepted"] for row in rows), false]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--describers", nargs="+", default=["sdgmnet", "rootsift"], help="names or paths")
    parser.add_argument("--ratio", type=float, default=0.9)
    parser.add_argument("--threshold", type=float, default=3.0)
    parser.add_argument("--max-keypoints", type=int, default=8000)
    parser.add_argument("--contrast-threshold", type=float, default=0.01)
    parser.add_argument("--min-inliers", type=int, default=12)
    parser.add_argument("--json", type=Path, help="file for every pair's result")
    options = parser.parse_args()
    names = ("ratio", "threshold", "max_keypoints", "contrast_threshold", "min_inliers")
    settings = {name: getattr(options, name) for name in names}
    truths = sorted(options.data_dir.glob("*/*_vis_to_nir.txt"))
    if not truths:
        parser.error(f"{options.data_dir} holds no */*_vis_to_nir.txt")
    stems = [str(truth).removesuffix("_vis_to_nir.txt") for truth in truths]
    pairs = [(Path(f"{s}_vis.jpg"), Path(f"{s}_nir.jpg"), truth) for s, truth in zip(stems, truths, strict=True)]
    results = {describer: measure(pairs, describer, settings) for describer in options.describers}
    table = []
    for describer, rows in results.items():
        for category in sorted({row["category"] for row in rows}):
            table.append([describer, category, *summarise([row for row in rows if row["category"] == category])])
        table.append([describer, "all", *summarise(rows)])
    limits = [f"< {limit} px" for limit in LIMITS]
    header = ("describer", "category", "pairs", *limits, "median px", "accepted", "of these > 10 px")
    emit_table("Visible to near-infrared registration", header, table)
    if options.json:
        versions = {"tiepoint": tiepoint.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
        write_json(options.json, {"settings": settings, "versions": versions, "pairs": results})


if __name__ == "__main__":
    main()
