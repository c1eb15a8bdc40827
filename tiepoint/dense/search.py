"""How two images lie to each other, searched for by their dense descriptors.

The images are matched as they lie first, at up to MAX_SIDE_PX. Where one similarity explains a clear number of the
matches, that is all. Otherwise both are reduced to COARSE_SIDE_PX, image a is described under rotations, the likeliest
first, and a vote over shifts says which of them agrees best; under the best ones a is matched again at the larger size.
Where none of these is clear, so it goes with other scales. The similarity that explains most matches is kept.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tiepoint.dense.grid import STRIDE_PX, WINDOW_PX, Grid, GridMatches, describe_grid, match_grids, zoom_to
from tiepoint.features.describe import Features
from tiepoint.features.frames import upright_frames
from tiepoint.geometry.robust import Estimate, apply, estimate
from tiepoint.images.raster import Raster
from tiepoint.images.window import rotation_matrix
from tiepoint.models.describer import Describer
from tiepoint.types import Matrix

MAX_SIDE_PX, COARSE_SIDE_PX = 640, 320
ROTATION_STEP = 30  # degrees; the descriptors bear half of it
SCALES = (1.0, 2 ** (-2 / 3), 2 ** (2 / 3))  # the descriptors bear a quarter more or less
CLEAR_INLIERS, CLEAR_SHARE = 60, 0.25  # of the matches, that one similarity explains
BIN_PX = 16.0  # of the vote
COARSE_STRIDE_PX = 16.0  # of the windows of a that vote
CLEAR_VOTE = 30.0  # on training pairs wrong rotations have 22 at most
BEST_ROTATIONS, BEST = 2, 3  # that are tried at the larger size, at scale 1 and of all
CLOSE_ROTATION, CLOSE_SCALE = 4.0, 1.05  # degrees; within which a match needs no other one closer to what it found
MAX_RESIDUAL_STRIDES = 1.25  # of a match from the similarity


@dataclass(frozen=True)
class Search:
    """The best similarity, and what it was found by.

    Attributes:
        a: windows of image a.
        b: windows of image b.
        matches: of these.
        estimate: the similarity that explains most of them.
        rotation: degrees by which a was turned, counter-clockwise as seen on the screen.
        scale: by which it was scaled against b.
    """

    a: Grid
    b: Grid
    matches: GridMatches
    estimate: Estimate
    rotation: float = 0.0
    scale: float = 1.0

    @property
    def inliers(self) -> int:
        """Number of matches that agree."""
        return int(self.estimate.inliers.sum())

    @property
    def whole_b(self) -> Grid | None:
        """Windows of b at MAX_SIDE_PX; None where b was reduced further, since it shows more detail."""
        return self.b if self.scale <= 1 else None

    @property
    def is_clear(self) -> bool:
        """Whether no other rotation or scale needs to be tried."""
        return are_clear(self.inliers, len(self.matches))


def are_clear(inliers: int, matches: int) -> bool:
    """Whether that many of the matches of two grids, which one transform explains, need no other proposal."""
    return inliers >= max(CLEAR_INLIERS, CLEAR_SHARE * matches)


def to_features(found: Search, a: Raster, b: Raster, describer: Describer) -> tuple[Features, Features]:
    """The windows of both images as features, those of b where the similarity of their partners peaks.

    Their response is the similarity of windows that are each other's nearest, and 0 of others.
    """
    sides = []
    for side, (grid, raster) in enumerate(((found.a, a), (found.b, b))):
        points, responses = grid.points.copy(), np.zeros(len(grid), dtype=np.float32)
        mutual = found.matches.indices[:, side]
        points[mutual], responses[mutual] = found.matches.points[:, 2 * side :][:, :2], found.matches.similarity
        frames = upright_frames(points, WINDOW_PX, describer.support)
        frames[:, :, :2] = grid.to_image[:2, :2] @ frames[:, :, :2]
        spacing = STRIDE_PX * float(np.sqrt(np.linalg.det(grid.to_image[:2, :2])))
        order = np.argsort(-responses, kind="stable")
        height, width = raster.pixels.shape
        sides.append(Features(
            frames[order], grid.vectors.numpy()[order], responses[order], (width, height), describer.name, raster.geo,
            spacing,
        ))  # fmt: skip
    return sides[0], sides[1]


def search(a: Raster, b: Raster, describer: Describer) -> Search:
    """Find the similarity from a to b by dense descriptors; see the module.

    Raises InputError, see `Describer.dense`.
    """
    sides = _Sides(a, b, describer)
    best = sides.match(MAX_SIDE_PX)
    if best.is_clear:
        return best
    for rotation, scale in sides.best_first():
        found = sides.match(MAX_SIDE_PX, rotation, scale)
        if found.estimate.matrix is not None:
            exact = sides.rotation_and_scale(found.estimate.matrix)
            if not _are_close(exact, (rotation, scale)):
                found = max(found, sides.match(MAX_SIDE_PX, *exact), key=lambda one: one.inliers)
        if found.inliers > best.inliers:
            best = found
        if best.is_clear:
            break
    return best


def _are_close(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether two rotations and scales are alike."""
    turn = (one[0] - other[0] + 180) % 360 - 180
    return abs(turn) <= CLOSE_ROTATION and abs(math.log(one[1] / other[1])) <= math.log(CLOSE_SCALE)


class _Sides:
    """Both images, with their grids at the sizes and rotations that were asked for."""

    def __init__(self, a: Raster, b: Raster, describer: Describer) -> None:
        self.a, self.b, self.describer = a, b, describer
        self._grids: dict[tuple[float, ...], Grid] = {}

    def grids(self, side: float, rotation: float, scale: float, stride: float = STRIDE_PX) -> tuple[Grid, Grid]:
        """Image a turned by `rotation`, and b; of the two the one that shows more detail under `scale` is reduced.

        Windows of a are `stride` px apart.
        """
        zoom_a, zoom_b = zoom_to(self.a, side) * min(scale, 1.0), zoom_to(self.b, side) / max(scale, 1.0)
        for key, image in (((zoom_a, rotation, stride), self.a), ((zoom_b,), self.b)):
            if key not in self._grids:
                self._grids[key] = _turned(image, self.describer, *key)
        return self._grids[zoom_a, rotation, stride], self._grids[zoom_b,]

    def match(self, side: float, rotation: float = 0.0, scale: float = 1.0) -> Search:
        """The similarity that explains most matches under a rotation and scale."""
        first, second = self.grids(side, rotation, scale)
        matches = match_grids(first, second)
        tolerance = MAX_RESIDUAL_STRIDES * STRIDE_PX * float(second.to_image[0, 0])
        size = self.a.pixels.shape[1], self.a.pixels.shape[0]
        fit = estimate(matches.points[:, :2], matches.points[:, 2:], "similarity", threshold=tolerance, size=size)
        return Search(first, second, matches, fit, rotation, scale)

    def rotation_and_scale(self, matrix: Matrix) -> tuple[float, float]:
        """Degrees, and the scale between both images as they are reduced, of a similarity (3, 3; a -> b)."""
        turned = complex(matrix[0, 0], matrix[0, 1])
        return float(np.degrees(np.angle(turned))), abs(turned) * self.reduced_scale(MAX_SIDE_PX)

    def best_first(self) -> Iterator[tuple[float, float]]:
        """Rotations and scales worth a closer look: those with the best votes at scale 1, then those of all scales.

        Rotations go from small to large, and end one step after a clear one.
        """
        votes: dict[tuple[float, float], float] = {}
        for turn in range(0, 181, ROTATION_STEP):
            clear = any(vote >= CLEAR_VOTE for vote in votes.values())
            votes |= {(rotation, 1.0): self.vote(rotation, 1.0) for rotation in {turn, -turn % 360}}
            if clear:
                break
        first = sorted(votes, key=lambda key: -votes[key])[:BEST_ROTATIONS]
        # An image between both sizes is reduced to the smaller one alone, which changes the scale between the images.
        change = self.reduced_scale(MAX_SIDE_PX) / self.reduced_scale(COARSE_SIDE_PX)
        yield from ((rotation, scale * change) for rotation, scale in first)
        others = itertools.product(range(0, 360, ROTATION_STEP), SCALES)
        votes |= {key: self.vote(*key) for key in others if key not in votes}
        rest = [key for key in sorted(votes, key=lambda key: -votes[key]) if key not in first]
        yield from ((rotation, scale * change) for rotation, scale in rest[:BEST])

    def reduced_scale(self, side: float) -> float:
        """By how much b is reduced less than a, as a ratio, where the longer side of each is `side` px at most."""
        return zoom_to(self.b, side) / zoom_to(self.a, side)

    def vote(self, rotation: float, scale: float) -> float:
        """See `_vote`."""
        first, second = self.grids(COARSE_SIDE_PX, rotation, scale, COARSE_STRIDE_PX)
        return _vote(match_grids(first, second), second, first.to_image)


def _turned(image: Raster, describer: Describer, zoom: float, rotation: float = 0.0, stride: float = STRIDE_PX) -> Grid:
    """The grid of an image that is reduced and turned counter-clockwise, in the frame that holds it."""
    if rotation == 0:
        return describe_grid(image, describer, zoom, stride=stride)
    shape = np.maximum(1, np.round(np.array(image.pixels.shape) * zoom))
    linear = rotation_matrix(rotation)
    size = np.ceil(np.abs(linear) @ shape[::-1]).astype(int)
    warp = np.eye(3)
    warp[:2, :2], warp[:2, 2] = linear, (size - 1) / 2 - linear @ (shape[::-1] - 1) / 2
    return describe_grid(image, describer, zoom, warp, (int(size[0]), int(size[1])), stride)


def _vote(matches: GridMatches, b: Grid, to_a: Matrix) -> float:
    """How far the most common shift of matches stands out, in standard deviations of what chance would give."""
    if not len(matches):
        return 0.0
    turned = apply(np.asarray(np.linalg.inv(to_a)), matches.points[:, :2])
    shifts = apply(np.asarray(np.linalg.inv(b.to_image)), matches.points[:, 2:]) - turned
    span = np.ptp(shifts, axis=0) + BIN_PX
    counts = np.zeros(np.ceil(span / BIN_PX).astype(int) + 4)
    at = np.floor((shifts - shifts.min(axis=0)) / BIN_PX).astype(int)
    for dx, dy in itertools.product(range(3), repeat=2):
        np.add.at(counts, (at[:, 0] + dx, at[:, 1] + dy), 1)
    chance = 9 * len(matches) / max(counts.size, 9)
    return float((counts.max() - chance) / np.sqrt(chance + 1))
