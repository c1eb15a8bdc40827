"""The loss of networks with several heads: one term a head, and the decoders' terms where there are any."""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from tiepoint.losses.batch import in_interval, one_of
from tiepoint.losses.relational.labelled import FeatureLoss, Patches, Relate, check_batch

Form = Literal["bce", "hinge"]


class MultiLoss(FeatureLoss):
    """Sum over the heads of form(logit, label) + reconstruction * sum over vis and nir of the decoder's error.

    - form: bce, the binary cross-entropy of the logit; hinge, max(0, 1 - y logit) with y = 1 for a match, -1 for none.
      Means over the batch. All heads weigh 1.
    - error: pixel * MSE(x, y) + perceptual * MSE(F(x), F(y)); x is the reconstruction, y the patch that the network
      saw, so the augmented one, and F is `features`. Without `features` the second term is left out.

    Options:
        form: bce or hinge.
        pixel, perceptual: weights within the decoder's error.
        reconstruction: weight of that error; 0 switches it off. Networks without decoders have none.
        stages: take the heads named stage* into the sum; the first head, which is the main one, stays in any case.
        modules: take the heads named module* into the sum.

    Source: the released code of RRL-Net, Information Fusion 2025, whose weights stand as defaults; the hinge is that of
    Aguilera et al., CVPR workshops 2016. For the scale of VGG-19's features see `tiepoint.nets.blocks.perceptual`.
    """

    matching_only = False

    def __init__(
        self,
        *,
        form: Form = "bce",
        pixel: float = 0.1,
        perceptual: float = 1.0,
        reconstruction: float = 1.0,
        stages: bool = True,
        modules: bool = True,
    ) -> None:
        super().__init__()
        one_of("form", form, get_args(Form))
        for name, value in (("pixel", pixel), ("perceptual", perceptual), ("reconstruction", reconstruction)):
            in_interval(name, value, "[0, inf)")
        # No dataclass, for `self.modules` is nn.Module's.
        self.form, self.with_stages, self.with_modules = form, stages, modules
        self.pixel, self.perceptual, self.reconstruction = pixel, perceptual, reconstruction

    def forward(self, output: Any, labels: Tensor, patches: Patches, relate: Relate, progress: float = 0.0) -> Tensor:
        """Loss of a batch of N labelled pairs, scalar float32, of a `tiepoint.nets.relation.Relation` or its like.

        `patches` are those of the first and of the second slot, (N, C, S, S), float in 0..1, as the network saw them;
        `relate` and `progress` are not used. Raises ValueError for a batch that does not fit, see `check_batch`.
        """
        labels = check_batch(self, output, labels, patches)
        loss = torch.stack([self._form(logit.float(), labels) for logit in self._heads(output.logits)]).sum()
        made = getattr(output, "reconstructions", ())
        if self.reconstruction and made:
            errors = [self._error(x.float(), y.detach().float()) for x, y in zip(made, patches, strict=True)]
            loss = loss + self.reconstruction * torch.stack(errors).sum()
        return loss

    def _heads(self, logits: dict[str, Tensor]) -> list[Tensor]:
        """Logits that count, the main head's first."""
        left_out = ("stage",) * (not self.with_stages) + ("module",) * (not self.with_modules)
        main, *others = logits
        return [logits[name] for name in (main, *(name for name in others if not name.startswith(left_out)))]

    def _form(self, logit: Tensor, labels: Tensor) -> Tensor:
        if self.form == "bce":
            return F.binary_cross_entropy_with_logits(logit, labels)
        return F.relu(1 - (2 * labels - 1) * logit).mean()

    def _error(self, made: Tensor, patch: Tensor) -> Tensor:
        if made.shape != patch.shape:
            raise ValueError(f"MultiLoss: a reconstruction is {tuple(made.shape)}, its patch {tuple(patch.shape)}")
        error = self.pixel * F.mse_loss(made, patch)
        return error + self.perceptual * self.feature_error(made, patch) if self.perceptual else error
