"""Windows described a second on the CPU: SDGMNet asked densely, and patch by patch in its best chunks.

    python benchmarks/dense.py [--windows 14641] [--rounds 3] [--threads 2]

Every variant runs in a process of its own, in turn; a round's figure is the median of seven calls after two uncounted.
The patches are of the network's own size, so that nothing is reduced; the image is square and has that many windows
8 px apart: 14,641 in 1024 x 1024 px.
"""

import math

import numpy as np
import torch
from turns import main, repeat

NAMES = {
    "patches": "patch by patch (512 patches, chunks of 32)",
    "patches-64": "patch by patch (512 patches, chunks of 64)",
    "dense": "dense, windows 8 px apart",
    "dense-4": "dense, windows 4 px apart",
}


def work(variant: str, windows: int) -> None:
    """Time one variant."""
    from tiepoint.models.load import load_describer

    describer = load_describer("sdgmnet-any")
    if variant.startswith("patches"):
        batch = torch.rand(512, 1, 32, 32)
        describer.chunk = 64 if variant.endswith("64") else 32
        repeat(lambda: describer.describe(batch), len(batch), warm=2, runs=7)
    else:
        side = 8 * math.isqrt(windows) + 56
        image = np.random.default_rng(0).random((side, side), dtype=np.float32)
        stride = 4 if variant.endswith("4") else 8
        count = describer.dense(image, stride).valid.numel()
        repeat(lambda: describer.dense(image, stride), count, warm=2, runs=7)


if __name__ == "__main__":
    main(__file__, __doc__, NAMES, work, ("windows", 14641))
