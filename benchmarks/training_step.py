"""Pairs trained a second on the CPU: a plain eager loop around kornia's HyNet and SDGMNet, and `tiepoint train`.

    python benchmarks/training_step.py [--pairs 256] [--rounds 3] [--threads 2]

The work is the same everywhere: sampling, augmentation, two passes of the network, SDGM, backward, SGD. Every variant
runs in a process of its own, in turn; a round's figure is the median of six steps after three uncounted.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from turns import main, repeat

NAMES = {
    "kornia": "plain eager loop, kornia HyNet",
    "eager": "plain eager loop, SDGMNet",
    "memory": "SDGMNet, eager, memory kept in the process",
    "compiled": "tiepoint train, fp32 (compiled, memory kept)",
    "bf16": "tiepoint train, bf16 (compiled, memory kept)",
}


def work(variant: str, batch: int) -> None:
    """Time one variant on random patches."""
    from tiepoint.allocator import keep_memory
    from tiepoint.data.sampling import PairSampler
    from tiepoint.patches import PatchSet
    from tiepoint.training.recipe import Recipe
    from tiepoint.training.trainer import Trainer

    if variant in ("memory", "compiled", "bf16"):
        keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        count = 4 * batch
        with PatchSet.create(Path(folder) / "set", count) as writer:
            writer.patches[:] = np.random.default_rng(0).integers(0, 256, writer.patches.shape, dtype=np.uint8)
            writer.points[:] = np.arange(count) // 2
            writer.images[:] = writer.spectra[:] = 0
            writer.image_names.append("noise")
        data = PatchSet.open(Path(folder) / "set")
        recipe = Recipe(
            data=folder,
            steps=1000,
            batch=batch,
            precision="bf16" if variant == "bf16" else "fp32",
            compile="on" if variant in ("compiled", "bf16") else "off",
        )
        trainer = Trainer(recipe, data, PairSampler(data.points, batch, seed=0), torch.device("cpu"))
        if variant == "kornia":
            from kornia.feature import HyNet

            trainer.net = trainer.forward = HyNet(pretrained=False)
            trainer.size = 32
        trainer.begin(1000)
        repeat(lambda: trainer.step(0), batch, warm=3, runs=6)


if __name__ == "__main__":
    main(__file__, __doc__, NAMES, work, ("pairs", 256))
