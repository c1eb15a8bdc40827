"""The protocol of VIS-NIR patches on the real test pairs (make check-data)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiepoint.data.pairs_build import build
from tiepoint.evaluation.cross_spectral import evaluate_cross_spectral
from tiepoint.models import load
from tiepoint.patches import PatchSet

PAIRS = Path(__file__).resolve().parents[3] / "shared" / "data" / "visnir" / "test"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not PAIRS.is_dir(), reason="needs the real images of ../shared/data beside the repository"),
]


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    return build(PAIRS, tmp_path_factory.mktemp("visnir") / "set")


def test_the_shipped_describer_holds_its_figures(patches: PatchSet) -> None:
    """As docs/results.md gives them, with room for another machine's rounding alone."""
    score = evaluate_cross_spectral(patches, {"sdgmnet-visnir": load("sdgmnet-visnir")})["sdgmnet-visnir"]
    assert score.mean == pytest.approx(0.0231, abs=0.001)
    assert score.errors["field"] == pytest.approx(0.0492, abs=0.004)


def test_the_shipped_relater_tells_matches_from_non_matches(patches: PatchSet) -> None:
    """On 300 of the 2,500 matches a category, which takes a minute instead of five; the mean of all is 1.83 %."""
    score = evaluate_cross_spectral(patches, {"rrlnet-visnir": load("rrlnet-visnir")}, count=300)["rrlnet-visnir"]
    assert score.mean < 0.03
    assert score.ece is not None
    assert score.ece_uncalibrated is not None
    assert score.ece < min(0.03, score.ece_uncalibrated + 0.005)
