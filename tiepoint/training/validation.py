"""Validation by FPR95: on matching pairs of held-out points of one spectrum, or on labelled pairs across two spectra.

Pairs across spectra are of held-out scenes or points, or of test data where a recipe says so.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.data.augmentation import sample
from tiepoint.data.crop import central_crop
from tiepoint.data.labelled_pairs import labelled_pairs
from tiepoint.data.noise import LEVELS, draw
from tiepoint.data.sampling import PairSampler
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import similarity_matrix
from tiepoint.evaluation.metrics import fpr95, fpr95_matrix
from tiepoint.evaluation.verification import as_float
from tiepoint.nets.inputs import channels_for, luma, resize
from tiepoint.nets.relation import SLOTS
from tiepoint.patches import PatchSet
from tiepoint.training.recipe import Recipe
from tiepoint.types import Rows

CPU_CHUNK = 64  # patches or pairs in memory at once
DESCRIBER_GPU_CHUNK, PAIR_GPU_CHUNK = 8192, 1024


class PointValidation:
    """Fixed pairs, one for each point; FPR95 of each first patch against all other second patches."""

    def __init__(self, recipe: Recipe, data: PatchSet, rows: Rows, size: int, device: torch.device) -> None:
        settings, seed = recipe.validation, recipe.seed
        repeated = np.unique(data.points[rows], return_counts=True)[1]
        self.count = min(settings.pairs, int((repeated >= 2).sum()))
        if self.count < 2:
            fault = "fewer than two points with two patches to validate on"
            raise InputError(f"{data.directory}: {fault}: raise validation.fraction")
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
        chunk = CPU_CHUNK if self.sides[0].device.type == "cpu" else DESCRIBER_GPU_CHUNK
        first, second = (torch.cat([net(part) for part in torch.split(side, chunk)]) for side in self.sides)
        return fpr95_matrix(similarity_matrix(first.cpu().numpy(), second.cpu().numpy()))


class CrossSpectralValidation:
    """Fixed pairs, as many non-matches as matches; FPR95 by a relater's logits or by the distance of descriptors."""

    def __init__(self, recipe: Recipe, data: PatchSet, rows: Rows | None, size: int, device: torch.device) -> None:
        settings, seed = recipe.validation, recipe.seed
        pairs = labelled_pairs(data, settings.pairs, seed, rows)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(pairs))[: 2 * settings.pairs])
        self.labels, self.size, self.device = pairs.labels[chosen], size, device
        self.relates = recipe.network in nets.RELATERS
        self.count = int(self.labels.sum())
        if not 0 < self.count < len(chosen):
            fault = f"{self.count} matches and {len(chosen) - self.count} non-matches to validate on, both are needed"
            raise InputError(f"{data.directory}: {fault}: raise validation.pairs or validation.fraction")
        self.patches, self.margin = data.patches, data.margin
        origin = "test data" if settings.test_data else f"held-out {settings.by}"
        self.statement = f"{self.count} matches and {len(chosen) - self.count} non-matches of {origin}"
        self.rows = np.stack([pairs.first[chosen], pairs.second[chosen]], axis=1)

    @torch.inference_mode()
    def scores(self, net: nn.Module) -> NDArray[np.float32]:
        """Score (M,) of each pair, higher for a more likely match."""
        net.eval()
        chunk = CPU_CHUNK if self.device.type == "cpu" else PAIR_GPU_CHUNK
        parts = []
        for start in range(0, len(self.rows), chunk):
            rows = self.rows[start : start + chunk]
            first, second = (self._side(rows[:, side], net, slot) for side, slot in enumerate(SLOTS))
            near = net(first, second) if self.relates else -torch.linalg.vector_norm(net(first) - net(second), dim=1)
            parts.append(near)
        return np.asarray(torch.cat(parts).float().cpu().numpy())

    def fpr95(self, net: nn.Module) -> float:
        """False positive rate at 95 % recall, 0..1."""
        return fpr95(self.labels, self.scores(net))

    def _side(self, rows: Rows, net: nn.Module, slot: str) -> Tensor:
        patches = channels_for(central_crop(as_float(self.patches[rows]), self.margin), net, slot)
        return resize(patches.to(self.device), self.size)
