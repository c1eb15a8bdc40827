"""Registrations by fundamental and essential matrices: what they find, refuse, and do not claim."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_registration import Page
from seen_scene import CAMERA_A, CAMERA_B, SHIFT, SIZE, fundamental, rotation, seen

from tiepoint.errors import InputError
from tiepoint.geometry.epipolar import sampson_distances
from tiepoint.registration.register import Registration, register
from tiepoint.registration.two_views import by_two_views
from tiepoint.report import write_report

CAMERAS = (CAMERA_A, CAMERA_B)


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
    found = register(*seen(), model="essential", cameras=CAMERAS)
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
    rows = plain.matches.matches.indices[:, 0]
    found = by_two_views(plain.matches, "fundamental", None, 3.0, 12, 0, weights[rows])
    assert found.accepted
    assert found.inliers[rows < 60].all()
    assert found.probabilities is not None
    np.testing.assert_array_equal(found.probabilities, weights[rows][found.inliers])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "essential"}, "essential needs cameras"),
        ({"model": "fundamental", "cameras": CAMERAS}, "not fundamental: leave them out"),
        ({"cameras": CAMERAS}, "not auto: leave them out"),
        ({"model": "essential", "cameras": CAMERA_A}, "not two"),
        ({"model": "essential", "cameras": (CAMERA_A, CAMERA_A[:2])}, "not two"),
        ({"model": "essential", "cameras": (CAMERA_A, -CAMERA_B)}, "camera_b is not"),
        ({"model": "fundamental", "warp": "thin-plate"}, "leave out warp"),
        ({"model": "fundamental", "relater": "rrlnet-visnir"}, "give candidates, or no relater"),
        ({"model": "fundamental", "threshold": -1.0}, "threshold is -1"),
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
