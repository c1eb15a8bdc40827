"""Seconds and peak memory of the HPatches tasks on made-up descriptors of the benchmark's size.

    python benchmarks/hpatches.py [--small] [--threads 2] [--draw]

116 sequences of 16 strips of 1300 descriptors, 128 floats each (1.2 GB); a million pairs of each kind; 10,000 queries
and 20,000 distractors. --draw draws the pairs as `tiepoint evaluate hpatches` does where task files are missing, which
takes longer than all three tasks. CPU seconds, of all cores together, mean something on a busy machine, too.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table
from tiepoint.data.readers.hpatches import STRIPS
from tiepoint.evaluation.hpatches.measures import match, retrieve, summarize, verify
from tiepoint.evaluation.hpatches.tasks import VerificationTask, generate_retrieval, generate_verification

T = TypeVar("T")
NOISE = {"r": 0.0, "e": 0.08, "h": 0.11, "t": 0.14}  # a component's deviation, where a descriptor has length 1
DIMENSION = 128


def descriptors(sequences: int, patches: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Unit vectors (16, patches, 128) a sequence: random reference patches, and noise on them for the other strips."""
    rng = np.random.default_rng(seed)
    made = {}
    for number in range(sequences):
        strips = np.empty((len(STRIPS), patches, DIMENSION), dtype=np.float32)
        reference = rng.standard_normal((patches, DIMENSION), dtype=np.float32) / np.sqrt(DIMENSION)
        for strip, name in zip(strips, STRIPS, strict=True):
            strip[:] = reference + NOISE[name[0]] * rng.standard_normal((patches, DIMENSION), dtype=np.float32)
            strip /= np.linalg.norm(strip, axis=1, keepdims=True)
        made[f"{'iv'[number % 2]}_{number:03d}"] = strips
    return made


def random_pairs(sequences: int, patches: int, pairs: int, seed: int = 0) -> VerificationTask:
    """Pairs as the benchmark has them, drawn at once by another generator."""
    rng = np.random.default_rng(seed)
    sequence, other = rng.integers(sequences, size=(2, pairs))
    first, elsewhere = rng.integers(patches, size=(2, pairs))
    one, two = rng.permuted(np.tile(np.arange(5), (pairs, 1)), axis=1)[:, :2].T
    second = (first + rng.integers(1, patches, pairs)) % patches
    positive = np.stack([sequence, one, first, sequence, two, first], axis=1)
    inter = np.stack([sequence, one, first, other, two, elsewhere], axis=1)
    intra = np.stack([sequence, one, first, sequence, two, second], axis=1)
    return VerificationTask(positive, inter, intra, "generated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a hundredth of the size, to see that it runs")
    parser.add_argument("--draw", action="store_true", help="draw the pairs as the benchmark does, and time it")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sequences, patches, pairs, queries = (12, 100, 10_000, 200) if options.small else (116, 1300, 1_000_000, 10_000)
    rows: list[tuple[str, ...]] = []

    def timed(name: str, work: Callable[[], T], figure: Callable[[T], float] | None = None) -> T:
        clocks = time.perf_counter, time.process_time
        began = [clock() for clock in clocks]
        result = work()
        spent = [f"{clock() - start:.1f}" for clock, start in zip(clocks, began, strict=True)]
        rows.append((name, *spent, f"{100 * figure(result):.2f}" if figure else ""))
        return result

    made = timed("making descriptors", lambda: descriptors(sequences, patches))
    draw = generate_verification if options.draw else lambda counts, count: random_pairs(len(counts), patches, count)
    task = timed("drawing pairs", lambda: draw(dict.fromkeys(made, patches), pairs))
    contrast = [np.full(patches, 20.0)] * sequences
    asked = timed("drawing queries", lambda: generate_retrieval(contrast, queries, 2 * queries))
    timed("verification", lambda: verify(made, task), lambda found: float(found["mean_ap"]))
    timed("matching", lambda: match(made), lambda scores: float(summarize(scores)["mean_ap"]))
    timed("retrieval", lambda: retrieve(made, asked), lambda table: float(table.mean()))
    emit_table(f"{sequences} sequences of {patches} patches, 128-D", ("", "seconds", "CPU seconds", "mAP %"), rows)
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS and in KiB elsewhere
    print(f"Peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
