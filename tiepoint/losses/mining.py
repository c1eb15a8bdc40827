"""Hard negatives within a batch of pairs, found chunk by chunk and without a graph.

The choice of a negative carries no gradient, so only n chosen pairs enter the graph instead of n x n candidates: memory
grows with n, not with its square.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Candidates = Literal["cross", "all"]
Scope = Literal["candidate", "point"]
# Sides of a candidate pair (own, rival), 0 for anchor and 1 for positive.
SIDES = {"cross": ((0, 1), (1, 0)), "all": ((0, 1), (1, 0), (0, 0), (1, 1))}
CHUNK_ELEMENTS = 2**20


class Negatives(NamedTuple):
    """The hardest negative of each pair: its similarity (n,), with a graph, 0 without any; whether it has one (n,)."""

    similarity: Tensor
    valid: Tensor


def hardest(
    anchor: Tensor,
    positive: Tensor,
    candidates: Candidates = "cross",
    duplicate_similarity: float = 1.0,
    scope: Scope = "candidate",
) -> Negatives:
    """Find the most similar negative of each pair; the gradient flows through the chosen inner products alone.

    Args:
        anchor, positive: (n, D) unit vectors, float32, of which rows match.
        candidates: cross: anchor to the other positives and positive to the other anchors (HardNet's anchor swap);
            all: also anchor to anchor and positive to positive (SOSNet, HyNet, SDGMNet).
        duplicate_similarity: a candidate at least this similar is a duplicate of the point, not a negative: ignored.
        scope: what a duplicate drops: itself alone (candidate), or all candidates of its point (point).
    """
    sides = SIDES[candidates]
    with torch.no_grad():
        scratch = torch.empty_like(anchor[:0])  # shared by the chunks
        parts = [
            _search(blocks, -duplicate_similarity, scope, scratch)
            for blocks in chunked_products(anchor, positive, candidates)
        ]
        value, other, kind = (torch.cat(part) for part in zip(*parts, strict=True))
    own_side, rival_side = (torch.tensor(side, device=anchor.device)[kind, None] for side in zip(*sides, strict=True))
    own = torch.where(own_side == 0, anchor, positive)
    rival = torch.where(rival_side == 0, anchor[other], positive[other])
    product = (own * rival).sum(dim=1)
    valid = ~torch.isneginf(value) | product.isnan()  # NaN stays, so that a broken network is noticed
    # The value comes from the matrix product: near 1 the angle amplifies the last bit, and both must be of one
    # rounding.
    return Negatives(torch.where(valid, value, 0.0) + (product - product.detach()), valid)


def chunked_products(anchor: Tensor, positive: Tensor, candidates: Candidates) -> Iterator[list[Tensor]]:
    """Yield, for one chunk of points after the other, negated similarities (rows, n) to all points.

    One block for each kind of candidate. A point to itself is infinity, so the nearest come first. The blocks are
    overwritten by the next chunk.
    """
    both, count = (anchor, positive), len(anchor)
    height = min(count, max(1, CHUNK_ELEMENTS // count))
    buffers = anchor.new_empty(len(SIDES[candidates]), height, count)
    for start in range(0, count, height):
        rows = torch.arange(min(height, count - start), device=anchor.device)
        blocks = [buffer[: len(rows)] for buffer in buffers]
        for block, (own, rival) in zip(blocks, SIDES[candidates], strict=True):
            torch.mm(-both[own][start : start + height], both[rival].T, out=block)
            block[rows, rows + start] = torch.inf
        yield blocks


def _search(blocks: list[Tensor], limit: float, scope: Scope, least: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Similarity (rows,) of the hardest negative, its point and kind of candidate; those up to `limit` do not count."""
    if scope == "candidate":
        blocks = [F.threshold(block, limit, torch.inf, inplace=True) for block in blocks]
    torch.minimum(blocks[0], blocks[1], out=least.resize_(blocks[0].shape))
    for block in blocks[2:]:
        torch.minimum(least, block, out=least)
    if scope == "point":
        F.threshold(least, limit, torch.inf, inplace=True)
    value, other = least.min(dim=1)
    kind = torch.stack([block.gather(1, other[:, None])[:, 0] for block in blocks]).argmin(dim=0)
    return -value, other, kind


def similarity_at(distance: float) -> float:
    """Similarity above which unit vectors are closer than the L2 distance `distance`; infinity for 0."""
    return 1 - distance**2 / 2 if distance else math.inf
