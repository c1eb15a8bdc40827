"""Seconds and peak memory of `tiepoint register` by the size of the images, beside plain OpenCV in the same run.

    python benchmarks/register_cost.py [--megapixels 0.25 1 4] [--images A B] [--rounds 1] [--threads 2] [--json]

A pair is a synthetic textured image and the same in another spectrum (another curve of brightness, noise), turned,
scaled and shifted a little, of which the truth is known; or --images A B, resized to each size, without a truth.
Each run is the command itself, called in a process of its own once it has imported everything and registered a small
pair; `s` and `MiB` are what it takes from the files to the verdict, MiB the peak of resident memory above that before
it. The plain peer is SIFT of OpenCV (8,000 keypoints), brute-force matching with ratio 0.8, and a homography by
MAGSAC++. Every row is the median over the rounds. `px` is the mean error at the corners.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from children import call, measured
from extraction import texture
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table

VARIANTS = {
    "rootsift": ["--describer", "rootsift"],
    "rootsift, not refined": ["--describer", "rootsift", "--no-refine", "--no-global-search"],
    "auto (windows)": [],
    "sdgmnet": ["--describer", "sdgmnet"],
    "sdgmnet, not refined": ["--describer", "sdgmnet", "--no-refine", "--no-global-search"],
}
PEER = "opencv SIFT, BF, MAGSAC++"
SMALL = 0.06  # megapixels of the pair that is registered before anything is measured
Result = dict[str, Any]


def write_pair(folder: Path, megapixels: float, images: list[Path] | None) -> None:
    """Write a.png and b.png, and the truth.txt of a synthetic pair."""
    from tiepoint.evaluation.registration.calibration import small_warp

    folder.mkdir()
    if images:
        for name, path in zip("ab", images, strict=True):
            cv2.imwrite(str(folder / f"{name}.png"), resized(path, megapixels))
        return
    random = np.random.default_rng(0)
    image = texture(megapixels)
    truth = small_warp(random, image.shape)
    seen = cv2.warpPerspective(image, truth, image.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    other = (seen / 255.0) ** 1.6 + random.normal(0, 0.02, seen.shape)
    cv2.imwrite(str(folder / "a.png"), image)
    cv2.imwrite(str(folder / "b.png"), np.rint(255 * other.clip(0, 1)).astype(np.uint8))
    np.savetxt(folder / "truth.txt", truth)


def resized(path: Path, megapixels: float) -> NDArray[Any]:
    """An image file at another size, its aspect kept."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise SystemExit(f"{path}: no image that OpenCV reads")
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=way))


def by_tiepoint(folder: Path, options: list[str]) -> Result:
    """The command, in this process."""
    from tiepoint.cli import main

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        code = main(["register", str(folder / "a.png"), str(folder / "b.png"), *options, "--json"])
    if code == 2:
        raise SystemExit(code)
    found: Result = json.loads(text.getvalue())
    return {"accepted": found["accepted"], "matrix": found["matrix"]}


def by_opencv(folder: Path) -> Result:
    """As anyone would write it."""
    sift = cv2.SIFT.create(nfeatures=8000)
    keypoints, descriptors = [], []
    for name in "ab":
        image = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        found = sift.detectAndCompute(image, None)
        keypoints.append(found[0])
        descriptors.append(found[1])
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(*descriptors, k=2)
    good = [m for m, n in pairs if m.distance < 0.8 * n.distance]
    if len(good) < 4:
        return {"accepted": False, "matrix": None}
    a = np.array([keypoints[0][m.queryIdx].pt for m in good])
    b = np.array([keypoints[1][m.trainIdx].pt for m in good])
    matrix, inliers = cv2.findHomography(a, b, cv2.USAC_MAGSAC, 3.0, confidence=0.9999, maxIters=10_000)
    kept = matrix is not None and int(inliers.sum()) >= 12
    return {"accepted": kept, "matrix": matrix.tolist() if kept else None}


def work(variant: str, folder: Path, threads: int) -> Result:
    """Register once, measured, after a small pair."""
    import torch

    from tiepoint.allocator import keep_memory
    from tiepoint.geometry.robust import corner_error

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    way: Callable[[Path], Result] = by_opencv
    if variant != PEER:
        keep_memory()  # as the command does
        way = lambda pair: by_tiepoint(pair, VARIANTS[variant])  # noqa: E731
    way(folder.parent / "small")
    kept: Result = {}
    seconds, mib = measured(lambda: kept.update(way(folder)))
    error = None
    if kept["matrix"] is not None and (folder / "truth.txt").is_file():
        size = cv2.imread(str(folder / "a.png"), cv2.IMREAD_GRAYSCALE).shape[::-1]
        error = corner_error(np.array(kept["matrix"]), np.loadtxt(folder / "truth.txt"), *size)
    return {"seconds": seconds, "mib": mib, "accepted": kept["accepted"], "error": error}


def summarise(variant: str, size: float, found: list[Result]) -> list[Any]:
    seconds, mib = (statistics.median(f[key] for f in found) for key in ("seconds", "mib"))
    error = found[0]["error"]
    return [
        variant, f"{size:g}", f"{seconds:.2f}", f"{seconds / size:.2f}", round(mib), round(mib / size),
        "yes" if found[0]["accepted"] else "no", "" if error is None else f"{error:.2f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1.0, 4.0])
    parser.add_argument("--images", type=Path, nargs=2, help="two image files in place of the synthetic pair")
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS, PEER], default=[PEER, *VARIANTS])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options.worker, options.folder, options.threads)))
        return
    rows, results = [], []
    with tempfile.TemporaryDirectory() as name:
        write_pair(Path(name) / "small", SMALL, None)
        for size in options.megapixels:
            folder = Path(name) / f"{size:g}"
            write_pair(folder, size, options.images)
            found: dict[str, list[Result]] = {variant: [] for variant in options.variants}
            for _ in range(options.rounds):
                for variant, figures in found.items():
                    command = ["--worker", variant, "--folder", folder, "--threads", options.threads]
                    figures.append(call(__file__, command))
            for variant, figures in found.items():
                rows.append(summarise(variant, size, figures))
                results.append({"megapixels": size, "variant": variant, "rounds": figures})
    if options.json:
        print(json.dumps({"threads": options.threads, "opencv": cv2.__version__, "results": results}))
        return
    header = ("", "MP", "s", "s / MP", "MiB", "MiB / MP", "accepted", "px")
    emit_table(f"Registering a pair, {options.threads} threads, {options.rounds} rounds", header, rows)


if __name__ == "__main__":
    main()
