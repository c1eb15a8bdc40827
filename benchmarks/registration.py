"""Register images of two spectra with known truth: one table, each step's gain one at a time, measured in one run.

    python benchmarks/registration.py ../shared/data --sets visnir visir optsar --steps opencv refined

visnir/test has its own warps and truth; the aligned pairs of visir/test and optsar/test are warped here, seeded:
rotation up to 15 degrees, scale 0.9 to 1.1, shift up to a tenth of the sides. A pair's error is the mean distance of
the four mapped corners from the truth; a refused pair counts as infinitely wrong. Every first image is also registered
to the second one of the pair half the list away, which shows another place and must be refused.

The sets nighttime, depth, infrared, map, optical and radar are the kinds of srif/test, whose second images are turned
by up to 90 degrees and, in optical, scaled by 0.5 to 2. Of radar the pairs whose truth was mended are taken.

Columns: share of pairs under 3 and 5 px, median error, pairs accepted, accepted ones that are wrong by more than WRONG
px, other places accepted, the share of the wrong ones (those, and all other places) whose confidence reaches what 95 %
of the right ones (under 5 px) reach, and the median seconds a megapixel of the first image, both images described.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from homography_methods import opencv_pipeline
from numpy.typing import NDArray

import tiepoint
from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.evaluation.registration.calibration import image_pairs, small_warp, srif_truth
from tiepoint.features.view import View
from tiepoint.files import write_json
from tiepoint.geometry.robust import corner_error
from tiepoint.images.raster import read_image
from tiepoint.models.describer import sees_upright
from tiepoint.models.load import load_describer, load_relater
from tiepoint.options import Detection, override
from tiepoint.registration.register import register

MIN_INLIERS = 12
NONE = {"global_search": False, "refine": False}
PLAIN = "opencv"  # RootSIFT, cross check, ratio 0.9 and MAGSAC++, written with cv2 alone; 12 inliers are accepted
TRAINED = {"visnir": "sdgmnet-visnir", "visir": "sdgmnet-visir", "optsar": "sdgmnet-optsar", "radar": "sdgmnet-optsar"}
STEPS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "rootsift": {"describer": "rootsift", "model": "homography", **NONE},
    "sdgmnet": {"describer": "sdgmnet", "model": "homography", **NONE},
    "trained": {"model": "homography", **NONE},
    "gradient": {"detector": "gradient", "model": "homography", **NONE},
    "relation": {"model": "homography", "relater": "rrlnet-visnir", **NONE},
    "all": {"relater": "rrlnet-visnir"},
    "refined": {"describer": "rootsift"},
    "similarity": {"describer": "rootsift", "model": "similarity"},
    "auto": {"describer": "auto"},
    "auto-similarity": {"describer": "auto", "model": "similarity"},
    "dense-trained": {"detector": "dense"},
}
SRIF = {
    "nighttime": "Nighttime", "depth": "Optical-Depth", "infrared": "Optical-Infrared", "map": "Optical-Map",
    "optical": "Optical-Optical", "radar": "Optical-SAR",
}  # fmt: skip
NAMES = {"visnir": ("vis", "nir"), "visir": ("vis", "ir"), "optsar": ("opt", "sar")}
# px beyond which a registration is wrong whatever the truth's error
WRONG = {"visnir": 10.0, "visir": 15.0, "optsar": 30.0, **dict.fromkeys(SRIF, 20.0)}


def pairs_of(data: Path, name: str, seed: int) -> list[tuple[str, Path, Path, NDArray[np.float64], bool]]:
    """Name, images, truth, and whether the second image is still to be warped by it."""
    if name in SRIF:
        return srif_pairs(data / "srif", "test", SRIF[name])
    one, two = NAMES[name]
    random = np.random.default_rng(seed)
    found = []
    for first, second in image_pairs(data / name / "test", one, two):
        truth = first.with_name(first.name.replace(f"_{one}.jpg", f"_{one}_to_{two}.txt"))
        matrix = np.loadtxt(truth) if truth.is_file() else small_warp(random, read_image(second).pixels.shape)
        found.append((f"{first.parent.name}/{first.stem}", first, second, matrix, not truth.is_file()))
    return found


def srif_pairs(data: Path, split: str, kind: str) -> list[tuple[str, Path, Path, NDArray[np.float64], bool]]:
    """As `pairs_of`, of one kind of SRIF."""
    mended = json.loads((data / "optical_sar_mended.json").read_text(encoding="utf-8"))
    folder, found = data / split / kind, []
    for truth in sorted(folder.glob("gt_*.txt"), key=lambda path: int(path.stem[3:])):
        number = truth.stem[3:]
        if kind == "Optical-SAR" and number not in mended:
            continue
        first, second = (next(folder.glob(f"pair{number}_{side}.*")) for side in (1, 2))
        matrix = srif_truth(first)
        if kind == "Optical-SAR":
            matrix = radar_truth(mended[number]["rotation"], mended[number]["size"])
        found.append((f"{kind}/{number}", first, second, matrix, False))
    return found


def radar_truth(degrees: float, size: int) -> NDArray[np.float64]:
    """SRIF's radar images are scaled to 256 px and turned about their centre; see the README of the data."""
    scale, turn, centre = 256 / size, np.deg2rad(degrees), np.full(2, 127.5)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.eye(3)
    matrix[:2, :2] = scale * linear
    matrix[:2, 2] = linear @ (np.full(2, 0.5 * scale - 0.5) - centre) + centre
    return matrix


def read_second(path: Path, matrix: NDArray[np.float64], warped: bool) -> NDArray[Any]:
    image = read_image(path).pixels
    return cv2.warpPerspective(image, matrix, image.shape[::-1]) if warped else image


class Way(NamedTuple):
    """How a step prepares an image, which is timed and done once, and how it registers two prepared ones."""

    prepare: Callable[[NDArray[Any]], Any]
    register: Callable[[Any, Any], Registered]


class Registered(NamedTuple):
    """What counts of a registration."""

    matrix: NDArray[np.float64] | None
    accepted: bool
    confidence: float
    reasons: tuple[str, ...] = ()


def way_of(step: str, name: str, most: int) -> Way:
    if step == PLAIN:
        return Way(lambda image: image, functools.partial(by_opencv, most=most))
    options = {"describer": TRAINED.get(name, "sdgmnet-visir"), **STEPS[step], "max_keypoints": most}
    dense = options["describer"] == "auto" or options.get("detector") == "dense"
    model = load_describer("sdgmnet-any" if options["describer"] == "auto" else options["describer"])
    if options["describer"] != "auto":
        options["describer"] = model
    if "relater" in options:
        options["relater"] = load_relater(options["relater"])

    detection = override(Detection(), {key: options[key] for key in ("detector", "max_keypoints") if key in options})

    def prepare(image: NDArray[Any]) -> Any:
        # Patches of upright describers depend on the other image's turn.
        return image if dense or sees_upright(model) else View.of(image, "image").described(model, detection)

    def registered(first: Any, second: Any) -> Registered:
        found = register(first, second, **options)
        return Registered(found.matrix, found.accepted, found.confidence, found.reasons)

    return Way(prepare, registered)


def by_opencv(a: NDArray[Any], b: NDArray[Any], most: int) -> Registered:
    points = opencv_pipeline(0.01, a, b, most, 0.9).points
    if len(points) < MIN_INLIERS:
        return Registered(None, False, 0.0)
    matrix, mask = cv2.findHomography(points[:, :2], points[:, 2:], cv2.USAC_MAGSAC, 3.0)
    inliers = 0 if mask is None else int(mask.sum())
    accepted = matrix is not None and inliers >= MIN_INLIERS
    kept = np.asarray(matrix, dtype=np.float64) if accepted else None
    return Registered(kept, accepted, inliers / (inliers + MIN_INLIERS))


def measure(pairs: list[Any], way: Way, step: str) -> list[dict[str, Any]]:
    """Every image is prepared once; its time counts in the pair's."""
    rows = []
    with progress_bar(step) as advance:
        prepared = [timed(way.prepare, read_second(*pair[2:])) for pair in pairs]
        for done, (name, path, _, truth, _) in enumerate(pairs, start=1):
            image = read_image(path).pixels
            first, time_first = timed(way.prepare, image)
            second, time_second = prepared[done - 1]
            found, seconds = timed(way.register, first, second)
            wrong = way.register(first, prepared[(done - 1 + len(pairs) // 2) % len(pairs)][0])
            error = None if found.matrix is None else corner_error(found.matrix, truth, *image.shape[::-1])
            rows.append({
                "pair": name, "accepted": found.accepted, "error": error, "confidence": found.confidence,
                "seconds": round(seconds + time_first + time_second, 2), "megapixels": image.size / 1e6,
                "other_accepted": wrong.accepted, "other_confidence": wrong.confidence, "reasons": list(found.reasons),
            })  # fmt: skip
            advance(done, len(pairs))
    return rows


def timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    return call(*arguments), time.perf_counter() - started


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
    parser.add_argument("--sets", nargs="+", choices=[*NAMES, *SRIF], default=list(NAMES))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=[PLAIN, "refined", "similarity"])
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
            rows = measure(pairs, way_of(step, name, options.max_keypoints), step)
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
