"""Registrations by fundamental and essential matrices: what they find, refuse, and do not claim."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_registration import Page
from seen_scene import CAMERA_A, CAMERA_B, SHIFT, SIZE, fundamental, rotation, seen

from tiepoint.errors import InputError
from tiepoint.features.view import View
from tiepoint.geometry.epipolar import sampson_distances
from tiepoint.matching.match import Matches, match
from tiepoint.options import override
from tiepoint.registration.epipolar_registration import register_epipolar
from tiepoint.registration.register import register
from tiepoint.registration.result import Registration
from tiepoint.registration.task import Task
from tiepoint.report import write_report

CAMERAS = {f"camera_{name}": (k[0, 0], k[1, 1], k[0, 2], k[1, 2]) for name, k in (("a", CAMERA_A), ("b", CAMERA_B))}


@pytest.fixture(scope="module")
def found() -> Registration:
    return register(*seen(), model="fundamental")


def test_a_scene_in_depth_is_registered_by_its_lines(found: Registration) -> None:
    assert found.accepted
    assert found.matrix is not None
    assert 200 <= found.inliers.sum() < 215
    assert found.inliers[:200].all()
    a, b = (np.column_stack([view.points[:200], np.ones(200)]) for view in seen(noise=0))
    np.testing.assert_allclose((b @ fundamental() * a).sum(axis=1), 0, atol=1e-9)
    lines = a @ found.matrix.T
    assert np.median(np.abs((b * lines).sum(axis=1)) / np.linalg.norm(lines[:, :2], axis=1)) < 0.3
    assert found.confidence == pytest.approx(found.inliers.sum() / (found.inliers.sum() + 12))


def test_residuals_are_sampson_distances(found: Registration) -> None:
    assert found.matrix is not None
    points = found.tie_points
    np.testing.assert_allclose(found.residuals, sampson_distances(found.matrix, points[:, :2], points[:, 2:]))
    assert found.residuals.max() <= 3.0


def test_a_fundamental_matrix_claims_no_mapping(found: Registration) -> None:
    assert found.transform is None
    assert found.warp is None
    with pytest.raises(InputError, match="a fundamental matrix maps no points"):
        found.map([[1, 2]])
    table = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (table["model"], table["warp"], table["pose"]) == ("fundamental", None, None)
    np.testing.assert_allclose(table["matrix"], found.matrix)


def test_known_cameras_give_the_pose() -> None:
    found = register(*seen(), model="essential", **CAMERAS)
    assert found.accepted
    assert found.matrix is not None
    assert found.pose is not None
    np.testing.assert_allclose(found.pose.rotation, rotation(), atol=0.01)
    np.testing.assert_allclose(found.pose.translation, SHIFT / np.linalg.norm(SHIFT), atol=0.03)
    # In pixels and by the convention of the fundamental matrix, up to the sign.
    sign = np.sign((found.matrix * fundamental()).sum())
    np.testing.assert_allclose(sign * found.matrix, fundamental(), atol=0.04)
    points = found.tie_points
    np.testing.assert_allclose(found.residuals, sampson_distances(found.matrix, points[:, :2], points[:, 2:]))
    table = json.loads(json.dumps(found.to_json(), allow_nan=False))
    np.testing.assert_allclose(table["pose"]["rotation"], found.pose.rotation)
    assert np.linalg.norm(table["pose"]["translation"]) == pytest.approx(1)


def test_matches_at_random_and_too_few_are_refused() -> None:
    noise = register(*seen(0, 80), model="fundamental")
    assert not noise.accepted
    assert noise.matrix is None
    assert noise.tie_points.shape == (0, 4)
    few = register(*seen(60, 0), model="fundamental", min_inliers=100)
    assert few.reasons == ("60 inliers, fewer than 100",)


def test_a_flat_scene_is_refused_and_says_so() -> None:
    found = register(*seen(depth=(6, 6)), model="fundamental")
    assert not found.accepted
    assert "the matches lie on a plane: a homography explains" in found.reasons[0]


def test_weights_find_what_the_likely_matches_say() -> None:
    """One match in seven is right; the probabilities know most of them."""
    a, b = seen(60, 360)
    plain = register(a, b, model="fundamental")
    rng = np.random.default_rng(0)
    weights = np.where(np.arange(420) < 60, rng.normal(0.8, 0.15, 420), rng.normal(0.3, 0.15, 420)).clip(0, 1)
    matches = match(a, b)
    rows = matches.rows.indices[:, 0]
    weighted = Matches(a, b, replace(matches.rows, probability=weights[rows].astype(np.float32)))
    options = override(plain.options, {"model": "fundamental"})
    found = register_epipolar(Task(View.of(a, "a"), View.of(b, "b"), weighted, options, None))
    assert found.accepted
    assert found.inliers[rows < 60].all()
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, weights[rows][found.inliers], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "essential"}, "essential needs camera_a"),
        ({"model": "fundamental", **CAMERAS}, "not fundamental: leave it out"),
        (CAMERAS, "not auto: leave it out"),
        ({"model": "essential", "camera_a": (1.0, 1.0)}, "give fx, fy, cx, cy"),
        ({"model": "essential", "camera_a": (-9.0, 9.0, 0.0, 0.0)}, "the focal lengths positive"),
        ({"model": "essential", "camera_b": (9.0, 9.0, 0.0, 0.0)}, "needs camera_a"),
        ({"camera_b": (9.0, 9.0, 0.0, 0.0)}, "camera_b stands alone"),
        ({"model": "fundamental", "warp": "thin-plate"}, "leave out warp"),
        ({"model": "fundamental", "relater": "rrlnet-visnir"}, "give top_k, or no relater"),
        ({"model": "fundamental", "max_residual": -1.0}, "max_residual is -1"),
        ({"model": "fundamental", "min_inliers": 2}, "min_inliers is 2"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        register(*seen(20, 0), **options)


def test_the_page_shows_the_tie_points_side_by_side(found: Registration, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, SIZE[::-1], dtype=np.uint8)
    write_report(found, grey, grey, tmp_path / "out.html")
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    assert page.texts["verdict"] == "Registered"
    assert not {"overlay", "slider", "picture-moved", "arrows"} & set(page.values("id"))
    assert {"data-view": "pair", "class": "registered"}.items() <= next(a for t, a in page.tags if t == "body").items()
    shown = page.data["shown"]
    assert shown["mapped"] is None
    assert page.data["rejected"] == []
    assert page.data["coverage"] is None
    assert len(shown["residuals"]) == found.inliers.sum()
    for words in ("Fundamental matrix", "Sampson distances", "fundamental matrix"):
        assert words in page.text
    for words in ("Matrix, A to B", "Coverage is the share", "Each arrow leads"):
        assert words not in page.text
