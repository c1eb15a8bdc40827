"""How much memory a call takes at its peak, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource, torch
from tiepoint.matching.neighbours import {function}
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
a = torch.nn.functional.normalize(torch.randn(10000, 32, generator=torch.Generator().manual_seed(0)), dim=1)
{function}(a[:9], a[:9]{more})
before = peak()
result = {function}(a, a{more})
assert {holds}
print(peak() - before)
"""


def bytes_of(function: str, holds: str, more: str = "") -> int:
    """What `function` of `tiepoint.matching.match` takes for 10,000 descriptors against themselves.

    Args:
        function: its name.
        holds: an expression of `result` that has to be true.
        more: further arguments.
    """
    script = SCRIPT.format(function=function, holds=holds, more=more)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(run.stdout)
