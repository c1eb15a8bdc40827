"""HardNet's loss with its gradients: the plain full-matrix algorithm, and tiepoint's chunked mining, on the same pairs.

    python benchmarks/mining.py [--pairs 8192] [--rounds 3] [--threads 2]

Every variant runs in a process of its own, in turn; a round's figure is the median of three calls after one uncounted.
Peak resident memory above the inputs (Linux) goes to standard error, in MiB.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from turns import main, repeat

NAMES = {
    "plain": "full n x n matrix with a graph",
    "chunked": "tiepoint, hardnet (2 candidate sets)",
    "sosnet": "tiepoint, sosnet (4 candidate sets, second order)",
}


def plain(anchor: Tensor, positive: Tensor) -> Tensor:
    """HardNet's loss as it is written down: all distances, both minima, autograd through everything."""
    distance = torch.sqrt(2 - 2 * anchor @ positive.T + 1e-6)
    matching = distance.diagonal()
    masked = distance + 10 * torch.eye(len(anchor)) + 10 * (distance < 0.008)
    nearest = torch.minimum(masked.min(dim=0).values, masked.min(dim=1).values)
    return F.relu(1 + matching - nearest).mean()


def pairs(count: int, dimension: int = 128) -> tuple[Tensor, Tensor]:
    """Unit descriptors as a network half trained gives them, with gradients."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, dimension, generator=generator)
    sides = (points + 0.7 * torch.randn(count, dimension, generator=generator) for _ in range(2))
    first, second = (F.normalize(side, dim=1).requires_grad_() for side in sides)
    return first, second


def work(variant: str, count: int) -> None:
    """Time one variant and measure its memory."""
    from tiepoint import losses

    loss = plain if variant == "plain" else losses.create("hardnet" if variant == "chunked" else variant)
    loss(*pairs(64)).backward()
    anchor, positive = pairs(count)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")

    def step() -> None:
        anchor.grad = positive.grad = None
        loss(anchor, positive).backward()

    repeat(step, count, warm=1, runs=3)
    print(f"{variant}: peak {memory('VmHWM') - before:.0f} MiB above the inputs", file=sys.stderr)


def memory(key: str) -> float:
    """A figure of this process in MiB, as Linux counts it."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands do: other work disturbs less
    main(__file__, __doc__, NAMES, work, ("pairs", 8192))
