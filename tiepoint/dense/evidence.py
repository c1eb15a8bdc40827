"""What dense descriptors say about a transform: whether the windows that it lays over each other know each other.

Images that share an overlay, a frame or a texture agree in structure under a wrong transform; the windows of their
scenes do not recognise each other. Image a is warped onto b, so that rotation and scale are out of it, and each window
asks for its nearest among all windows of b.
"""

from dataclasses import dataclass

import numpy as np

from tiepoint.dense.grid import describe_grid, enlargement, zoom_to
from tiepoint.dense.search import MAX_SIDE_PX
from tiepoint.images.raster import Raster
from tiepoint.models.describer import Describer
from tiepoint.types import Matrix

SPACING = 3  # windows between those that are asked, so 24 px
REACH = 1  # windows from the right one within which the nearest counts as right
MIN_SHIFT, MAX_SHIFT = 3, 8  # windows by which transforms are shifted for comparison


@dataclass(frozen=True)
class DenseEvidence:
    """What the windows of both images say about a transform.

    Attributes:
        windows: number of windows asked, SPACING apart.
        recognised: share of them whose nearest descriptor in b is the right one, or beside it, in 0..1.
        margin: mean similarity of the windows laid over each other, minus the largest such mean under transforms that
            are shifted by MIN_SHIFT to MAX_SHIFT windows, in -2..2.
    """

    windows: int
    recognised: float
    margin: float


def collect_evidence(a: Raster, b: Raster, matrix: Matrix, describer: Describer) -> DenseEvidence:
    """Ask the windows of both images.

    Args:
        a: image a.
        b: image b.
        matrix: (3, 3), a -> b.
        describer: one with a dense form.

    Raises:
        InputError: see `Describer.dense`.
    """
    zoom_a, zoom_b = zoom_to(a, MAX_SIDE_PX), zoom_to(b, MAX_SIDE_PX)
    second = describe_grid(b, describer, zoom_b)
    warp = np.linalg.inv(second.to_image) @ matrix @ enlargement(a, zoom_a)
    size = tuple(max(1, round(side * zoom_b)) for side in b.pixels.shape[::-1])
    first = describe_grid(a, describer, zoom_a, warp, (size[0], size[1]))
    index = np.full(second.shape, -1)
    index[tuple(second.at.T)] = np.arange(len(second))
    asked = np.flatnonzero((first.at % SPACING == SPACING // 2).all(axis=1) & (index[tuple(first.at.T)] >= 0))
    if not len(asked):
        return DenseEvidence(0, 0.0, 0.0)
    similarity = (first.vectors[asked] @ second.vectors.T).numpy()
    at = first.at[asked]
    nearest = second.at[similarity.argmax(axis=1)]
    recognised = (np.abs(nearest - at) <= REACH).all(axis=1).mean()
    return DenseEvidence(len(asked), float(recognised), _margin(similarity, at, index))


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
