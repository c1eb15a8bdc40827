"""Patches described a second on the CPU: kornia's HyNet and tiepoint's SDGMNet, the same topology on the same patches.

    python benchmarks/describe.py [--patches 512] [--rounds 3] [--threads 2]

Every variant runs in a process of its own, in turn; a round's figure is the median of seven calls after two uncounted.
"""

from __future__ import annotations

import torch
from turns import main, repeat

NAMES = {
    "kornia": "kornia HyNet, eager, one call",
    "kornia-memory": "the same, memory kept in the process",
    "tiepoint": "tiepoint SDGMNet, as a library (chunks of 32)",
    "tiepoint-memory": "the same, as in its commands (memory kept)",
}


def work(variant: str, patches: int) -> None:
    """Time one variant."""
    from tiepoint.allocator import keep_memory

    if variant.endswith("memory"):
        keep_memory()
    torch.manual_seed(0)
    batch = torch.rand(patches, 1, 32, 32)
    if variant.startswith("kornia"):
        from kornia.feature import HyNet

        net = HyNet(pretrained=False).eval()
        with torch.inference_mode():
            repeat(lambda: net(batch), patches, warm=2, runs=7)
    else:
        from tiepoint import nets
        from tiepoint.models.describer import LearnedDescriber

        describer = LearnedDescriber(nets.create("sdgmnet"), "fresh")
        repeat(lambda: describer.describe(batch), patches, warm=2, runs=7)


if __name__ == "__main__":
    main(__file__, __doc__, NAMES, work, ("patches", 512))
