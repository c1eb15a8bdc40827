"""Matching under a known homography (graf: viewpoint, leuven: light): tiepoint, OpenCV's RootSIFT and kornia.

    python benchmarks/homography.py ../shared/data/homography [--scenes graf leuven] [--keypoints 2000] [--ratio 0.9]

A scene is a folder with the images 1 to 6 and the files H_1_2 to H_1_6. First each pipeline with its own keypoints, at
most --keypoints an image, then the describers on the very same keypoints: those that tiepoint takes, OpenCV's SIFT.
Mutual nearest neighbours and one ratio test, in both directions, for all; --ratio 1 leaves the ratio test out. The
homography is estimated alike for all: MAGSAC++ at 3 px, then least squares on its inliers. `opencv` is written with cv2
alone; `tiepoint` is `tiepoint.match`, with a detector and affine shape where they are named. Last, what
`tiepoint.register` gives, which does more than match and judges: its tie points and its transform; a refused pair has
none.

Mean of each scene's five pairs; matches between the same two places, as of a point with several orientations, count
once, and `right` are those within 3 px. Percent of matches within 1 to 10 px of their true place (mean matching
accuracy); percent of pairs whose homography maps the corners of image 1 to within 1, 3, 5 and 10 px on average. `s` are
seconds a pair, both images described. kornia's pipelines are those that download no weights; without kornia they are
left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands do, and before torch is imported

import argparse
import importlib.util
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from homography_accuracy import (
    CORNER_LIMITS_PX,
    THRESHOLDS_PX,
    MeanAccuracy,
    PairAccuracy,
    mean_accuracy,
    pair_accuracy,
)
from homography_methods import OWN, REGISTER, SAME, Found, Method
from numpy.typing import NDArray

import tiepoint
from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.data.builders.homography import read_sequence
from tiepoint.geometry.robust import corner_error

Images = list[NDArray[np.uint8]]
Row = tuple[str, MeanAccuracy, float, float]  # method, accuracy, keypoints an image, seconds a pair


@dataclass(frozen=True)
class Scene:
    """Image 1 and the others, with the transforms from it to them."""

    images: Images
    truths: list[NDArray[np.float64]]


def measure(scene: Scene, method: Method, options: argparse.Namespace) -> tuple[list[PairAccuracy], float, float]:
    """Every pair by itself, image 1 described each time; accuracy, keypoints an image and the median of the seconds."""
    first = scene.images[0]
    size = first.shape[1], first.shape[0]
    pairs, counts, seconds = [], [], []
    for second, truth in zip(scene.images[1:], scene.truths, strict=True):
        began = time.perf_counter()
        found: Found = method(first, second, options.keypoints, options.ratio)
        seconds.append(time.perf_counter() - began)
        pair = pair_accuracy(np.unique(found.points, axis=0), truth, size, seed=options.seed)
        if found.own_matrix is not None:
            own = found.own_matrix[0]
            error = np.inf if own is None else corner_error(own, truth, *size)
            pair = PairAccuracy(pair.matches, pair.right, pair.shares, error)
        pairs.append(pair)
        counts += found.keypoints
    return pairs, statistics.fmean(counts), statistics.median(seconds)


def print_tables(name: str, rows: list[Row]) -> None:
    """One table, everything in percent but counts and seconds."""
    header = [
        "",
        "keypoints",
        "matches",
        "right",
        *(f"{t:g}" for t in THRESHOLDS_PX),
        *(f"H {t:g}" for t in CORNER_LIMITS_PX),
        "s",
    ]
    table = []
    for method, mean, count, seconds in rows:
        shares = [f"{100 * value:.0f}" for value in (*mean.matching, *mean.homography)]
        table.append([method, round(count), round(mean.matches), round(mean.right), *shares, f"{seconds:.2f}"])
    emit_table(f"{name}: matches within 1 to 10 px, homographies within 1, 3, 5, 10 px, in percent", header, table)


def as_json(rows: dict[str, list[Row]], options: argparse.Namespace) -> str:
    """All figures as one object."""
    table = {
        group: {
            method: {
                **{key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(m).items()},
                "keypoints": count,
                "seconds": seconds,
            }
            for method, m, count, seconds in found
        }
        for group, found in rows.items()
    }
    versions = {"tiepoint": tiepoint.__version__, "opencv": cv2.__version__, "torch": torch.__version__}
    settings = {
        "keypoints": options.keypoints,
        "ratio": options.ratio,
        "pixels": THRESHOLDS_PX,
        "corners": CORNER_LIMITS_PX,
    }
    return json.dumps({"versions": versions, "settings": settings, "results": table})


def chosen(wanted: list[str] | None) -> dict[str, dict[str, Method]]:
    """The methods of each table."""
    groups = {"own keypoints": OWN, "the same keypoints": SAME, "registration": REGISTER}
    if importlib.util.find_spec("kornia") is None:
        print("kornia is not installed (pip install 'tiepoint[kornia]'): its rows are left out", file=sys.stderr)
        groups = {g: {m: f for m, f in found.items() if not m.startswith("kornia")} for g, found in groups.items()}
    if wanted is None:
        return groups
    return {g: {m: f for m, f in found.items() if any(word in m for word in wanted)} for g, found in groups.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", nargs="+", default=["graf", "leuven"])
    parser.add_argument("--methods", nargs="+", help="only methods whose name holds one of these words")
    parser.add_argument("--keypoints", type=int, default=2000)
    parser.add_argument("--ratio", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0, help="of the robust estimation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    scenes = {name: Scene(*read_sequence(options.folder / name)) for name in options.scenes}
    groups = chosen(options.methods)
    results: dict[str, list[Row]] = {}
    with progress_bar("matching") as advance:
        done, total = 0, len(scenes) * sum(len(methods) for methods in groups.values())
        for group, methods in groups.items():
            for method, function in methods.items():
                found = {}
                for name, scene in scenes.items():
                    found[name] = measure(scene, function, options)
                    advance(done := done + 1, total)
                if len(found) > 1:
                    pairs, counts, seconds = zip(*found.values(), strict=True)
                    every = [pair for part in pairs for pair in part]
                    found["mean of scenes"] = every, statistics.fmean(counts), statistics.fmean(seconds)
                for name, (pairs, count, seconds) in found.items():
                    results.setdefault(f"{name}, {group}", []).append((method, mean_accuracy(pairs), count, seconds))
    if options.json:
        print(as_json(results, options))
        return
    for name, rows in results.items():
        print_tables(name, rows)


if __name__ == "__main__":
    main()
