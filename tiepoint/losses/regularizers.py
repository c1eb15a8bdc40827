"""Terms that are added to a loss on pairs: how descriptors spread, correlate, keep their neighbourhoods and norms."""

from typing import Any

import torch
from torch import Tensor

from tiepoint.losses.mining import chunked_products

CHUNK_PAIRS = 2**14  # of a chunk of neighbours


def second_order(anchor: Tensor, positive: Tensor, neighbours: int = 8) -> Tensor:
    """Second-order similarity: sum_i sqrt(sum_j (d(a_i, a_j) - d(p_i, p_j))^2) over the neighbours j of point i.

    Points are neighbours if one is among the other's `neighbours` nearest by any of the four kinds of distance
    (anchor to anchor, positive to positive, anchor to positive and back). They are found by top-k without a graph, so
    memory grows with n * neighbours numbers, not with their vectors. `anchor` and `positive` are unit vectors (n, D),
    float32, of which rows match; `neighbours` is at least 1, and all other points are taken where there are fewer.

    Source: Tian et al., SOSNet, CVPR 2019, equation 3; neighbourhoods as in the released training code of HyNet.
    """
    count = len(anchor)
    with torch.no_grad():
        k = min(neighbours, count - 1)
        near = torch.cat([
            torch.cat([block.topk(k, dim=1, largest=False).indices for block in blocks], dim=1)
            for blocks in chunked_products(anchor, positive, "all")
        ])  # fmt: skip
        rows = torch.arange(count, device=near.device)[:, None].expand_as(near)
        codes = torch.unique(torch.minimum(rows, near) * count + torch.maximum(rows, near))
        first, second = codes // count, codes % count
    own, other = (l2(_Products.apply(side, first, second)) for side in (anchor, positive))  # type: ignore[no-untyped-call]
    squares = (own - other).square()
    sums = torch.zeros_like(anchor[:, 0]).index_add(0, first, squares).index_add(0, second, squares)
    return _root(sums).sum()


def norm_difference(anchor: Tensor, positive: Tensor) -> Tensor:
    """Sum over pairs of (|a_i| - |p_i|)^2 of raw outputs (n, D): Tian et al., HyNet, NeurIPS 2020, equation 8."""
    gap: Tensor = torch.linalg.vector_norm(anchor, dim=1) - torch.linalg.vector_norm(positive, dim=1)
    return gap.square().sum()


def spread_out(anchor: Tensor, positive: Tensor) -> Tensor:
    """Global orthogonal regularizer: mean(s)^2 + max(0, mean(s^2) - 1/D) over inner products s of non-matching pairs.

    Anchor i meets the positive of point n - 1 - i, an odd batch's middle row the next point's. Unit vectors (n, D).

    Source: Zhang et al., ICCV 2017, equation 6.
    """
    count = len(anchor)
    other = torch.arange(count - 1, -1, -1, device=anchor.device)
    if count % 2:
        other[count // 2] = (count // 2 + 1) % count
    products = (anchor * positive[other]).sum(dim=1)
    return products.mean().square() + torch.relu(products.square().mean() - 1 / anchor.shape[1])


def correlation(descriptors: Tensor) -> Tensor:
    """Half the sum of squared correlations between different dimensions of `descriptors` (n, D).

    A dimension without variance correlates with none. Source: Tian et al., L2-Net, CVPR 2017, equations 5 and 6.
    """
    centred = descriptors - descriptors.mean(dim=0)
    norms = _root(centred.square().sum(dim=0))
    scaled = centred / torch.where(norms > 0, norms, 1.0)
    matrix = scaled.T @ scaled
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / 2


class _Products(torch.autograd.Function):
    """Inner products (M,) of the rows `first` and `second` of `vectors` (n, D), without keeping 2 M x D numbers."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(vectors, first, second)
        parts = zip(torch.split(first, CHUNK_PAIRS), torch.split(second, CHUNK_PAIRS), strict=True)
        return torch.cat([(vectors[i] * vectors[j]).sum(dim=1) for i, j in parts])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        vectors, first, second = ctx.saved_tensors
        result = torch.zeros_like(vectors)
        for g, i, j in zip(*(torch.split(x, CHUNK_PAIRS) for x in (gradient, first, second)), strict=True):
            result.index_add_(0, i, g[:, None] * vectors[j]).index_add_(0, j, g[:, None] * vectors[i])
        return result, None, None


def l2(similarity: Tensor, eps: float = 0.0) -> Tensor:
    """L2 distance of unit vectors from their inner products, sqrt(2 - 2s + eps); no gradient where it is zero."""
    return _root(2 - 2 * similarity + eps)


def _root(x: Tensor) -> Tensor:
    """Square root whose gradient at zero, and below by rounding, is zero instead of infinite."""
    flat = x <= 0
    return torch.where(flat, 0.0, torch.where(flat, 1.0, x).sqrt())
