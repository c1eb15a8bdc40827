"""Validation across spectra: labelled pairs of held-out scenes, or of test data where a recipe says so."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tiepoint.data.crop import central_crop
from tiepoint.data.cross_pairs import labelled_pairs
from tiepoint.errors import InputError
from tiepoint.evaluation.metrics import fpr95
from tiepoint.evaluation.pairs import as_float
from tiepoint.nets.inputs import channels_for, resize
from tiepoint.patches import PatchSet
from tiepoint.training.recipe import Validation

CPU_CHUNK, GPU_CHUNK = 64, 1024


class CrossValidation:
    """Fixed pairs, as many non-matches as matches; FPR95 by a relater's logits or by the distance of descriptors."""

    def __init__(
        self,
        data: PatchSet,
        rows: NDArray[np.int64] | None,
        settings: Validation,
        seed: int,
        device: torch.device,
        size: int,
        relates: bool,
    ) -> None:
        pairs = labelled_pairs(data, settings.pairs, seed, rows)
        chosen = np.sort(np.random.default_rng(seed).permutation(len(pairs))[: 2 * settings.pairs])
        self.labels, self.size, self.device, self.relates = pairs.labels[chosen], size, device, relates
        self.count = int(self.labels.sum())
        if not 0 < self.count < len(chosen):
            raise InputError(
                f"{data.directory}: {self.count} matches and {len(chosen) - self.count} non-matches to validate on, "
                "both are needed: raise validation.pairs or validation.fraction"
            )
        self.patches, self.margin = data.patches, data.margin
        held = "held-out scenes" if settings.by == "scenes" else "held-out points"
        origin = "test data" if settings.test_data else held
        self.statement = f"{self.count} matches and {len(chosen) - self.count} non-matches of {origin}"
        self.rows = np.stack([pairs.first[chosen], pairs.second[chosen]], axis=1)

    @torch.inference_mode()
    def scores(self, net: nn.Module) -> NDArray[np.float32]:
        """Score (M,) of each pair, higher for a more likely match."""
        net.eval()
        chunk = CPU_CHUNK if self.device.type == "cpu" else GPU_CHUNK
        parts = []
        for start in range(0, len(self.rows), chunk):
            rows = self.rows[start : start + chunk]
            vis, nir = (self._side(rows[:, side], net, place) for side, place in enumerate(("vis", "nir")))
            parts.append(net(vis, nir) if self.relates else -torch.linalg.vector_norm(net(vis) - net(nir), dim=1))
        return np.asarray(torch.cat(parts).float().cpu().numpy())

    def fpr95(self, net: nn.Module) -> float:
        """False positive rate at 95 % recall, 0..1."""
        return fpr95(self.labels, self.scores(net))

    def _side(self, rows: NDArray[np.int64], net: nn.Module, place: str) -> Tensor:
        patches = channels_for(central_crop(as_float(self.patches[rows]), self.margin), net, place)
        return resize(patches.to(self.device), self.size)
