"""Time variants of one piece of work in turn, each in a process of its own, and print a table of medians."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tiepoint.cli.output import emit_table


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
