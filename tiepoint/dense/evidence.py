"""What dense descriptors say about a transform: whether the windows that it lays over each other know each other.

Images that share an overlay, a frame or a texture agree in structure under a wrong transform; the windows of their
scenes do not recognise each other. Image a is warped onto b, so that rotation and scale are out of it, and each window
asks for its nearest among all windows of b.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.dense.grid import STRIDE_PX, WINDOW_PX, Grid, describe_grid, enlargement, zoom_to
from tiepoint.dense.search import MAX_SIDE_PX
from tiepoint.geometry.robust import apply
from tiepoint.images.raster import Raster
from tiepoint.models.describer import Describer
from tiepoint.types import Matrix, Points

SPACING = 3  # windows between those that are asked, so 24 px
REACH = 1  # windows from the right one within which the nearest counts as right
MIN_SHIFT, MAX_SHIFT = 3, 8  # windows by which transforms are shifted for comparison


@dataclass(frozen=True)
class Agreement:
    """The windows that were asked about a transform, and what each of them says.

    Attributes:
        points: (N, 2) centres of the windows, pixels of b.
        similarity: (N,) cosine of the descriptors of both images' windows there, in -1..1.
        recognised: (N,) bool, whether the nearest of all windows of b is the right one, or beside it.
        width: of a window, pixels of b.
    """

    points: Points
    similarity: NDArray[np.float64]
    recognised: NDArray[np.bool_]
    width: float

    @property
    def spacing(self) -> float:
        """Pixels of b between the centres of neighbours."""
        return self.width * SPACING * STRIDE_PX / WINDOW_PX

    def mapped(self, matrix: Matrix) -> "Agreement":
        """The same in the pixels of b reduced or enlarged by a scaling (3, 3)."""
        return replace(self, points=apply(matrix, self.points), width=self.width * float(matrix[0, 0]))


@dataclass(frozen=True)
class DenseEvidence:
    """What the windows of both images say about a transform.

    Attributes:
        asked: number of windows asked, SPACING apart.
        recognised: share of them whose nearest descriptor in b is the right one, or beside it, in 0..1; beyond the
            share that chance would give.
        margin: mean similarity of the windows laid over each other, minus the largest such mean under transforms that
            are shifted by MIN_SHIFT to MAX_SHIFT windows, in -2..2.
        agreement: the windows one by one; None if none was asked.
    """

    asked: int
    recognised: float
    margin: float
    agreement: Agreement | None = None


def collect_evidence(
    a: Raster, b: Raster, matrix: Matrix, describer: Describer, grid: Grid | None = None
) -> DenseEvidence:
    """Ask the windows of both images.

    Args:
        a: image a.
        b: image b.
        matrix: (3, 3), a -> b.
        describer: one with a dense form.
        grid: of b at MAX_SIDE_PX, where it is at hand.

    Raises:
        InputError: see `Describer.dense`.
    """
    zoom_a, zoom_b = zoom_to(a, MAX_SIDE_PX), zoom_to(b, MAX_SIDE_PX)
    second = grid or describe_grid(b, describer, zoom_b)
    warp = np.linalg.inv(second.to_image) @ matrix @ enlargement(a, zoom_a)
    size = tuple(max(1, round(side * zoom_b)) for side in b.pixels.shape[::-1])
    first = describe_grid(a, describer, zoom_a, warp, (size[0], size[1]), SPACING * STRIDE_PX)
    index = np.full(second.shape, -1)
    index[tuple(second.at.T)] = np.arange(len(second))
    at = first.at * SPACING
    known = index[tuple(at.T)] >= 0
    at, similarity = at[known], (first.vectors[torch.from_numpy(known)] @ second.vectors.T).numpy()
    if not len(at):
        return DenseEvidence(0, 0.0, 0.0)
    nearest = second.at[similarity.argmax(axis=1)]
    right = (np.abs(nearest - at) <= REACH).all(axis=1)
    chance = min(1.0, (2 * REACH + 1) ** 2 / len(second))
    recognised = max(0.0, (right.mean() - chance) / (1 - chance)) if chance < 1 else 0.0
    partner = index[tuple(at.T)]
    laid_over = similarity[np.arange(len(at)), partner].astype(np.float64)
    agreement = Agreement(second.points[partner], laid_over, right, WINDOW_PX * float(second.to_image[0, 0]))
    return DenseEvidence(len(at), float(recognised), _margin(similarity, at, index), agreement)


def _margin(similarity: np.ndarray, at: np.ndarray, index: np.ndarray) -> float:
    rows = np.arange(len(at))

    def mean(shift: tuple[int, int]) -> float:
        y, x = at.T + np.array(shift)[:, None]
        inside = (y >= 0) & (x >= 0) & (y < index.shape[0]) & (x < index.shape[1])
        partner = np.where(inside, index[np.where(inside, y, 0), np.where(inside, x, 0)], -1)
        known = partner >= 0
        # A shift that leaves less than half of the windows over each other says little.
        return float(similarity[rows[known], partner[known]].mean()) if known.sum() * 2 > len(at) else -1.0

    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    others = max(mean((dy, dx)) for dy in shifts for dx in shifts if max(abs(dy), abs(dx)) >= MIN_SHIFT)
    return mean((0, 0)) - others
