"""Nearest neighbours between two sets of descriptors, and between two images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tiepoint.errors import InputError
from tiepoint.imaging.coarse import correlate
from tiepoint.imaging.describe import Features, describe
from tiepoint.imaging.io import Image
from tiepoint.imaging.raster import Raster, as_raster
from tiepoint.models import Describer, load_describer

Progress = Callable[[int, int], None]
APART, DEPTH = 10.0, 8  # px; neighbours among which the first apart is sought


@dataclass(frozen=True)
class Matches:
    """Pairs of rows of two descriptor sets, by row of the first.

    Attributes:
        indices: (M, 2) int64.
        similarity: (M,) float32, the higher the more alike: the inner product of unit vectors; of others, such as
            TFeat's, minus half the squared L2 distance.
        ratio: (M,) float32, L2 distance to the nearest over that to the second nearest, the larger of both directions;
            0 where neither set has a second. Given the keypoints' places, the second nearest is the first that does not
            lie beside the nearest.
    """

    indices: NDArray[np.int64]
    similarity: NDArray[np.float32]
    ratio: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: NDArray[Any]) -> Matches:
        """The matches of an index or mask."""
        return Matches(self.indices[rows], self.similarity[rows], self.ratio[rows])


@dataclass(frozen=True)
class MatchResult:
    """Two images' features and their matches."""

    a: Features
    b: Features
    matches: Matches

    @property
    def points(self) -> NDArray[np.float64]:
        """Matched positions (M, 4): xa, ya, xb, yb in pixels."""
        rows = self.matches.indices
        return np.hstack([self.a.points[rows[:, 0]], self.b.points[rows[:, 1]]])

    def keep(self, rows: NDArray[np.bool_]) -> MatchResult:
        """The same images with those of the matches for which `rows` (M,) says so."""
        return MatchResult(self.a, self.b, self.matches.take(rows))

    def to_json(self) -> dict[str, Any]:
        """Plain values: counts, and a row xa, ya, xb, yb, similarity for each match."""
        rows = np.column_stack([self.points, self.matches.similarity])
        counts = {"keypoints_a": len(self.a), "keypoints_b": len(self.b), "matches": len(self.matches)}
        return {"describer": self.a.describer, **counts, "points": np.round(rows, 4).tolist()}


@torch.inference_mode()
def mutual_nearest(
    a: ArrayLike | Tensor,
    b: ArrayLike | Tensor,
    ratio: float = 0.9,
    chunk: int = 2048,
    places: tuple[ArrayLike, ArrayLike] | None = None,
    apart: float = APART,
) -> Matches:
    """Match rows that are each other's nearest by L2 distance and pass the ratio test in both directions.

    The ratio is the field's: L2 distance to the nearest over L2 distance to the second nearest (Lowe, IJCV 2004, 7.1).
    Being tested both ways, matching b to a gives the same pairs. Ratio 1 switches the test off, but for exact ties.
    With `places` it is the ratio to the first geometrically inconsistent nearest neighbour (Mishkin et al., CVIU 2015):
    keypoints of one blob, or one with several orientations, do not spoil each other's ratio.

    Args:
        a: (N, D), unit vectors or of any length.
        b: (K, D), likewise.
        ratio: the largest allowed, in (0, 1].
        chunk: side of the block of the similarity matrix held at a time; 2048 takes 16 MiB, and about as much again.
        places: (N, 2) and (K, 2) pixels of the keypoints.
        apart: px between two places from which on they are no longer one.

    Raises:
        InputError: vectors of other shapes or not finite, or a ratio outside (0, 1].
    """
    if not 0 < ratio <= 1:
        raise InputError(f"ratio is {ratio:g}: give a number above 0 and at most 1")
    left, right = _vectors(a, "a"), _vectors(b, "b")
    if left.shape[1] != right.shape[1]:
        raise InputError(f"descriptors have {left.shape[1]} and {right.shape[1]} numbers: use one describer for both")
    if not len(left) or not len(right):
        return Matches(np.empty((0, 2), dtype=np.int64), np.empty(0, dtype=np.float32), np.empty(0, dtype=np.float32))
    unit = _are_unit(left) and _are_unit(right)
    depth = 2 if places is None else DEPTH
    forward, backward = _nearest(*((left, right) if unit else _for_distances(left, right)), chunk, depth)
    if places is not None:
        forward, backward = (
            _apart(found, points, apart) for found, points in ((forward, places[1]), (backward, places[0]))
        )
    rows = torch.arange(len(left), device=left.device)
    mutual = rows[backward[forward[:, 0], 0] == rows]
    partner = forward[mutual, 0]
    ratios = torch.maximum(_ratio(left, right, mutual, forward), _ratio(right, left, partner, backward))
    kept = ratios < ratio
    mutual, partner = mutual[kept], partner[kept]
    if unit:
        similarity = (left[mutual] * right[partner]).sum(dim=1)
    else:
        similarity = -(left[mutual] - right[partner]).square().sum(dim=1) / 2
    pairs = torch.stack([mutual, partner], dim=1)
    return Matches(pairs.cpu().numpy(), similarity.cpu().numpy(), ratios[kept].cpu().numpy())


def match(
    a: Image | Raster | Features,
    b: Image | Raster | Features,
    describer: str | Path | Describer = "sdgmnet",
    *,
    ratio: float = 0.9,
    max_keypoints: int = 8000,
    contrast_threshold: float = 0.01,
    support: float | None = None,
    progress: Progress | None = None,
) -> MatchResult:
    """Match the keypoints of two images.

    A point with several orientations may match its partner more than once; the most similar of such matches is kept.
    For a describer of upright patches (see `LearnedDescriber.upright`) the patches of b are turned and scaled as the
    structure of both images says, see `tiepoint.imaging.coarse`.

    Args:
        a: a path, an array, or `Features` of `describe`, whose describer is then used as it was.
        b: likewise.
        describer: a name, a path or a loaded one.
        ratio: of the ratio test, see `mutual_nearest`.
        max_keypoints: see `describe`.
        contrast_threshold: see `describe`.
        support: see `describe`.
        progress: called with steps done and their number.

    Raises:
        InputError: see `describe`.
    """
    ready = isinstance(a, Features) and isinstance(b, Features)
    model = describer if ready else load_describer(describer)
    turn = None
    if getattr(model, "upright", None) is not None and not isinstance(a, Features) and not isinstance(b, Features):
        a, b = as_raster(a, "image a"), as_raster(b, "image b")
        turn = correlate(a.pixels, b.pixels, masks=(a.mask, b.mask))[0].matrix[:2, :2]

    def features(image: Image | Raster | Features, name: str, step: int) -> Features:
        if not isinstance(image, Features):
            image = describe(
                image, model, max_keypoints=max_keypoints, contrast_threshold=contrast_threshold, support=support,
                turn=turn if step == 2 else None, name=name,
            )  # fmt: skip
        if progress:
            progress(step, 3)
        return image

    first, second = features(a, "image a", 1), features(b, "image b", 2)
    if first.describer != second.describer:
        raise InputError(f"features of {first.describer} and {second.describer}: use one describer for both images")
    result = MatchResult(first, second, mutual_nearest(first.descriptors, second.descriptors, ratio))
    if progress:
        progress(3, 3)
    return MatchResult(first, second, result.matches.take(_distinct(result)))


def _distinct(result: MatchResult) -> NDArray[np.int64]:
    order = np.argsort(-result.matches.similarity, kind="stable")
    first = np.unique(result.points[order], axis=0, return_index=True)[1]
    return np.sort(order[first])


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
    for i in range(0, len(a), chunk):
        for j in range(0, len(b), chunk):
            block = a[i : i + chunk] @ b[j : j + chunk].T
            forward.update(i, j, block, dim=1)
            backward.update(j, i, block, dim=0)
    return forward.indices, backward.indices


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


def _vectors(vectors: ArrayLike | Tensor, name: str) -> Tensor:
    tensor = vectors if isinstance(vectors, Tensor) else torch.from_numpy(np.ascontiguousarray(vectors))
    if tensor.ndim != 2:
        raise InputError(f"descriptors {name} have shape {tuple(tensor.shape)}: give (N, D)")
    tensor = tensor.float()
    if not bool(torch.isfinite(tensor).all()):
        raise InputError(f"descriptors {name} are not finite: look for NaN in the images or the weights")
    return tensor


def _are_unit(vectors: Tensor) -> bool:
    """Whether all lengths are 1, up to the rounding of half precision."""
    return bool(((torch.linalg.vector_norm(vectors, dim=1) - 1).abs() < 1e-3).all())


def _for_distances(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Rows with two numbers more, so that their inner product is a.b - |a|^2/2 - |b|^2/2 = -|a - b|^2/2."""
    mean = torch.cat([a, b]).mean(dim=0)  # taken off, it changes no distance but leaves less to round
    a, b = a - mean, b - mean
    of_a, of_b = (vectors.square().sum(dim=1, keepdim=True) / -2 for vectors in (a, b))
    return torch.cat([a, of_a, torch.ones_like(of_a)], dim=1), torch.cat([b, torch.ones_like(of_b), of_b], dim=1)
