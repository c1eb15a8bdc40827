"""Calibration of match probabilities: temperature scaling, and how far probabilities are from what they promise."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
BISECTIONS = 60  # of a range of log T that is 6 wide: beyond what float64 tells apart


def sigmoid(logits: ArrayLike) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) of every logit, without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64))))


def fit_temperature(labels: ArrayLike, logits: ArrayLike) -> float:
    """Find the temperature T at which sigmoid(logit / T) explains the labels best: the least negative log-likelihood.

    The likelihood is convex in 1 / T, so bisection over log T of the sign of its slope finds the only minimum. T is
    bounded to MIN_TEMPERATURE..MAX_TEMPERATURE: logits that separate matches from non-matches at 0 give the lower
    bound, since an ever smaller T is ever better; logits that tell nothing or the opposite give the upper one. Fit T on
    pairs that chose neither the weights nor the test's result. Scaling changes neither the order of pairs nor FPR95.

    `labels` (N,) are 0 or 1, both among them, and `logits` (N,) finite. Returns T within these bounds; 1 where T
    changes nothing, as for logits that are all 0. Raises InputError for unequal lengths, other labels, one class alone,
    NaN or infinity.

    Source: Guo, Pleiss, Sun, Weinberger (ICML 2017), section 4.2.
    """
    known, values = _checked(labels, logits, "logits")
    if known.all() or not known.any():
        raise InputError("labels hold one class alone: a temperature needs matches (1) and non-matches (0)")
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} of {len(values)} logits are NaN or infinite")
    # How far each logit is on its label's side: the loss of a pair is log(1 + exp(-margin / T)).
    margins = np.where(known, values, -values)

    def slope(log_temperature: float) -> float:
        """Of the loss in 1 / T."""
        return -float(np.mean(margins * sigmoid(-margins / math.exp(log_temperature))))

    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    if slope(low) == slope(high) == 0:
        return 1.0
    if slope(low) <= 0:
        return MIN_TEMPERATURE
    if slope(high) >= 0:
        return MAX_TEMPERATURE
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return math.exp((low + high) / 2)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Mean over pairs of |mean probability - share of matches| in the pair's bin, in 0..1; 0 is calibrated.

    `labels` (N,) are 0 or 1, `probabilities` (N,) in 0..1: that of a match, for matches and non-matches alike, not the
    confidence in the decision. Bins are of equal width over 0..1, each with its lower edge, the last with both. Raises
    InputError for unequal lengths, no pairs, other labels, NaN or another number beyond 0..1, no bins.

    Source: Guo, Pleiss, Sun, Weinberger (ICML 2017), section 2, for two classes.
    """
    known, values = _checked(labels, probabilities, "probabilities")
    if bins < 1:
        raise InputError(f"bins is {bins}, must be at least 1")
    outside = ~((values >= 0) & (values <= 1))  # NaN too
    if outside.any():
        raise InputError(f"probability {values[outside][0]:g}: must lie in 0..1")
    bin_of = np.minimum((values * bins).astype(np.int64), bins - 1)
    excess = np.bincount(bin_of, weights=values - known)
    return float(np.abs(excess).sum() / len(values))


def _checked(labels: ArrayLike, values: ArrayLike, what: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    known, numbers = np.asarray(labels), np.asarray(values, dtype=np.float64)
    if known.ndim != 1 or known.shape != numbers.shape or not len(known):
        raise InputError(f"labels {known.shape} and {what} {numbers.shape}: must be two lists of one length, not empty")
    if not np.isin(known, (0, 1)).all():
        raise InputError("labels must be 0 or 1")
    return known.astype(bool), numbers
