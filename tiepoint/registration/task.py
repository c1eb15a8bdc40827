"""One pair at work: its described views, their keypoint matches, and what the stages of `register` were told."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.dense.grid import Grid
from tiepoint.features.view import View
from tiepoint.geometry.robust import Estimate, Model
from tiepoint.geometry.select_model import SIMPLEST_FIRST, select_model
from tiepoint.matching.match import Matches
from tiepoint.models.describer import Describer
from tiepoint.models.relater import LearnedRelater
from tiepoint.options import TWO_VIEW_MODELS
from tiepoint.options import Registration as Options
from tiepoint.types import Mask


class Fit(NamedTuple):
    """A transform fitted to correspondences, and the model that it is of."""

    estimate: Estimate
    model: Model


@dataclass(frozen=True)
class Task:
    """What the stages of a registration share; the views are described, and the relater judges tie points.

    `describer` is that of windows, where the views were described densely, and `grid` holds those of b where they are
    at hand; None where keypoints were described.
    """

    a: View
    b: View
    matches: Matches
    options: Options
    relater: LearnedRelater | None
    describer: Describer | None = None
    grid: Grid | None = None

    @property
    def models(self) -> tuple[Model, ...]:
        """The transforms that may be fitted, the simplest first."""
        model = self.options.estimation.model
        assert model not in TWO_VIEW_MODELS
        return SIMPLEST_FIRST if model == "auto" else (model,)  # type: ignore[return-value]

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Match probabilities (M,) of the keypoint matches, where a relater made them."""
        found = self.matches.rows.probability
        return None if found is None else found.astype(np.float64)

    @property
    def has_structure(self) -> bool:
        """Whether the structure of both images can be compared, and shall be."""
        return self.options.estimation.refine and self.a.has_structure and self.b.has_structure

    @property
    def pixels(self) -> tuple[NDArray[np.generic], NDArray[np.generic]] | None:
        """The grey images (H, W), where both are at hand."""
        if self.a.raster is None or self.b.raster is None:
            return None
        return self.a.raster.pixels, self.b.raster.pixels

    @property
    def masks(self) -> tuple[Mask | None, Mask | None]:
        """Valid pixels of both images."""
        first, second = (None if view.raster is None else view.raster.mask for view in (self.a, self.b))
        return first, second

    @property
    def max_match_residual(self) -> float:
        """Largest residual of a match that agrees, px of b: of windows at least half of their spacing."""
        return max(self.options.estimation.max_residual, self.matches.b.spacing / 2)

    def fit_matches(self, weights: NDArray[np.float64] | None) -> Fit:
        """The transform that explains the keypoint matches; see `tiepoint.geometry.select_model`."""
        estimation, points = self.options.estimation, self.matches.points
        return Fit(*select_model(
            points[:, :2], points[:, 2:], self.models, threshold=self.max_match_residual, seed=estimation.seed,
            size=self.a.known.size, weights=weights,
        ))  # fmt: skip
