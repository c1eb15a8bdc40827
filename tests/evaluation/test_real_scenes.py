from __future__ import annotations

from pathlib import Path

import pytest

from tiepoint.evaluation.scenes import evaluate_scenes
from tiepoint.models import load

SCENE = Path(__file__).resolve().parents[3] / "shared" / "data" / "scenes" / "test" / "salen2"


@pytest.mark.data
@pytest.mark.skipif(not SCENE.is_dir(), reason="needs the real images of ../shared/data beside the repository")
def test_rootsift_on_a_real_scene_is_as_first_measured() -> None:
    """The first measurement, by another implementation and draw of points: FPR95 4.1 %, top-1 0.80."""
    (score,) = evaluate_scenes([SCENE], {"rootsift": load("rootsift")}, levels=["easy"])
    assert score.points == 2500
    assert score.fpr95 == pytest.approx(0.041, abs=0.015)
    assert score.top1 == pytest.approx(0.80, abs=0.03)
    assert score.fpr95_same_image == pytest.approx(score.fpr95, abs=0.01)
