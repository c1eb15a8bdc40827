"""Which transform matched points speak for: a similarity, an affine map or a homography."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from tiepoint.geometry.gls import PARAMETERS, evidence, fit_gls
from tiepoint.geometry.robust import Estimate, Model, estimate, extent, find_flaw, residuals
from tiepoint.options import Estimation

SIMPLEST_FIRST = tuple(PARAMETERS)
LOG_ODDS_PER_TWO_PARAMETERS = 20.0  # as logarithms, by which two more parameters have to win; see docs/experiments.md


def select_model(
    points_a: ArrayLike,
    points_b: ArrayLike,
    models: Sequence[Model] = SIMPLEST_FIRST,
    *,
    threshold: float = Estimation.max_residual,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Estimate, Model]:
    """Fit `models` robustly, take the one that the correspondences speak for, and fit it as `correlated` tells.

    The best robust fit (`estimate`) is the one with the least mean of min(residual, threshold)^2, which is weighted
    where there are weights. From its inliers the evidence of every model is computed. The simplest model wins unless
    every two further parameters add LOG_ODDS_PER_TWO_PARAMETERS to the log evidence: a transform with fewer parameters
    errs less where no point holds it, as in corners that show sky or water. If the inliers are too few for this, the
    robust fit of the simplest model is returned; if no model fits, the refusal of the last one. Arguments and errors
    are those of `estimate`.
    """
    fits = [
        (estimate(points_a, points_b, m, threshold=threshold, seed=seed, size=size, weights=weights), m) for m in models
    ]
    sound = [(fit, m, fit.matrix) for fit, m in fits if fit.matrix is not None]
    if not sound:
        return fits[-1]
    a, b = np.asarray(points_a, dtype=np.float64), np.asarray(points_b, dtype=np.float64)
    trust = None if weights is None else np.asarray(weights, dtype=np.float64)
    width, height = size or extent(a)
    costs = [(np.minimum(fit.residuals, threshold) ** 2 * (1 if trust is None else trust)).sum() for fit, _, _ in sound]
    start = sound[int(np.argmin(costs))][2]

    settled = partial(fit_gls, a, b, start=start, size=(width, height), threshold=threshold, weights=trust)
    candidates = sorted((m for _, m, _ in sound), key=PARAMETERS.__getitem__)
    model, richest = candidates[0], candidates[-1]
    found = settled(model=richest)
    if found is not None and model != richest:
        spoken = evidence(a, b, richest, found, (width, height), threshold=threshold, weights=trust)
        worth = {m: spoken[m] - 0.5 * LOG_ODDS_PER_TWO_PARAMETERS * PARAMETERS[m] for m in candidates}
        model = max(candidates, key=worth.__getitem__)
        if model != richest:
            found = settled(model=model)
    if found is not None and find_flaw(found, width, height) is None:
        distances = residuals(found, a, b)
        return Estimate(found, distances <= threshold, distances), model
    return next((fit, m) for fit, m, _ in sound if m == model)
