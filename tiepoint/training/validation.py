"""Validation during training: pairs of held-out points, the second patch with noise on its frame."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tiepoint.data.augmentation import sample
from tiepoint.data.noise import LEVELS, draw
from tiepoint.data.sampling import PairSampler
from tiepoint.errors import InputError
from tiepoint.evaluation.metrics import fpr95_matrix
from tiepoint.evaluation.pairs import as_float
from tiepoint.evaluation.similarity import similarity_matrix
from tiepoint.nets.inputs import luma
from tiepoint.patches import PatchSet
from tiepoint.training.recipe import Validation

CHUNK = 64


class ValidationPairs:
    """Fixed pairs, one a point; FPR95 of each first patch against all other second patches."""

    def __init__(
        self,
        data: PatchSet,
        rows: NDArray[np.int64],
        settings: Validation,
        seed: int,
        device: torch.device,
        size: int = 32,
    ) -> None:
        repeated = np.unique(data.points[rows], return_counts=True)[1]
        self.count = min(settings.pairs, int((repeated >= 2).sum()))
        if self.count < 2:
            raise InputError(
                f"{data.directory}: fewer than two points with two patches to validate on: raise validation.fraction"
            )
        pairs = PairSampler(data.points, self.count, seed, rows)(0).rows
        self.statement = f"{self.count} held-out points, second patch with {settings.noise} frame noise"
        generator = torch.Generator().manual_seed(seed)
        still = draw(LEVELS["none"], self.count, generator)
        moved = draw(LEVELS[settings.noise], self.count, generator)
        self.sides = [
            sample(luma(as_float(data.patches[pairs[:, side]])), maps, data.margin, size).to(device)
            for side, maps in ((0, still), (1, moved))
        ]

    @torch.inference_mode()
    def fpr95(self, net: nn.Module) -> float:
        """False positive rate at 95 % recall, 0..1."""
        net.eval()
        chunk = CHUNK if self.sides[0].device.type == "cpu" else 8192
        first, second = (torch.cat([net(part) for part in torch.split(side, chunk)]) for side in self.sides)
        return fpr95_matrix(similarity_matrix(first.cpu().numpy(), second.cpu().numpy()))
