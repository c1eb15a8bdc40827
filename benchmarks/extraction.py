"""Patches cut a second at SIFT keypoints of a synthetic image: tiepoint's two backends, kornia's, and cv2 in a loop.

    python benchmarks/extraction.py [--patches 8000] [--sizes 32 64] [--megapixels 2] [--rounds 3] [--threads 2]

Every variant runs in a process of its own, in turn, on the same image and frames; a round's figure is the median of
five calls after one uncounted, and `MiB` the peak of resident memory in a single call above that before it, the patches
it returns included. `off` is how far patches are from tiepoint's, mean absolute difference in percent of a patch's
standard deviation, median over patches. kornia samples a pyramid of its own; the loop of warpAffine samples the image
itself, so that large patches alias. tiepoint's opencv backend and both peers cut 8-bit or float patches as each does by
default: uint8 of cv2, float32 of torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from children import call, measured
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table

NAMES = {
    "opencv": "tiepoint extract, opencv",
    "torch": "tiepoint extract, torch",
    "loop": "cv2.warpAffine of the image, in a loop",
    "kornia": "kornia extract_patches_from_pyramid",
}
SUPPORT = 12.0
CALLS = 5
Cut = Callable[[], NDArray[Any]]


def texture(megapixels: float, seed: int = 0) -> NDArray[np.uint8]:
    """Grey noise of many scales, three pixels high for four wide."""
    random = np.random.default_rng(seed)
    shape = round((megapixels * 0.75e6) ** 0.5), round((megapixels / 0.75e-6) ** 0.5)
    total = np.zeros(shape, dtype=np.float32)
    for sigma in (1.5, 3, 6, 12, 24):
        layer = cv2.GaussianBlur(random.standard_normal(shape, dtype=np.float32), (0, 0), sigma)
        total += layer / layer.std()
    return np.asarray((128 + 40 * total / total.std()).clip(0, 255).astype(np.uint8))


def work(variant: str, folder: Path, size: int, threads: int) -> dict[str, Any]:
    """Time one variant, and keep its patches."""
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    image, frames = np.load(folder / "image.npy"), np.load(folder / "frames.npy")
    cut = VARIANTS[variant](image, frames, size, threads)
    cut()
    seconds = []
    for _ in range(CALLS):
        began = time.perf_counter()
        patches = cut()
        seconds.append(time.perf_counter() - began)
    np.save(folder / f"{variant}-{size}.npy", patches)
    del patches
    return {"rate": len(frames) / statistics.median(seconds), "mib": measured(cut)[1]}


def by_tiepoint(backend: str) -> Callable[[NDArray[Any], NDArray[Any], int, int], Cut]:
    def prepared(image: NDArray[Any], frames: NDArray[Any], size: int, threads: int) -> Cut:
        from tiepoint.features.extract import extract

        return lambda: extract(image, frames, size=size, support=SUPPORT, backend=backend, threads=threads)

    return prepared


def by_loop(image: NDArray[Any], frames: NDArray[Any], size: int, threads: int) -> Cut:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def cut() -> NDArray[Any]:
        patches = np.empty((len(frames), 1, size, size), dtype=np.uint8)
        for patch, frame in zip(patches, frames, strict=True):
            matrix = frame.copy()
            matrix[:, :2] *= SUPPORT / size
            matrix[:, 2] -= matrix[:, :2].sum(axis=1) * (size - 1) / 2  # sample i sits at (i + 1/2) / size - 1/2
            cv2.warpAffine(image, matrix, (size, size), patch[0], flags, cv2.BORDER_REPLICATE)
        return patches

    return cut


def by_kornia(image: NDArray[Any], frames: NDArray[Any], size: int, threads: int) -> Cut:
    import torch
    from kornia.feature import extract_patches_from_pyramid

    from tiepoint.features.frames import to_laf

    def cut() -> NDArray[Any]:
        with torch.inference_mode():
            pixels = torch.from_numpy(image)[None, None].float()
            lafs = torch.from_numpy(to_laf(frames, SUPPORT).astype(np.float32))[None]
            return np.asarray(extract_patches_from_pyramid(pixels, lafs, size)[0].numpy())

    return cut


VARIANTS = {"opencv": by_tiepoint("opencv"), "torch": by_tiepoint("torch"), "loop": by_loop, "kornia": by_kornia}


def prepare(folder: Path, megapixels: float, count: int) -> tuple[int, int]:
    """Write the image and the frames; returns the image's width and height."""
    from tiepoint.features.detect import detect

    image = texture(megapixels)
    frames = detect(image, max_keypoints=count).frames
    if len(frames) < count:
        print(f"the image has {len(frames)} keypoints only", file=sys.stderr)
    np.save(folder / "image.npy", image)
    np.save(folder / "frames.npy", frames)
    return image.shape[1], image.shape[0]


def off(folder: Path, variant: str, size: int) -> float:
    """How far a variant's patches are from tiepoint's, in percent."""
    reference, found = (np.load(folder / f"{name}-{size}.npy").astype(np.float32) for name in ("opencv", variant))
    difference = np.abs(found - reference).mean(axis=(1, 2, 3))
    return float(100 * np.median(difference / np.maximum(reference.std(axis=(1, 2, 3)), 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=8000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--megapixels", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--worker", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options.worker, options.folder, options.sizes[0], options.threads)))
        return
    names = dict(NAMES)
    if importlib.util.find_spec("kornia") is None:
        print("kornia is not installed (pip install 'tiepoint[kornia]'): its row is left out", file=sys.stderr)
        del names["kornia"]
    rows, results = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        width, height = prepare(folder, options.megapixels, options.patches)
        count = len(np.load(folder / "frames.npy"))
        for size in options.sizes:
            found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in names}
            passed = ["--folder", folder, "--sizes", size, "--threads", options.threads]
            for _ in range(options.rounds):
                for variant, figures in found.items():
                    figures.append(call(__file__, ["--worker", variant, *passed]))
            for variant, figures in found.items():
                rates, mib = [f["rate"] for f in figures], statistics.median(f["mib"] for f in figures)
                distance = off(folder, variant, size)
                row = {"size": size, "variant": variant, "rates": rates, "mib": mib, "off_percent": distance}
                results.append(row)
                spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
                rows.append([names[variant], size, round(statistics.median(rates)), spread, round(mib), distance])
    if options.json:
        settings = {
            "width": width,
            "height": height,
            "patches": count,
            "threads": options.threads,
            "opencv": cv2.__version__,
        }
        print(json.dumps({"settings": settings, "results": results}))
        return
    title = f"{count:,} patches of {width} x {height} px, {options.threads} threads, {options.rounds} rounds"
    emit_table(title, ("", "size", "patches/s", "range", "MiB", "off %"), rows)


if __name__ == "__main__":
    main()
