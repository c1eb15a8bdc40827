"""Mutual nearest neighbours of 20,000 x 20,000 descriptors of 128 numbers: seconds and peak memory, against peers.

    python benchmarks/matching.py [--descriptors 20000] [--rounds 3] [--threads 2]

Peers: OpenCV's BFMatcher with crossCheck, and brute force in numpy by blocks of 2,048 rows of either side. Both find
the nearest both ways and stop there; tiepoint's `mutual_nearest` finds the two nearest both ways and tests their ratio,
and with places the eight nearest. `nearest` gives ten neighbours one way. The pairs must be the same, before the ratio
test, but for 1 in 1,000, where rounding decides between neighbours as near.

Half of the second set are descriptors of the first with noise, the other half are others. Every variant runs in a
process of its own, in turn; the figures are medians of the rounds, ratios are taken round by round. Peak memory is
resident memory above that before the call, descriptors made and everything imported, of a second call (see
`children.py`): what a first call loads counts once, not with every pair of images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from children import call, measured
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table

NAMES = {
    "opencv": "OpenCV BFMatcher, crossCheck",
    "numpy": "numpy, blocks of 2,048",
    "mutual": "tiepoint mutual_nearest, ratio 0.9",
    "apart": "tiepoint mutual_nearest, ratio to the first apart",
    "nearest": "tiepoint nearest, 10 one way",
}
NUMBERS, BLOCK = 128, 2048
Vectors = NDArray[np.float32]


def descriptors(count: int) -> tuple[Vectors, Vectors, tuple[Vectors, Vectors]]:
    """Two sets of unit vectors, and places in an image of 4000 x 3000 px."""
    random = np.random.default_rng(0)
    a, others, noise = (random.standard_normal((count, NUMBERS), dtype=np.float32) for _ in range(3))
    b = np.where(np.arange(count)[:, None] % 2 == 0, a + 0.6 * noise, others)[random.permutation(count)]
    places = [random.uniform(0, (4000, 3000), (count, 2)).astype(np.float32) for _ in range(2)]
    first, second = (np.ascontiguousarray(v / np.linalg.norm(v, axis=1, keepdims=True)) for v in (a, b))
    return first, second, (places[0], places[1])


def by_numpy(a: Vectors, b: Vectors) -> NDArray[np.int64]:
    """Mutual nearest pairs (M, 2) by the inner product."""
    best = [np.full(len(v), -np.inf, np.float32) for v in (a, b)]
    found = [np.zeros(len(v), np.int64) for v in (a, b)]
    for i in range(0, len(a), BLOCK):
        for j in range(0, len(b), BLOCK):
            block = a[i : i + BLOCK] @ b[j : j + BLOCK].T
            for side, (start, offset, axis) in enumerate(((i, j, 1), (j, i, 0))):
                rows = slice(start, start + block.shape[1 - axis])
                nearest = block.argmax(axis=axis)
                values = np.take_along_axis(block, np.expand_dims(nearest, axis), axis).squeeze(axis)
                better = values > best[side][rows]
                best[side][rows] = np.where(better, values, best[side][rows])
                found[side][rows] = np.where(better, nearest + offset, found[side][rows])
    rows = np.flatnonzero(found[1][found[0]] == np.arange(len(a)))
    return np.stack([rows, found[0][rows]], axis=1)


def works(a: Vectors, b: Vectors, places: tuple[Vectors, Vectors]) -> dict[str, Callable[[], Any]]:
    import cv2

    from tiepoint.matching.neighbours import mutual_nearest, nearest

    return {
        "opencv": lambda: cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(a, b),
        "numpy": lambda: by_numpy(a, b),
        "mutual": lambda: mutual_nearest(a, b),
        "apart": lambda: mutual_nearest(a, b, places=places),
        "nearest": lambda: nearest(a, b, 10),
    }


def pairs_of(variant: str, a: Vectors, b: Vectors, result: Any) -> NDArray[np.int64] | None:
    """The mutual pairs before a ratio test, where the variant gives them."""
    if variant == "opencv":
        return np.array([(m.queryIdx, m.trainIdx) for m in result])
    if variant == "mutual":
        from tiepoint.matching.neighbours import mutual_nearest

        return mutual_nearest(a, b, 1.0).indices
    return result if variant == "numpy" else None


def work(variant: str, count: int, threads: int) -> None:
    """Measure one variant and print seconds, peak memory and a digest of the pairs as JSON."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    a, b, places = descriptors(count)
    works(a[:64], b[:64], (places[0][:64], places[1][:64]))[variant]()  # loads what is loaded once
    job = works(a, b, places)[variant]
    results: list[Any] = []
    job()
    seconds, peak = measured(lambda: results.append(job()))
    pairs = pairs_of(variant, a, b, results[0])
    print(json.dumps({"seconds": seconds, "peak": peak, "pairs": None if pairs is None else pairs.tolist()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--descriptors", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.descriptors, options.threads)
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
    passed = ["--descriptors", options.descriptors, "--threads", options.threads]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    for _ in range(options.rounds):
        for name, rounds in found.items():
            rounds.append(call(__file__, ["--worker", name, *passed]))
    expected = {tuple(pair) for pair in found["opencv"][0]["pairs"]}
    rows = []
    for name, rounds in found.items():
        seconds = [one["seconds"] for one in rounds]
        ratios = [s / base["seconds"] for s, base in zip(seconds, found["opencv"], strict=True)]
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        row = (f"{statistics.median(seconds):.2f}", spread, f"{statistics.median(ratios):.2f}")
        rows.append((NAMES[name], *row, f"{max(one['peak'] for one in rounds):.0f}"))
        if rounds[0]["pairs"] is not None:
            other = {tuple(pair) for pair in rounds[0]["pairs"]}
            assert len(expected ^ other) <= len(expected) / 1000, f"{name} finds other pairs"
    title = f"{options.descriptors:,} x {options.descriptors:,} descriptors of {NUMBERS}, {options.threads} threads"
    emit_table(title, ("", "seconds", "range", "ratio to OpenCV", "peak MiB"), rows)


if __name__ == "__main__":
    main()
