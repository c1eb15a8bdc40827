"""Register images of two spectra with known truth: one table, each step's gain one at a time, measured in one run.

    python benchmarks/registration.py ../shared/data --sets visnir visir optsar --steps rootsift refined

visnir/test has its own warps and truth; the aligned pairs of visir/test and optsar/test are warped here, seeded:
rotation up to 15 degrees, scale 0.9 to 1.1, shift up to a tenth of the sides. A pair's error is the mean distance of
the four mapped corners from the truth; a refused pair counts as infinitely wrong. Every first image is also registered
to the second one of the pair half the list away, which shows another place and must be refused.

Columns: share of pairs under 3 and 5 px, median error, pairs accepted, accepted ones that are wrong by more than WRONG
px, other places accepted, the share of the wrong ones (those, and all other places) whose confidence reaches what 95 %
of the right ones (under 5 px) reach, and the median seconds a megapixel of the first image, both images described.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import tiepoint
from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.evaluation.registration import image_pairs, small_warp
from tiepoint.files import write_json
from tiepoint.imaging.describe import Features, describe
from tiepoint.imaging.geometry import corner_error
from tiepoint.imaging.io import read_grey
from tiepoint.imaging.register import register
from tiepoint.models import load

NONE = {"structure": False, "refine": False}
STEPS: dict[str, dict[str, Any]] = {
    "rootsift": {"describer": "rootsift", "model": "homography", **NONE},
    "sdgmnet": {"describer": "sdgmnet", "model": "homography", **NONE},
    "sdgmnet-visnir": {"describer": "sdgmnet-visnir", "model": "homography", **NONE},
    "relation": {"describer": "sdgmnet-visnir", "model": "homography", "relater": "rrlnet-visnir", **NONE},
    "refined": {"describer": "rootsift"},
    "similarity": {"describer": "rootsift", "model": "similarity"},
    "all": {"describer": "sdgmnet-visnir", "relater": "rrlnet-visnir"},
}
NAMES = {"visnir": ("vis", "nir"), "visir": ("vis", "ir"), "optsar": ("opt", "sar")}
WRONG = {
    "visnir": 10.0,
    "visir": 15.0,
    "optsar": 30.0,
}  # px beyond which a registration is wrong whatever the truth's error


def pairs_of(data: Path, name: str, seed: int) -> list[tuple[str, Path, Path, NDArray[np.float64], bool]]:
    """Name, images, truth, and whether the second image is still to be warped by it."""
    one, two = NAMES[name]
    random = np.random.default_rng(seed)
    found = []
    for first, second in image_pairs(data / name / "test", one, two):
        truth = first.with_name(first.name.replace(f"_{one}.jpg", f"_{one}_to_{two}.txt"))
        matrix = np.loadtxt(truth) if truth.is_file() else small_warp(random, read_grey(second).shape)
        found.append((f"{first.parent.name}/{first.stem}", first, second, matrix, not truth.is_file()))
    return found


def read_second(path: Path, matrix: NDArray[np.float64], warped: bool) -> NDArray[Any]:
    image = read_grey(path)
    return cv2.warpPerspective(image, matrix, image.shape[::-1]) if warped else image


def measure(pairs: list[Any], step: str, most: int) -> list[dict[str, Any]]:
    """Every image is described once; its time counts in the pair's."""
    options = {**STEPS[step], "max_keypoints": most}
    model = options["describer"] = load(options["describer"])
    if "relater" in options:
        options["relater"] = load(options["relater"])
    rows = []
    with progress_bar(step) as advance:
        seconds_of = [described(read_second(*pair[2:]), model, most) for pair in pairs]
        for done, (name, path, _, truth, _) in enumerate(pairs, start=1):
            image = read_grey(path)
            first, time_first = described(image, model, most)
            second, time_second = seconds_of[done - 1]
            started = time.perf_counter()
            found = register(first, second, **options)
            seconds = time.perf_counter() - started + time_first + time_second
            wrong = register(first, seconds_of[(done - 1 + len(pairs) // 2) % len(pairs)][0], **options)
            error = None if found.matrix is None else corner_error(found.matrix, truth, *image.shape[::-1])
            rows.append({
                "pair": name, "accepted": found.accepted, "error": error, "confidence": found.confidence,
                "seconds": round(seconds, 2), "megapixels": image.size / 1e6,
                "other_accepted": wrong.accepted, "other_confidence": wrong.confidence, "reasons": list(found.reasons),
            })  # fmt: skip
            advance(done, len(pairs))
    return rows


def described(image: NDArray[Any], model: Any, most: int) -> tuple[Features | NDArray[Any], float]:
    """Features and the seconds that they took; the image itself where patches depend on the other one's turn."""
    if getattr(model, "upright", None) is not None:
        return image, 0.0
    started = time.perf_counter()
    return describe(image, model, max_keypoints=most), time.perf_counter() - started


def summarise(rows: list[dict[str, Any]], wrong: float) -> list[Any]:
    errors = np.array([math.inf if row["error"] is None else row["error"] for row in rows])
    good = [row["confidence"] for row, error in zip(rows, errors, strict=True) if error < 5]
    bad = [row["confidence"] for row, error in zip(rows, errors, strict=True) if error > wrong and row["accepted"]]
    bad += [row["other_confidence"] for row in rows]
    limit = float(np.quantile(good, 0.05)) if good else math.inf
    return [
        len(rows), *(f"{(errors < limit_).mean():.2f}" for limit_ in (3, 5)), float(np.median(errors)),
        sum(row["accepted"] for row in rows),
        int(sum(row["accepted"] and error > wrong for row, error in zip(rows, errors, strict=True))),
        sum(row["other_accepted"] for row in rows), f"{np.mean([c >= limit for c in bad]):.3f}",
        float(np.median([row["seconds"] / row["megapixels"] for row in rows])),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--sets", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=["rootsift", "refined"])
    parser.add_argument("--max-keypoints", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for every pair's result")
    options = parser.parse_args()
    table, results = [], {}
    for name in options.sets:
        pairs = pairs_of(options.data_dir, name, options.seed)
        if not pairs:
            parser.error(f"{options.data_dir} holds no {name}/test")
        for step in options.steps:
            rows = measure(pairs, step, options.max_keypoints)
            results[f"{name} {step}"] = rows
            table.append([name, step, *summarise(rows, WRONG[name])])
            if options.json:
                versions = {"tiepoint": tiepoint.__version__, "opencv": cv2.__version__, "numpy": np.__version__}
                write_json(options.json, {"versions": versions, "pairs": results})
    header = ("set", "step", "pairs", "< 3 px", "< 5 px", "median px", "accepted", "wrong", "other places",
              "bad at 95 % good", "s / MP")  # fmt: skip
    emit_table("Registration across spectra", header, table, words=2)


if __name__ == "__main__":
    main()
