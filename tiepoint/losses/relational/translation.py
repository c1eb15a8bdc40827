"""SPIMNet's loss: match or not, and how well matching patches are translated into each other."""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from tiepoint.errors import InputError
from tiepoint.losses.batch import option
from tiepoint.losses.relational.labelled import FeatureLoss, Patches, Relate, check_batch


@dataclass(kw_only=True, eq=False, repr=False)
class TranslationLoss(FeatureLoss):
    """BCE of matching pairs + BCE of the others + sum over vis and nir of the matching pairs' translation error.

    - BCE: the mean over the pairs of its kind, to the label 1 - smoothing / 2 or smoothing / 2. A batch is half of
      either kind as published; a kind that is absent contributes zero.
    - error: perceptual * MSE(F(x), F(y)) + translation * mean |x - y|; x is the translation, y the patch of that
      spectrum, and F is `features`. Without `features` the first term is left out.

    Options:
        smoothing: of labels, 0 to 1.
        perceptual, translation: weights within the error.
        signed: x and y enter the error in -1..1, as published; else in 0..1, which is half the absolute error, for
            features that want 0..1.

    Source: the released notebook of SPIMNet, 2022.
    """

    matching_only = False
    colour = True

    smoothing: float = option(0.01, "[0, 1]")
    perceptual: float = option(30.0, "[0, inf)")
    translation: float = option(0.1, "[0, inf)")
    signed: bool = True

    def forward(self, output: Any, labels: Tensor, patches: Patches, relate: Relate, progress: float = 0.0) -> Tensor:
        """Loss of a batch of N labelled pairs, scalar float32, of what SPIMNet returned.

        `patches` are vis (N, 1 or 3, S, S) and nir (N, 1, S, S), float in 0..1, as the network saw them. Raises
        InputError for another network's output, ValueError for a batch that does not fit.
        """
        labels = check_batch(self, output, labels, patches, "vis", "nir")
        if output.vis.ndim != 4:
            raise InputError("TranslationLoss needs the network's translations of patches: another gives descriptors")
        matching = labels == 1
        soft = labels * (1 - self.smoothing) + self.smoothing / 2
        terms = F.binary_cross_entropy_with_logits(output.main.float(), soft, reduction="none")
        loss = _mean(terms[matching]) + _mean(terms[~matching])
        if not bool(matching.any()):
            return loss
        for made, patch in zip((output.vis, output.nir), patches, strict=True):
            made, target = made[matching].float(), patch[matching].detach().float()
            loss = loss + self._error(made, target.expand_as(made))
        return loss

    def _error(self, made: Tensor, target: Tensor) -> Tensor:
        if self.signed:
            made, target = 2 * made - 1, 2 * target - 1
        error = self.translation * F.l1_loss(made, target)
        return error + self.perceptual * self.feature_error(made, target) if self.perceptual else error


def _mean(terms: Tensor) -> Tensor:
    """Mean of `terms`; 0 for none, with a graph."""
    return terms.sum() / max(len(terms), 1)
