"""The CDF-based dynamic soft margin: a pair weighs as much as the share of pairs that are easier."""

import torch
from torch import Tensor, nn

from tiepoint.losses import regularizers
from tiepoint.losses.batch import on_pairs, within
from tiepoint.losses.mining import hardest, similarity_at


class SoftMargin(nn.Module):
    """L = mean_i w_i (d+_i - d-_i), w_i the running distribution function of d+ - d- at that value.

    d+ is the L2 distance of pair i, d- that of its hardest negative. The distribution is a histogram over -2..2 with
    linear soft bins, averaged over batches; the first batch fills it. The weights carry no gradient, and there is no
    margin to choose.

    Options:
        bins: of the histogram; published: half the batch of 1,024.
        momentum: share of the old histogram that a step keeps; published: 0.99.
        unbiased: average all batches seen until `momentum` remembers as many; without it the first batch, which fills
            the histogram, keeps the share that `momentum` gives it.
        duplicate_threshold: candidates closer than this L2 distance count as the same point and are ignored; 0: off.
        eps: under the root of the distance.

    Source: Zhang and Rusinkiewicz, ICCV 2019, equations 5 to 8; constants of the released code.
    """

    takes_unnormalized = False
    memory = 0.001
    histogram: Tensor
    steps: Tensor

    def __init__(
        self,
        *,
        bins: int = 512,
        momentum: float = 0.99,
        unbiased: bool = False,
        duplicate_threshold: float = 0.008,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        within("bins", bins, 2, 2**20)
        within("momentum", momentum, 0, 1, "[)")
        within("duplicate_threshold", duplicate_threshold, 0, 2, "[)")
        within("eps", eps, 0, 1, "[)")
        self.momentum, self.unbiased, self.eps = momentum, unbiased, eps
        self.duplicate_similarity = similarity_at(duplicate_threshold)
        self.register_buffer("histogram", torch.zeros(bins))
        if unbiased:
            self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        similarity, valid = hardest(anchor, positive, "cross", self.duplicate_similarity)
        near = regularizers.l2((anchor * positive).sum(dim=1), self.eps)
        gap = (near - regularizers.l2(similarity, self.eps))[valid]
        return (self._weights(gap.detach()) * gap).sum() / len(anchor)

    @torch.no_grad()
    def _weights(self, gap: Tensor) -> Tensor:
        if not len(gap) or not bool(gap.isfinite().all()):
            return torch.ones_like(gap)  # nothing to count; NaN goes on into the loss
        position = (gap + 2) * ((len(self.histogram) - 1) / 4)
        lower = position.floor().long().clamp(0, len(self.histogram) - 2)
        share = position - lower
        counts = torch.zeros_like(self.histogram).index_add(0, lower, 1 - share).index_add(0, lower + 1, share)
        if self.unbiased:
            momentum = (self.steps / (self.steps + 1)).clamp(max=self.momentum)
            self.steps += 1
        else:
            momentum = self.momentum * self.histogram.any()
        self.histogram.lerp_(counts / len(gap), 1 - momentum)
        return (self.histogram.cumsum(0) / self.histogram.sum())[lower]
