"""Time variants of one piece of work in turn, each in a process of its own, and print a table of medians."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import torch

from tiepoint.cli.output import emit_table


def main(
    script: str, doc: str, names: dict[str, str], work: Callable[[str, int], None], items: tuple[str, int]
) -> None:
    """The command line of a benchmark: without --worker time all variants in turn, with it do one variant's work.

    Args:
        script: the benchmark's file.
        doc: its help.
        names: variant -> what the table calls it; the first is what the others are compared with.
        work: called with a variant and the number of items; prints rates by `repeat`.
        items: what is counted, and how many of it by default.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(f"--{items[0]}", dest="items", type=int, default=items[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=names, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options.worker, options.items)
        return
    passed = [f"--{items[0]}", str(options.items), "--threads", str(options.threads)]
    rates = time_variants(script, list(names), options.rounds, passed)
    title = f"{options.items} {items[0]} a call, {options.threads} threads, {options.rounds} rounds"
    print_table(title, f"{items[0]}/s", rates, names)


def time_variants(script: str, variants: Sequence[str], rounds: int, options: Sequence[str]) -> dict[str, list[float]]:
    """Run `script --worker VARIANT` in turn; each prints a list of rates. Returns the medians of each round."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name in variants:
            command = [sys.executable, script, "--worker", name, *options]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rates[name].append(statistics.median(json.loads(output.splitlines()[-1])))
    return rates


def repeat(work: Callable[[], object], items: int, warm: int, runs: int) -> None:
    """Call `work`, `warm` times uncounted, then `runs` times, and print the rates, items a second, as JSON."""
    rates = []
    for index in range(warm + runs):
        began = time.perf_counter()
        work()
        if index >= warm:
            rates.append(items / (time.perf_counter() - began))
    print(json.dumps(rates))


def print_table(title: str, unit: str, rates: dict[str, list[float]], names: dict[str, str]) -> None:
    """Print each variant's median, its range over the rounds, and its ratio to the first, taken round by round."""
    base = next(iter(rates.values()))
    rows = []
    for name, values in rates.items():
        ratios = [value / reference for value, reference in zip(values, base, strict=True)]
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        rows.append((names[name], f"{statistics.median(values):,.0f}", spread, f"{statistics.median(ratios):.2f}"))
    emit_table(title, ("", unit, "range", "ratio to the first"), rows)
