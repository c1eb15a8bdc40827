"""Nearest neighbours between two sets of descriptors, by blocks of their similarities, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tiepoint.errors import InputError
from tiepoint.options import Matching

MIN_GAP_PX, FGINN_DEPTH = 10.0, 8  # px; neighbours among which the first apart is sought
CHUNK = 2048


@dataclass(frozen=True)
class RowMatches:
    """Pairs of rows of two descriptor sets, by row of the first.

    Attributes:
        indices: (M, 2) int64.
        similarity: (M,) float32, the higher the more alike: the inner product of unit vectors; of others, such as
            TFeat's, minus half the squared L2 distance.
        ratio: (M,) float32, L2 distance to the nearest over that to the second nearest, the larger of both directions;
            0 where neither set has a second. Given the keypoints' places, the second nearest is the first that does not
            lie beside the nearest. Of a pair that a relater chose, the distance over the least to any other: above 1
            where the descriptors had another nearest.
        probability: (M,) float32, in 0..1, that the two match, by a relater; None without one.
    """

    indices: NDArray[np.int64]
    similarity: NDArray[np.float32]
    ratio: NDArray[np.float32]
    probability: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: NDArray[Any]) -> RowMatches:
        """The matches of an index or mask."""
        probability = None if self.probability is None else self.probability[rows]
        return RowMatches(self.indices[rows], self.similarity[rows], self.ratio[rows], probability)


@torch.inference_mode()
def mutual_nearest(
    a: ArrayLike | Tensor,
    b: ArrayLike | Tensor,
    ratio: float = Matching.ratio,
    chunk: int = CHUNK,
    places: tuple[ArrayLike, ArrayLike] | None = None,
    apart: float = MIN_GAP_PX,
) -> RowMatches:
    """Match rows that are each other's nearest by L2 distance and pass the ratio test in both directions.

    The ratio is the field's: L2 distance to the nearest over L2 distance to the second nearest (Lowe, IJCV 2004, 7.1).
    Being tested both ways, matching b to a gives the same pairs. Ratio 1 switches the test off, but for exact ties.
    With `places` it is the ratio to the first geometrically inconsistent nearest neighbour (Mishkin et al., CVIU 2015):
    keypoints of one blob, or one with several orientations, do not spoil each other's ratio.

    Args:
        a, b: (N, D) and (K, D), unit vectors or of any length.
        ratio: the largest allowed, in (0, 1].
        chunk: side of the block of the similarity matrix held at a time; 2048 takes 16 MiB, and about as much again.
        places: (N, 2) and (K, 2) pixels of the keypoints.
        apart: px between two places from which on they are no longer one.

    Raises InputError for vectors of other shapes or not finite, or a ratio outside (0, 1].
    """
    check_ratio(ratio)
    left, right = vectors(a, b)
    if not len(left) or not len(right):
        return RowMatches(np.empty((0, 2), np.int64), *np.empty((2, 0), np.float32))
    unit = are_unit(left, right)
    depth = 2 if places is None else FGINN_DEPTH
    forward, backward = _nearest(*((left, right) if unit else _for_distances(left, right)), chunk, depth)
    if places is not None:
        forward, backward = _apart(forward, places[1], apart), _apart(backward, places[0], apart)
    rows = torch.arange(len(left), device=left.device)
    mutual = rows[backward[forward[:, 0], 0] == rows]
    partner = forward[mutual, 0]
    ratios = torch.maximum(_ratio(left, right, mutual, forward), _ratio(right, left, partner, backward))
    kept = ratios < ratio
    mutual, partner = mutual[kept], partner[kept]
    similarity = similarities(left[mutual], right[partner], unit=unit)
    pairs = torch.stack([mutual, partner], dim=1)
    return RowMatches(pairs.cpu().numpy(), similarity.cpu().numpy(), ratios[kept].cpu().numpy())


@torch.inference_mode()
def nearest(
    a: ArrayLike | Tensor, b: ArrayLike | Tensor, k: int, chunk: int = CHUNK
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k rows of b that are nearest to each row of a by L2 distance, the nearest first.

    Memory: the result, and two blocks as in `mutual_nearest`, of which are the other arguments. Where b has fewer than
    k rows it is all of them.

    Returns indices (N, min(k, K)) into b, int64, and similarity of the same shape, float32, see `RowMatches`. Raises
    InputError for vectors of other shapes or not finite, or k under 1.
    """
    if k < 1:
        raise InputError(f"k is {k}: give a positive number of neighbours")
    left, right = vectors(a, b)
    depth = min(k, len(right))
    unit = are_unit(left, right)
    best = _Best(len(left), depth, left.device)
    if depth:
        for i, j, block in _blocks(*((left, right) if unit else _for_distances(left, right)), chunk):
            best.update(i, j, block, dim=1)
    similarity = torch.empty_like(best.values)
    step = max(1, chunk**2 // max(1, depth * left.shape[1]))
    for rows in torch.split(torch.arange(len(left), device=left.device), step):
        similarity[rows] = similarities(left[rows, None], right[best.indices[rows]], unit=unit)
    similarity, order = similarity.sort(dim=1, descending=True, stable=True)  # blocks round in another way
    return best.indices.gather(1, order).cpu().numpy(), similarity.cpu().numpy()


def vectors(a: ArrayLike | Tensor, b: ArrayLike | Tensor) -> tuple[Tensor, Tensor]:
    """Two sets of descriptors as float32 tensors. Raises InputError unless they are finite, (N, D) and (K, D)."""
    left, right = _finite(a, "a"), _finite(b, "b")
    if left.shape[1] != right.shape[1]:
        raise InputError(f"descriptors have {left.shape[1]} and {right.shape[1]} numbers: use one describer for both")
    return left, right


def similarities(a: Tensor, b: Tensor, *, unit: bool) -> Tensor:
    """Similarity (...,) of vectors (..., D) and others, see `RowMatches`."""
    return (a * b).sum(dim=-1) if unit else -(a - b).square().sum(dim=-1) / 2


def are_unit(*sets: Tensor) -> bool:
    """Whether all vectors (N, D) have length 1, up to the rounding of half precision."""
    return all(bool(((torch.linalg.vector_norm(v, dim=1) - 1).abs() < 1e-3).all()) for v in sets)


def check_ratio(ratio: float) -> None:
    """Raise InputError unless the ratio of a ratio test is in (0, 1]."""
    if not 0 < ratio <= 1:
        raise InputError(f"ratio is {ratio:g}: give a number above 0 and at most 1")


def _apart(nearest: Tensor, points: ArrayLike, apart: float) -> Tensor:
    """Of neighbours (N, depth) the first, and the first of the others that lies `apart` px from it or more; (N, 2).

    The last one where none of them does: its distance is then the largest that is known.
    """
    places = torch.as_tensor(np.asarray(points, dtype=np.float64), device=nearest.device)
    gaps = torch.linalg.vector_norm(places[nearest] - places[nearest[:, :1]], dim=2)
    far = (gaps >= apart) & (nearest >= 0)
    far[:, 0] = False
    last = (nearest >= 0).sum(dim=1) - 1
    second = torch.where(far.any(dim=1), far.int().argmax(dim=1), last)
    chosen = nearest.gather(1, second[:, None])
    return torch.cat([nearest[:, :1], torch.where(second[:, None] > 0, chosen, -1)], dim=1)


def _nearest(a: Tensor, b: Tensor, chunk: int, depth: int) -> tuple[Tensor, Tensor]:
    """Indices (N, depth) into b and (K, depth) into a of the most similar rows, -1 where there is none; by blocks."""
    forward, backward = _Best(len(a), depth, a.device), _Best(len(b), depth, a.device)
    for i, j, block in _blocks(a, b, chunk):
        forward.update(i, j, block, dim=1)
        backward.update(j, i, block, dim=0)
    return forward.indices, backward.indices


def _blocks(a: Tensor, b: Tensor, chunk: int) -> Iterator[tuple[int, int, Tensor]]:
    """Inner products of all rows, block by block, each with its first row of a and of b."""
    for i in range(0, len(a), chunk):
        for j in range(0, len(b), chunk):
            yield i, j, a[i : i + chunk] @ b[j : j + chunk].T


class _Best:
    """The best values and their indices so far, for each row."""

    def __init__(self, count: int, depth: int, device: torch.device) -> None:
        self.depth = depth
        self.values = torch.full((count, depth), -torch.inf, device=device)
        self.indices = torch.full((count, depth), -1, dtype=torch.int64, device=device)

    def update(self, start: int, offset: int, block: Tensor, dim: int) -> None:
        """Take in a block's best along `dim` for the rows from `start`; its first index along `dim` is `offset`."""
        values, indices = block.topk(min(self.depth, block.shape[dim]), dim=dim)
        if dim == 0:
            values, indices = values.T, indices.T
        rows = slice(start, start + len(values))
        values = torch.cat([self.values[rows], values], dim=1)
        indices = torch.cat([self.indices[rows], indices + offset], dim=1)
        self.values[rows], order = values.topk(self.depth, dim=1)
        self.indices[rows] = indices.gather(1, order)


def _ratio(a: Tensor, b: Tensor, rows: Tensor, nearest: Tensor) -> Tensor:
    """Ratio of the two nearest distances. From differences: sqrt(2 - 2s) in float32 is noise below 0.001."""
    first, second = (torch.linalg.vector_norm(a[rows] - b[nearest[rows, k]], dim=1) for k in (0, 1))
    alone = nearest[rows, 1] < 0
    return torch.where(alone, 0.0, torch.where(second > 0, first / second, 1.0))


def _finite(vectors: ArrayLike | Tensor, name: str) -> Tensor:
    tensor = vectors if isinstance(vectors, Tensor) else torch.from_numpy(np.ascontiguousarray(vectors))
    if tensor.ndim != 2:
        raise InputError(f"descriptors {name} have shape {tuple(tensor.shape)}: give (N, D)")
    tensor = tensor.float()
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"descriptors {name} are not finite: look for NaN in the images or the weights")
    return tensor


def _for_distances(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rows with two numbers more, so that their inner product is a.b - |a|^2/2 - |b|^2/2 = -|a - b|^2/2."""
    mean = torch.cat([a, b]).mean(dim=0)  # taken off, it changes no distance but leaves less to round
    a, b = a - mean, b - mean
    of_a, of_b = (vectors.square().sum(dim=1, keepdim=True) / -2 for vectors in (a, b))
    return torch.cat([a, of_a, torch.ones_like(of_a)], dim=1), torch.cat([b, torch.ones_like(of_b), of_b], dim=1)
