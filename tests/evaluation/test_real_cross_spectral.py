"""The protocol of VIS-NIR patches on the real test pairs (make check-data)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiepoint.data.builders.aligned import build_aligned
from tiepoint.evaluation.cross_spectral import evaluate_cross_spectral
from tiepoint.models.load import load
from tiepoint.patches import PatchSet

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PAIRS = DATA / "visnir" / "test"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not PAIRS.is_dir(), reason="needs the real images of ../shared/data beside the repository"),
]


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    return build_aligned(PAIRS, tmp_path_factory.mktemp("visnir") / "set")


def test_the_shipped_describer_holds_its_figures(patches: PatchSet) -> None:
    """As docs/results.md gives them, with room for another machine's rounding alone."""
    score = evaluate_cross_spectral(patches, {"sdgmnet-visnir": load("sdgmnet-visnir")})["sdgmnet-visnir"]
    assert score.mean == pytest.approx(0.0231, abs=0.001)
    assert score.errors["field"] == pytest.approx(0.0492, abs=0.004)


@pytest.mark.parametrize(
    ("folder", "spectra", "fpr95"), [("visir", ("vis", "ir"), 0.052), ("optsar", ("opt", "sar"), 0.279)]
)
def test_the_describers_of_thermal_and_radar_hold_theirs(
    folder: str, spectra: tuple[str, str], fpr95: float, tmp_path: Path
) -> None:
    patches = build_aligned(DATA / folder / "test", tmp_path / "set", spectra=spectra)
    score = evaluate_cross_spectral(patches, {"trained": load(f"sdgmnet-{folder}")})["trained"]
    assert score.mean == pytest.approx(fpr95, abs=0.004)


def test_the_shipped_relater_tells_matches_from_non_matches(patches: PatchSet) -> None:
    """On 300 of the 2,500 matches a category, which takes a minute instead of five; the mean of all is 1.83 %."""
    score = evaluate_cross_spectral(patches, {"rrlnet-visnir": load("rrlnet-visnir")}, count=300)["rrlnet-visnir"]
    assert score.mean < 0.03
    assert score.ece is not None
    assert score.ece_uncalibrated is not None
    assert score.ece < min(0.03, score.ece_uncalibrated + 0.005)
