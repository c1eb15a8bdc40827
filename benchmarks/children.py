"""Work done and measured in a process of its own: seconds, and the peak of resident memory above what was there before.

Linux alone: the peak is the kernel's VmHWM, set back (/proc/self/clear_refs) once everything is imported and prepared.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def call(script: str, options: Sequence[object]) -> dict[str, Any]:
    """Run `script` with `options` and return the JSON object that is the last line of its output."""
    command = [sys.executable, script, *map(str, options)]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # as the commands do: other work disturbs less
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Call `work` and return its seconds and the peak of resident memory above that before it, MiB.

    Memory that is free but still held is first given back, so that it does not hide what the work takes.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    began = time.perf_counter()
    work()
    return time.perf_counter() - began, memory("VmHWM") - before


def memory(key: str) -> float:
    """A figure of this process in MiB, as Linux counts it."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) / 1024
