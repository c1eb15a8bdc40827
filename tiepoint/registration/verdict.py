"""Whether a registration can be trusted: what speaks for it, as numbers, and the confidence that they amount to.

    confidence = 1 / (1 + exp(-(w . x + c)))

over the features x of `Evidence`, each standardised. The weights were fitted by logistic regression to registrations
with known truth, right ones and wrong ones, of training images alone (`tiepoint calibrate`), so that of the
registrations of confidence p about the share p is right.
"""

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS, DENSE_WEIGHTS = (Path(__file__).with_name(f"{name}.json") for name in ("verdict", "verdict_dense"))
FEATURES = ("log_matches", "match_share", "log_windows", "support", "coverage", "score", "roundtrip")
DENSE_FEATURES = ("match_share", "log_windows", "support", "roundtrip", "log_known", "margin")  # of windows matched


@dataclass(frozen=True)
class Evidence:
    """What speaks for a transform; shares are in 0..1."""

    matches: int  # keypoint matches that agree with it
    match_share: float  # of all matches
    places: int  # of the overlap where the structure agrees with it, see `tiepoint.structure.align`
    windows: float  # the area that the windows compared there cover, in windows; less than places where they overlap
    support: float  # share of the places in all that were tried
    coverage: float  # share of the overlap's cells in which a place agrees
    score: float  # median correlation of the structure at these places, in -1..1
    # Median distance, px, by which places miss themselves on the way from b to a and back, each way correlated by
    # itself; infinite where there are none.
    roundtrip: float
    spread: float  # root mean square of the residuals of the places, px
    # Of images described densely, see `tiepoint.dense.evidence`; None of others.
    asked: int | None = None  # windows that were asked
    recognised: float | None = None  # share of these whose nearest in b is the one that the transform says, over chance
    margin: float | None = None  # mean similarity of windows laid over each other, over the best of shifted transforms

    def features(self) -> NDArray[np.float64]:
        """The numbers that the confidence is made of, in the order of `names`."""
        values = {
            "log_matches": math.log1p(self.matches),
            "match_share": self.match_share,
            "log_windows": math.log1p(self.windows),
            "support": self.support,
            "coverage": self.coverage,
            "score": self.score,
            "roundtrip": math.log1p(min(self.roundtrip, 16.0)),
            "log_known": math.log1p(self.known),
            "margin": self.margin or 0.0,
        }
        return np.array([values[name] for name in self.names])

    @property
    def known(self) -> float:
        """Number of the windows that recognise each other, beyond chance."""
        return (self.asked or 0) * (self.recognised or 0.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return FEATURES if self.recognised is None else DENSE_FEATURES

    def to_json(self) -> dict[str, Any]:
        """Plain, finite values; an infinite one becomes None."""
        values = {k: v for k, v in asdict(self).items() if v is not None}
        return {k: (round(v, 4) if math.isfinite(v) else None) for k, v in values.items()}


def gathered(
    agree: NDArray[np.bool_],
    inliers: NDArray[np.bool_],
    residuals: NDArray[np.float64],
    scores: NDArray[np.float64],
    *,
    windows: float,
    support: float,
    coverage: float,
    roundtrip: float,
) -> Evidence:
    """The evidence of matches, of which those of `agree` (M,) do, and of N places.

    Of these `inliers` agree; `residuals` are in px, and `scores` their correlations. For the others see `Evidence`.
    """
    kept = residuals[inliers]
    return Evidence(
        matches=int(agree.sum()),
        match_share=float(agree.mean()) if len(agree) else 0.0,
        places=len(kept),
        windows=windows,
        support=support,
        coverage=coverage,
        score=float(np.median(scores[inliers])) if len(kept) else 0.0,
        roundtrip=roundtrip,
        spread=float(np.sqrt(np.mean(kept**2))) if len(kept) else math.inf,
    )


NOTHING = Evidence(0, 0.0, 0, 0.0, 0.0, 0.0, 0.0, math.inf, math.inf)


def confidence(evidence: Evidence) -> float:
    """Probability, in 0..1, that the transform is good to 5 px at the image's corners."""
    weights = _weights(evidence.names)
    x = (evidence.features() - weights["mean"]) / weights["deviation"]
    return float(1 / (1 + np.exp(-(x @ weights["weights"] + weights["constant"]))))


def doubts(evidence: Evidence, least: float) -> tuple[str, ...]:
    """Why the confidence stays under `least`, in words, the weightiest first; empty if it does not."""
    found = confidence(evidence)
    if found >= least:
        return ()
    weights = _weights(evidence.names)
    shortfall = weights["weights"] * (weights["good"] - evidence.features()) / weights["deviation"]
    kind = "keypoint" if evidence.recognised is None else "window"
    words = {
        "log_known": f"{evidence.known:.0f} of {evidence.asked or 0} windows recognise each other",
        "margin": f"windows are {evidence.margin or 0:.2f} more alike than under shifted transforms",
        "log_matches": f"only {evidence.matches} {kind} matches agree",
        "match_share": f"only {100 * evidence.match_share:.0f} % of the {kind} matches agree",
        "log_windows": f"what shows the same structure covers {evidence.windows:.0f} windows",
        "support": f"the structure agrees at {100 * evidence.support:.0f} % of the places compared",
        "coverage": f"what agrees covers {100 * evidence.coverage:.0f} % of the overlap",
        "score": f"the structure correlates by {evidence.score:.2f} alone",
        "roundtrip": f"places miss themselves by {evidence.roundtrip:.1f} px on the way there and back",
    }
    ranked = [evidence.names[k] for k in np.argsort(-shortfall) if shortfall[k] > 0][:3]
    return (f"confidence {found:.2f}, less than {least:.2f}", *(words[name] for name in ranked))


@cache
def _weights(names: tuple[str, ...]) -> dict[str, Any]:
    path = WEIGHTS if names == FEATURES else DENSE_WEIGHTS
    content = json.loads(path.read_text(encoding="utf-8"))
    return {key: np.array(value) if isinstance(value, list) else value for key, value in content.items()}
