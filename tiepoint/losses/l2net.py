"""L2-Net's loss: every pair against the whole batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tiepoint.losses import regularizers
from tiepoint.losses.batch import LossModule, on_pairs, option


@dataclass(kw_only=True, eq=False, repr=False)
class L2NetLoss(LossModule):
    """L = -mean_i [log softmax_j(-d(a_i, p_j))_i + log softmax_j(-d(a_j, p_i))_i] + correlation penalty.

    d is the L2 distance sqrt(2 - 2s + eps). The paper sums over pairs and halves: its loss is n/2 times this one, and
    the penalty is scaled with it. The term on intermediate feature maps is not part of it, as in HardNet's
    reimplementation.

    Options:
        correlation: weight of the penalty on correlated dimensions, of anchors and of positives; the paper's is 1.
        eps: under the root.

    Source: Tian et al., L2-Net, CVPR 2017, equations 2 to 6; the scale is that of HardNet's released code.
    """

    correlation: float = option(0.0, "[0, inf)")
    eps: float = option(1e-6, "[0, 1)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        closeness = -regularizers.l2(anchor @ positive.T, self.eps)
        matching = closeness.diagonal()
        loss = (torch.logsumexp(closeness, dim=1) + torch.logsumexp(closeness, dim=0) - 2 * matching).mean()
        if self.correlation:
            both = regularizers.correlation(anchor) + regularizers.correlation(positive)
            loss = loss + self.correlation * both * 2 / len(anchor)
        return loss
