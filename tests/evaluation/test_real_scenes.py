"""The scene protocol on the real test scenes (make check-data)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiepoint.evaluation.scenes import evaluate_scenes, mean_scores
from tiepoint.models.load import load

SCENES = Path(__file__).resolve().parents[3] / "shared" / "data" / "scenes" / "test"
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not SCENES.is_dir(), reason="needs the real images of ../shared/data beside the repository"),
]


def test_rootsift_on_a_real_scene_is_as_first_measured() -> None:
    """The first measurement, by another implementation and draw of points: FPR95 4.1 %, top-1 0.80."""
    (score,) = evaluate_scenes([SCENES / "salen2"], {"rootsift": load("rootsift")}, levels=["easy"])
    assert score.points == 2500
    assert score.fpr95 == pytest.approx(0.041, abs=0.015)
    assert score.top1 == pytest.approx(0.80, abs=0.03)
    assert score.fpr95_same_image == pytest.approx(score.fpr95, abs=0.01)


def test_the_shipped_weights_hold_their_figures() -> None:
    """Means over the scenes as docs/results.md gives them, with room for another machine's rounding alone."""
    scores = evaluate_scenes(sorted(SCENES.iterdir()), {"sdgmnet": load("sdgmnet")})
    mean = {score.level: score for score in mean_scores(scores)}
    published = {"none": 0.0028, "easy": 0.0041, "hard": 0.0133, "tough": 0.0878}
    assert {level: score.fpr95 for level, score in mean.items()} == pytest.approx(published, abs=0.0005)
    assert mean["hard"].top1 == pytest.approx(0.728, abs=0.003)
