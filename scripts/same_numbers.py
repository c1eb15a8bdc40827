"""Store what registration gives on real pairs, or compare it bit for bit with what was stored before a change.

    python scripts/same_numbers.py ../shared/data --out before.npz
    python scripts/same_numbers.py ../shared/data --against before.npz

Eight pairs each of visnir/test, visir/test and optsar/test, registered by RootSIFT and by the describer trained for
their spectra; and on one pair a set the other ways to register: models of two views, warps, relaters, large images. The
numbers depend on the processor, the number of threads (OMP_NUM_THREADS) and the versions of the libraries: compare on
one machine, with one number of threads.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import tiepoint
from tiepoint.evaluation.registration.calibration import image_pairs, small_warp
from tiepoint.images.raster import read_image

SETS = {"visnir": ("vis", "nir"), "visir": ("vis", "ir"), "optsar": ("opt", "sar")}
PAIRS = 8
FIELDS = ("matrix", "confidence", "accepted", "tie_points", "residuals", "scores", "probabilities")
RRLNET = {"describer": "rootsift", "relater": "rrlnet-visnir"}
WAYS: dict[str, dict[str, Any]] = {
    "sdgmnet": {"describer": "sdgmnet"},
    "fundamental": {"describer": "rootsift", "model": "fundamental"},
    "unrefined": {"describer": "rootsift", "refine": False},
    "thin-plate": {"describer": "rootsift", "warp": "thin-plate"},
    "piecewise": {"describer": "rootsift", "warp": "piecewise"},
    "relater": RRLNET,
    "unrefined-relater": {**RRLNET, "refine": False},
    "candidates": {**RRLNET, "top_k": 3, "max_keypoints": 300},
    "rotations": {"rotations": 4, "max_keypoints": 1000},
    "affine": {"describer": "sdgmnet", "affine": True, "max_keypoints": 1000},
    "even": {"describer": "rootsift", "uniform": True, "max_keypoints": 1000, "ratio_rule": "fginn"},
    "gradient": {"describer": "rootsift", "detector": "gradient"},
}
LARGE: dict[str, dict[str, Any]] = {
    "large": {"describer": "rootsift"},
    "large-relater": RRLNET,
    "large-warp": {"describer": "rootsift", "warp": "thin-plate"},
}
Numbers = dict[str, np.ndarray]


def of_set(data: Path, name: str, count: int, ways: bool) -> Numbers:
    one, two = SETS[name]
    pairs = image_pairs(data / name / "test", one, two)
    random = np.random.default_rng(0)
    found: Numbers = {}
    for number, (first, second) in enumerate(pairs[:: len(pairs) // PAIRS][:count]):
        a, b = read_image(first).pixels, read_image(second).pixels
        if name != "visnir":
            b = cv2.warpPerspective(b, small_warp(random, b.shape), b.shape[::-1])
        trained, key = f"sdgmnet-{name}", f"{name}/{first.parent.name}/{first.stem}"
        for describer in ("rootsift", trained):
            found |= numbers(f"{key}/{describer}", tiepoint.register(a, b, describer, max_keypoints=4000))
        if ways and number == 1 and name != "optsar":
            for way, options in WAYS.items():
                found |= numbers(f"{key}/x-{way}", tiepoint.register(a, b, **{"describer": trained, **options}))
    return found | (of_large(a, b) if ways and name == "optsar" else {})


def of_large(a: np.ndarray, b: np.ndarray) -> Numbers:
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / f"{name}.png") for name in "ab"]
        for file, image in zip(files, (a, b), strict=True):
            cv2.imwrite(file, image)
        found = [
            numbers(f"optsar/{way}", tiepoint.register(*files, overview=512, large="always", **options))
            for way, options in LARGE.items()
        ]
    return {key: value for one in found for key, value in one.items()}


def numbers(key: str, registration: tiepoint.Registration) -> Numbers:
    print(key, registration.accepted, f"{registration.confidence:.6f}", len(registration.tie_points), flush=True)
    values = {field: getattr(registration, field) for field in FIELDS}
    values["matrix"] = np.full((3, 3), np.nan) if values["matrix"] is None else values["matrix"]
    return {f"{key}/{field}": np.asarray(value) for field, value in values.items() if value is not None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--out", type=Path, help="file (.npz) to store the numbers in")
    parser.add_argument("--against", type=Path, help="file of an earlier run; exit code 1 if a number differs")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs a set, for a shorter look")
    parser.add_argument("--no-ways", action="store_true", help="leave out the other ways to register")
    options = parser.parse_args()
    found: Numbers = {}
    for name in options.sets:
        found |= of_set(options.data_dir, name, options.pairs, not options.no_ways)
    if options.out:
        np.savez(options.out, **found)  # type: ignore[arg-type]
    if options.against:
        with np.load(options.against) as before:
            wrong = [key for key, value in found.items() if not np.array_equal(before[key], value, equal_nan=True)]
        for key in wrong:
            print("differs:", key)
        print(f"{len(found)} arrays compared, {len(wrong)} differ")
        raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
