"""The verdict's weights: a fit that is known, and the whole command on made-up images."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from aligned_images import images
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.evaluation.registration import calibration
from tiepoint.evaluation.registration.calibration import calibrate, fit, image_pairs, probabilities, small_warp
from tiepoint.registration.verdict import FEATURES, WEIGHTS, Evidence

Capture = pytest.CaptureFixture[str]


def case(image: int, right: bool, matches: int) -> dict[str, Any]:
    evidence = Evidence(matches, 0.5, 40, 12.0, 0.5 if right else 0.1, 0.5, 0.6, 1.0 if right else np.inf, 1.0)
    kind = "right" if right else "wrong"
    return {"set": kind, "kind": kind, "image": image, "error": 1.0 if right else 1e9, "evidence": evidence.to_json()}


def test_the_fit_is_the_logistic_regression_of_its_penalty() -> None:
    random = np.random.default_rng(0)
    features = random.normal(3, 2, (4000, 2))
    chances = 1 / (1 + np.exp(-(2 * features[:, 0] - 6)))
    weights = fit(features, random.random(4000) < chances)
    slope = weights["weights"] / weights["deviation"]
    np.testing.assert_allclose(slope, [2, 0], atol=0.15)
    np.testing.assert_allclose(probabilities(weights, features), chances, atol=0.05)


def test_a_feature_that_would_count_the_wrong_way_gets_no_weight() -> None:
    random = np.random.default_rng(0)
    first = random.normal(0, 1, 2000)
    features = np.column_stack([first + 0.5 * random.normal(0, 1, 2000), random.normal(0, 1, 2000)])
    right = random.random(2000) < 1 / (1 + np.exp(-(3 * first - 0.5 * features[:, 1])))
    free = fit(features, right)["weights"]
    assert free[1] < -0.1
    held = fit(features, right, np.array([1.0, 1.0]))["weights"]
    assert held[1] == 0.0
    assert held[0] == pytest.approx(fit(features[:, :1], right)["weights"][0])
    np.testing.assert_array_equal(fit(features, right, np.array([1.0, -1.0]))["weights"], free)


def test_weights_and_tables_of_cases_that_are_easy_to_tell() -> None:
    cases = [case(n, right=n % 2 == 0, matches=100 if n % 2 == 0 else 5 + n) for n in range(40)]
    weights, rows, reliability = calibrate(cases)
    assert weights.keys() == json.loads(WEIGHTS.read_text(encoding="utf-8")).keys() - {"tiepoint"}
    assert [len(weights[key]) for key in ("mean", "deviation", "weights", "good")] == [len(FEATURES)] * 4
    assert weights["good"][0] == pytest.approx(np.log1p(100), abs=1e-6)
    assert rows == [("right", 20, 0, 1.0, 0.0, 0.0), ("wrong", 0, 20, 0.0, 0.0, 0.0), ("all", 20, 20, 1.0, 0.0, 0.0)]
    assert [(row[0], row[2], row[4]) for row in reliability] == [(0.0, 20, 0.0), (pytest.approx(0.8), 20, 1.0)]


@pytest.mark.parametrize("right", [True, False])
def test_cases_of_one_kind_are_refused(right: bool) -> None:
    with pytest.raises(InputError, match=f"{3 * right} of 3 registrations are right"):
        calibrate([case(n, right, 50) for n in range(3)])


def register_by_looks(a: Any, b: Any, *_: Any, **__: Any) -> Any:
    """In place of `register`, which takes minutes: images that are not warped, and alike or not."""
    height, width = min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1])
    alike = abs(np.corrcoef(a[:height, :width].ravel(), b[:height, :width].ravel())[0, 1])
    evidence = Evidence(int(100 * alike), alike, 40, 40 * alike, alike, alike, alike, 1.0, 1.0)
    return SimpleNamespace(matrix=None if alike < 0.001 else np.eye(3), evidence=evidence)


def test_the_command_on_made_up_images(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "register", register_by_looks)
    monkeypatch.setattr(calibration, "small_warp", lambda *_: np.eye(3))
    folder = tmp_path / "visnir" / "train" / "country"
    folder.mkdir(parents=True)
    for seed in range(3):
        for spectrum, image in zip(("vis", "nir"), images(seed), strict=True):
            cv2.imwrite(str(folder / f"{seed}_{spectrum}.jpg"), image)
    out, cases = tmp_path / "verdict.json", tmp_path / "cases.json"
    words = ["calibrate", str(tmp_path), "--max-pairs", "3", "--max-keypoints", "300", "--cases", str(cases)]
    assert main([*words, "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    measured = json.loads(cases.read_text(encoding="utf-8"))
    assert said["cases"] == len(measured)
    rights = {(c["set"], c["image"]) for c in measured if c["kind"] == "right"}
    assert rights == {("visnir", 0), ("visnir", 1), ("visnir", 2), ("made", 3), ("made", 4), ("made", 5)}
    assert {c["error"] for c in measured if c["kind"] == "right"} == {0.0}
    assert {c["error"] for c in measured if c["kind"] == "wrong"} == {1e9}
    assert said["sets"][-1] == {"set": "all", "right": 6, "wrong": len(measured) - 6} | {
        "right_accepted": 1.0, "wrong_accepted": 0.0, "wrong_at_95_percent_of_the_right": 0.0,
    }  # fmt: skip
    assert [row["set"] for row in said["sets"]] == ["made", "visnir", "all"]
    assert sum(row["cases"] for row in said["reliability"]) == len(measured)
    first = out.read_bytes()
    cases.write_text(json.dumps(measured), encoding="utf-8")  # now read: nothing is registered again
    assert main(["calibrate", str(tmp_path / "nosuch"), "--cases", str(cases), "--out", str(out)]) == 0
    assert out.read_bytes() == first
    captured = capsys.readouterr()
    assert "Reliability" in captured.out
    assert f"wrote {out}" in captured.err


@pytest.mark.parametrize(("scenes", "message"), [(0, "holds no training images"), (2, "visnir: has images of too few")])
def test_too_few_images_are_refused(scenes: int, message: str, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "visnir" / "train" / "country"
    folder.mkdir(parents=True)
    for seed in range(scenes):
        for spectrum in ("vis", "nir"):
            (folder / f"{seed}_{spectrum}.jpg").touch()
    assert main(["calibrate", str(tmp_path), "--max-pairs", "3"]) == 2
    assert message in capsys.readouterr().err


def test_pairs_are_the_images_with_a_partner_by_path(tmp_path: Path) -> None:
    for name in ("b/1_vis", "b/1_nir", "a/2_vis", "a/2_nir", "3_vis", "4_nir", "a_vis_vis", "a_vis_nir", "a_nir_nir"):
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "b" / "1_vis.png").touch()
    found = [tuple(str(path.relative_to(tmp_path)) for path in pair) for pair in image_pairs(tmp_path, "vis", "nir")]
    assert found == [("a/2_vis.jpg", "a/2_nir.jpg"), ("a_vis_vis.jpg", "a_vis_nir.jpg"), ("b/1_vis.jpg", "b/1_nir.jpg")]
    assert image_pairs(tmp_path / "none", "vis", "nir") == []


@given(st.integers(0, 2**32 - 1), st.integers(10, 2000), st.integers(10, 2000))
def test_a_small_warp_is_a_similarity_within_its_limits(seed: int, height: int, width: int) -> None:
    matrix = small_warp(np.random.default_rng(seed), (height, width))
    linear = matrix[:2, :2]
    scale = np.sqrt(np.linalg.det(linear))
    np.testing.assert_allclose(linear.T @ linear, scale**2 * np.eye(2), atol=1e-9)
    assert 0.9 <= scale <= 1.1
    assert abs(np.degrees(np.arctan2(linear[0, 1], linear[0, 0]))) <= 15
    centre = np.array([(width - 1) / 2, (height - 1) / 2, 1])
    assert (np.abs((matrix @ centre - centre)[:2]) <= [0.1 * width + 1e-9, 0.1 * height + 1e-9]).all()
    np.testing.assert_array_equal(matrix, small_warp(np.random.default_rng(seed), (height, width)))


def test_cases_that_are_no_json_are_one_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "cases.json").write_text("{")
    assert main(["calibrate", str(tmp_path), "--cases", str(tmp_path / "cases.json")]) == 2
    assert "cases.json: is not JSON" in capsys.readouterr().err
