"""Losses that compare patches by the features of another, frozen network: the perceptual terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeatureLoss(nn.Module):
    """A loss with `features`, a frozen network from patches to maps, see `tiepoint.nets.blocks.perceptual`; None at
    first.

    Whoever trains sets it and moves it to the device. It is kept out of the loss's modules: its weights are neither in
    the loss's state dict, so that checkpoints stay small, nor among its parameters, where an optimiser would find them.
    `colour` says whether some of the patches are RGB, which features of grey patches do not take.
    """

    colour = False
    features: Callable[[Tensor], Tensor] | None

    def __init__(self) -> None:
        super().__init__()
        self.features = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "features":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def feature_error(self, made: Tensor, target: Tensor) -> Tensor:
        """Mean squared difference of the features of `made` and `target`, both (N, C, S, S); 0 without `features`.

        No gradient reaches the target. The features are computed in the precision that surrounds the call, their
        difference in float32.
        """
        if self.features is None:
            return made.new_zeros((), dtype=torch.float32)
        with torch.no_grad():
            wanted = self.features(target)
        return F.mse_loss(self.features(made).float(), wanted.float())
