"""Epipolar geometry against scenes whose cameras are known, and against OpenCV."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiepoint.errors import InputError
from tiepoint.geometry.epipolar import estimate_essential, estimate_fundamental, expected_by_chance, sampson_distances
from tiepoint.geometry.pose import fit_rotation, relative_pose
from tiepoint.geometry.robust import apply, estimate

K_A = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
K_B = np.array([[620.0, 0, 300], [0, 600, 250], [0, 0, 1]])
TURN = np.array([0.05, -0.15, 0.03])
SHIFT = np.array([1.0, 0.1, 0.2])
SIZES = ((640, 480), (640, 480))


def cross(t: np.ndarray) -> np.ndarray:
    return np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])


def truth(turn: np.ndarray = TURN, shift: np.ndarray = SHIFT) -> tuple[np.ndarray, np.ndarray]:
    """Essential and fundamental matrix."""
    essential = cross(shift) @ cv2.Rodrigues(turn)[0]
    return essential, np.linalg.inv(K_B).T @ essential @ np.linalg.inv(K_A)


def project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    mapped = points @ camera.T
    return mapped[:, :2] / mapped[:, 2:]


def views(
    count: int = 200, outliers: float = 0.0, noise: float = 0.5, seed: int = 0, *, flat: float = 0.0,
    turn: np.ndarray = TURN, shift: np.ndarray = SHIFT,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Matches of random points, a share `flat` of them on a plane, and which are true."""
    rng = np.random.default_rng(seed)
    world = rng.uniform((-2, -1.5, 4), (2, 1.5, 9), (count, 3))
    on_plane = rng.random(count) < flat
    world[on_plane, 2] = 6 + 0.3 * world[on_plane, 0]
    a = project(world, K_A) + rng.normal(scale=noise, size=(count, 2))
    b = project(world @ cv2.Rodrigues(turn)[0].T + shift, K_B) + rng.normal(scale=noise, size=(count, 2))
    wrong = rng.permutation(count) < round(outliers * count)
    b[wrong] = rng.uniform((0, 0), (639, 479), (int(wrong.sum()), 2))
    return a, b, ~wrong


def both(a: np.ndarray, b: np.ndarray, **options: Any) -> list:
    return [estimate_fundamental(a, b, **options), estimate_essential(a, b, K_A, K_B, **options)]


@pytest.mark.parametrize("outliers", [0.0, 0.5])
def test_known_cameras_are_found_among_outliers(outliers: float) -> None:
    essential, fundamental = truth()
    for seed in range(3):
        a, b, true = views(outliers=outliers, seed=seed)
        clean = views(seed=seed + 50, noise=0)[:2]
        for found in both(a, b, sizes=SIZES):
            assert found.reason is None
            assert found.inliers[true].mean() > 0.98
            # A wrong match lies within 3 px of its line in about one case of forty.
            assert found.inliers[~true].sum() <= 8
            assert np.linalg.norm(found.matrix) == pytest.approx(1)
            assert np.linalg.svd(found.matrix, compute_uv=False)[2] < 1e-9
            calibrated = found.rotation is not None
            pixels = np.linalg.inv(K_B).T @ found.matrix @ np.linalg.inv(K_A) if calibrated else found.matrix
            np.testing.assert_allclose(found.residuals, sampson_distances(pixels, a, b))
            assert np.median(sampson_distances(pixels, *clean)) < 0.5
            assert (found.residuals[found.inliers] <= 3).all()
        assert np.linalg.norm(cv2.Rodrigues(found.rotation @ cv2.Rodrigues(TURN)[0].T)[0]) < math.radians(1)
        assert found.translation @ SHIFT / np.linalg.norm(SHIFT) > math.cos(math.radians(4))
    np.testing.assert_allclose(sampson_distances(fundamental, *clean), 0, atol=1e-9)
    assert essential.shape == (3, 3)


def test_exact_matches_give_the_exact_matrices() -> None:
    a, b, _ = views(noise=0)
    for found, expected in zip(both(a, b), truth()[::-1], strict=True):
        expected = expected / np.linalg.norm(expected)
        sign = np.sign((expected * found.matrix).sum())
        np.testing.assert_allclose(sign * found.matrix, expected, atol=2e-4)
        assert found.residuals.max() < 0.1


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**16))
def test_the_pose_of_an_exact_matrix_is_the_true_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation = cv2.Rodrigues(rng.normal(scale=0.3, size=3))[0]
    shift = rng.normal(size=3)
    shift /= np.linalg.norm(shift)
    world = rng.uniform((-2, -2, 3), (2, 2, 9), (60, 3))
    moved = world @ rotation.T + shift
    seen = moved[:, 2] > 0.1
    rays = [points[seen] / np.linalg.norm(points[seen], axis=1, keepdims=True) for points in (world, moved)]
    found = relative_pose(rng.choice([-1, 1]) * cross(shift) @ rotation, *rays, 1e-3)
    np.testing.assert_allclose(found[0], rotation, atol=1e-9)
    np.testing.assert_allclose(found[1], shift, atol=1e-9)
    np.testing.assert_allclose(fit_rotation(rays[0], rays[0] @ rotation.T, 1e-3), rotation, atol=1e-9)


def test_the_pose_agrees_with_opencv() -> None:
    a, b, _ = views(noise=0.5)
    found = estimate_essential(a, b, K_A, K_B)
    assert found.matrix is not None
    assert found.rotation is not None
    normal_a, normal_b = (
        project(np.column_stack([p, np.ones(len(p))]), np.linalg.inv(k)) for p, k in ((a, K_A), (b, K_B))
    )
    _, rotation, translation, _ = cv2.recoverPose(found.matrix, normal_a, normal_b, np.eye(3))
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-9)
    np.testing.assert_allclose(found.translation, translation.ravel(), atol=1e-9)


def test_weights_find_what_few_matches_show() -> None:
    """At 88 % outliers, seven matches drawn at random are all right once in three million times."""
    plain, weighted = 0, 0
    for seed in range(4):
        a, b, true = views(400, 0.88, seed=seed)
        rng = np.random.default_rng(seed)
        weights = np.clip(rng.normal(np.where(true, 0.8, 0.3), 0.15), 0, 1)
        found = [estimate_fundamental(a, b, seed=seed, sizes=SIZES, weights=w) for w in (None, weights)]
        plain, weighted = (n + (f.inliers[true].mean() > 0.9) for n, f in zip((plain, weighted), found, strict=True))
    assert weighted >= 3
    assert plain <= 1


def test_a_seed_repeats_the_result_and_equal_weights_are_no_harm() -> None:
    a, b, true = views(outliers=0.5)
    for one, again in zip(both(a, b, seed=3), both(a, b, seed=3), strict=True):
        np.testing.assert_array_equal(one.matrix, again.matrix)
    for found in both(a, b, weights=np.ones(len(a))):
        assert found.inliers[true].mean() > 0.97


@pytest.mark.parametrize("count", [10, 28, 100])
def test_matches_at_random_are_refused(count: int) -> None:
    rng = np.random.default_rng(count)
    for _ in range(4):
        a, b = rng.uniform(0, 480, (2, count, 2))
        for found in both(a, b):
            assert found.matrix is None
            assert found.plane is None
            assert "at random" in found.reason or "fewer than" in found.reason
            assert np.isinf(found.residuals).all()


@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_a_plane_leaves_the_fundamental_matrix_open(outliers: float) -> None:
    a, b, true = views(outliers=outliers, flat=1.0, noise=1.0)
    found = estimate_fundamental(a, b, sizes=SIZES)
    assert found.matrix is None
    assert str(found.reason).startswith("the matches lie on a plane: a homography explains")
    assert found.plane is not None
    assert found.plane.matrix is not None
    expected = estimate(a[true], b[true])
    assert expected.matrix is not None
    assert np.linalg.norm(apply(found.plane.matrix, a) - apply(expected.matrix, a), axis=1).mean() < 1.5
    assert found.plane.inliers[true].mean() > 0.8
    # Cameras that are known find their pose on a plane too, or its twin: both keep the points in front.
    assert estimate_essential(a, b, K_A, K_B, sizes=SIZES).reason is None


def test_a_plane_with_something_before_it_does_not() -> None:
    a, b, _ = views(flat=0.8)
    assert estimate_fundamental(a, b, sizes=SIZES).reason is None


def test_cameras_that_only_turned_have_no_essential_matrix() -> None:
    a, b, _ = views(outliers=0.2, shift=np.zeros(3))
    fundamental, essential = both(a, b, sizes=SIZES)
    assert "lie on a plane" in fundamental.reason
    assert "the cameras only turned" in essential.reason
    for found in (fundamental, essential):
        turned = K_B @ cv2.Rodrigues(TURN)[0] @ np.linalg.inv(K_A)
        assert np.linalg.norm(apply(found.plane.matrix, a) - apply(turned, a), axis=1).max() < 2
        assert found.rotation is None


def test_points_behind_the_cameras_are_no_inliers() -> None:
    """Matches on their epipolar lines, but where the rays meet backwards."""
    a, b, _ = views(noise=0.1)
    world = np.random.default_rng(1).uniform((-2, -1.5, -9), (2, 1.5, -5), (20, 3))
    behind_a, behind_b = project(world, K_A), project(world @ cv2.Rodrigues(TURN)[0].T + SHIFT, K_B)
    a, b = np.vstack([a, behind_a]), np.vstack([b, behind_b])
    fundamental, essential = both(a, b)
    assert fundamental.inliers.all()
    assert essential.inliers[:200].all()
    assert not essential.inliers[200:].any()
    assert (essential.residuals[200:] < 1).all()


def test_what_fixes_nothing_is_refused() -> None:
    for count in (0, 1, 5):
        for found in both(np.zeros((count, 2)), np.zeros((count, 2))):
            assert "different matches" in found.reason
            assert found.inliers.tolist() == [False] * count
    a, b, _ = views(6, noise=0)
    repeated = np.repeat(a, 10, axis=0), np.repeat(b, 10, axis=0)
    assert estimate_fundamental(*repeated).reason == "fewer than 8 different matches"
    along = np.linspace(0, 500, 30)
    line = np.column_stack([along, 0.5 * along])
    for found in both(line, line + 5):
        assert found.reason == "the matches lie on a line or at one point"


def test_a_match_counts_once_however_often_it_occurs() -> None:
    """Ten copies of noise are no more proof than one."""
    rng = np.random.default_rng(0)
    a, b = (np.repeat(rng.uniform(0, 480, (14, 2)), 10, axis=0) for _ in range(2))
    for found in both(a, b):
        assert found.matrix is None


def test_chance_grows_with_the_solutions_and_falls_with_the_inliers() -> None:
    square = [(1000, 1000)] * 2
    seven, five = expected_by_chance(50, 20, 3, square), expected_by_chance(50, 20, 3, square, sample=5, solutions=10)
    assert five < seven  # 13 and 15 matches beyond the sample agree
    assert expected_by_chance(50, 21, 3, square) < seven
    # n = 4, k = 3, s = 2, p = 1/10: 2 * 4 * 3 * 0.1.
    assert expected_by_chance(4, 3, 2.5, [(100, 100)] * 2, sample=2, solutions=1) == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("a", "b", "options", "words"),
    [
        (np.zeros((9, 2)), np.zeros((8, 2)), {}, "shapes"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), {}, "finite"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"threshold": -1}, "threshold is -1"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"weights": np.ones(8)}, "9 matches"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"weights": np.full(9, np.nan)}, "finite and 0 or more"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"weights": -np.ones(9)}, "finite and 0 or more"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"weights": np.zeros(9)}, "all weights are 0"),
    ],
)
def test_wrong_input_is_refused(a: np.ndarray, b: np.ndarray, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        estimate_fundamental(a, b, **options)
    with pytest.raises(InputError, match=words):
        estimate_essential(a, b, K_A, K_B, **options)


@pytest.mark.parametrize(
    "camera", [np.eye(2), np.diag([-500.0, 500, 1]), np.full((3, 3), np.nan), 2 * np.eye(3), K_A.T]
)
def test_what_is_no_camera_is_refused(camera: np.ndarray) -> None:
    a, b, _ = views(20)
    with pytest.raises(InputError, match="camera_b is not"):
        estimate_essential(a, b, K_A, camera)
