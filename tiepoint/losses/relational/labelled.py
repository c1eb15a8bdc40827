"""What losses on pairs of two spectra share: the check of their batch, and features that compare patches."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.errors import InputError
from tiepoint.losses.batch import LossModule

Codes = tuple[Tensor, ...]
# A network's way from the codes of N first and N second patches to the main head's logit (N,).
Relate = Callable[[Codes, Codes], Tensor]
Patches = tuple[Tensor, Tensor]


def check_batch(loss: nn.Module, output: Any, labels: Tensor, patches: Patches, *needed: str) -> Tensor:
    """Check a batch and return its labels (N,), 1 where the pair matches and 0 where not, as float32.

    `output` is what the network returned in training mode, with the entries `needed` besides its logits; `patches` are
    those of the two slots, each (N, C, S, S). Where the loss's `matching_only` is True all labels must be 1.

    Raises InputError for an output that lacks an entry or has it empty, which is another network's or a pruned one's,
    and ValueError for labels and lengths that do not fit. Looking at labels waits for the device once a step.
    """
    name = type(loss).__name__
    if not hasattr(output, "logits"):
        raise InputError(f"{name} takes what a network returns in training mode, not a {type(output).__name__}")
    for entry in needed:
        value = getattr(output, entry, ())
        if isinstance(value, tuple) and not value:
            raise InputError(f"{name} needs the network's {entry}: another network, or a pruned one, does not give any")
    counts = [len(x) for x in (*output.logits.values(), *patches)]
    if labels.ndim != 1 or len(labels) == 0 or any(count != len(labels) for count in counts):
        raise ValueError(f"{name}: labels {tuple(labels.shape)} do not fit logits and patches of lengths {counts}")
    if not bool(((labels == 0) | (labels == 1)).all()):
        wrong = labels[(labels != 0) & (labels != 1)][0].item()
        raise ValueError(f"{name}: a label is {wrong:g}: give 1 for a match and 0 for a non-match")
    if loss.matching_only and not bool(labels.all()):
        raise ValueError(f"{name}: a label is 0: it takes matching pairs alone and finds its own non-matches")
    return labels.float()


class FeatureLoss(LossModule):
    """A loss with `features`, a frozen network from patches to maps, see `tiepoint.nets.blocks.perceptual`, or None.

    Whoever trains sets it and moves it to the device. It is kept out of the loss's modules: its weights are neither in
    the state dict, so that checkpoints stay small, nor among the parameters, where an optimiser would find them.
    `colour` says whether some of the patches are RGB, which features of grey patches do not take.
    """

    colour = False
    features: Callable[[Tensor], Tensor] | None = None

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
