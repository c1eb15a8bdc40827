"""Hard negatives within a batch of pairs."""

from __future__ import annotations

import torch
from torch import Tensor


def hardest_of_four(anchor: Tensor, positive: Tensor, guard: float) -> tuple[Tensor, Tensor]:
    """Similarity of the hardest negative of each pair, over four kinds of candidates.

    They are anchor to positive, positive to anchor, anchor to anchor and positive to positive. The choice is
    made without a graph; the gradient flows through the chosen pair's inner product alone.

    Args:
        anchor: (n, D) unit vectors, float32; row i matches row i of `positive`.
        positive: (n, D).
        guard: candidates at least this similar are taken for false negatives and passed over.

    Returns:
        similarity (n,) and a mask (n,) of the pairs that have a negative at all; where False the similarity is 0.
    """
    with torch.no_grad():
        cross = anchor @ positive.T
        blocks = torch.stack([cross, cross.T, anchor @ anchor.T, positive @ positive.T])
        blocks.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
        blocks.masked_fill_(blocks.amax(dim=0) >= guard, -torch.inf)
        best, block = blocks.max(dim=0)
        value, other = best.max(dim=1)
        kind = block.gather(1, other[:, None])[:, 0]
        exists = ~torch.isneginf(value)  # NaN stays, so that a broken network is noticed
    own_is_anchor = (kind == 0) | (kind == 2)
    other_is_anchor = (kind == 1) | (kind == 2)
    own = torch.where(own_is_anchor[:, None], anchor, positive)
    rival = torch.where(other_is_anchor[:, None], anchor[other], positive[other])
    product = (own * rival).sum(dim=1)
    # The value comes from the matrix product: near 1 the angle amplifies the last bit, and both must be of one
    # rounding.
    similarity = torch.where(exists, value, 0.0) + (product - product.detach())
    return similarity, exists
