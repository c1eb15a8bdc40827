"""Average precision of the ranking within a batch, made differentiable by a histogram."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tiepoint.losses.all_negatives.candidates import compare_to_candidates
from tiepoint.losses.batch import LossModule, on_pairs, option
from tiepoint.losses.mining import Candidates
from tiepoint.losses.regularizers import l2


@dataclass(kw_only=True, eq=False, repr=False)
class AveragePrecision(LossModule):
    """L = 1 - mean AP, each of the 2n patches ranking its candidates by distance.

    Distances fall into `bins` + 1 soft bins whose centres divide the range evenly; a distance between two centres is
    shared linearly between them. With h+_k the matches in bin k, h_k all candidates there, and H their sums up to k:

    - doap: AP = sum_k h+_k (H+_k + H+_(k-1) + 1) / (H_k + H_(k-1) + 1) / N+; bins of the L2 distance, 0..2.
    - fastap: AP = sum_k h+_k H+_k / H_k / N+; bins of the squared L2 distance, 0..4.

    Each query has one match (N+ = 1), so AP is 1 / rank where the match lies on a centre and negatives lie in other
    bins. Between two centres it is a little lower: the loss falls from bin to bin, but not everywhere within one. Only
    negatives in the match's bins or before count.

    Options:
        form: doap or fastap.
        bins: steps between the first and the last centre, at least 1; published: 25 at most (doap), 10 (fastap).
        candidates: what a query ranks: the other side's patches (cross) or all other patches (all).
        duplicate_threshold: negatives closer than this L2 distance count as the same point and are ignored; 0: off.

    Source: He et al., Local Descriptors Optimized for Average Precision, CVPR 2018; Cakir et al., Deep Metric Learning
    to Rank, CVPR 2019.
    """

    form: Literal["doap", "fastap"] = "doap"
    bins: int = option(25, "[1, inf)")
    candidates: Candidates = "all"
    duplicate_threshold: float = option(0.0, "[0, 2)")

    @on_pairs
    def forward(self, anchor: Tensor, positive: Tensor, progress: float) -> Tensor:
        """Loss of a batch of pairs of unit vectors, scalar float32; `progress` is not used."""
        match, similarity, negative = compare_to_candidates(anchor, positive, self.candidates, self.duplicate_threshold)
        hit = self._histogram(match[:, None], torch.ones_like(match[:, None]))
        every = hit + self._histogram(similarity, negative.float())
        hits, ranked = hit.cumsum(dim=1), every.cumsum(dim=1)
        if self.form == "doap":
            precision = (2 * hits - hit + 1) / (2 * ranked - every + 1)
        else:
            precision = hits / ranked.clamp(min=1e-12)
        return 1 - (hit * precision).sum(dim=1).mean()

    def _histogram(self, similarity: Tensor, weight: Tensor) -> Tensor:
        """Soft histogram of each row, (rows, bins + 1)."""
        share = l2(similarity) / 2 if self.form == "doap" else (1 - similarity) / 2
        position = share.clamp(0, 1) * self.bins
        # NaN stays in `above`, but must not become an index.
        below = position.detach().nan_to_num().long().clamp(max=self.bins - 1)
        above = (position - below) * weight
        histogram = similarity.new_zeros(len(similarity), self.bins + 1)
        return histogram.scatter_add(1, below, weight - above).scatter_add(1, below + 1, above)
