from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from cheap_models import Upright
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_memory import bytes_of

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.features.describe import describe
from tiepoint.matching.match import match, mutual_nearest
from tiepoint.models.describer import LearnedDescriber


def unit(count: int, seed: int, dimension: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def alike(count: int, seed: int = 0, noise: float = 0.08) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of which the second holds the first's vectors with noise, in another order, and as many others."""
    a = unit(count, seed)
    b = np.vstack([a + np.random.default_rng(seed + 1).normal(scale=noise, size=a.shape), unit(count, seed + 2)])
    b = b[np.random.default_rng(seed + 3).permutation(len(b))]
    return a, (b / np.linalg.norm(b, axis=1, keepdims=True)).astype(np.float32)


def brute_force(a: np.ndarray, b: np.ndarray, ratio: float) -> set[tuple[int, int]]:
    distances = np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)
    pairs = set()
    for i in range(len(a)):
        j = int(distances[i].argmin())
        if distances[:, j].argmin() != i:
            continue
        others = [np.delete(distances[i], j), np.delete(distances[:, j], i)]
        ratios = [distances[i, j] / o.min() if len(o) else 0.0 for o in others]
        if max(ratios) < ratio:
            pairs.add((i, j))
    return pairs


def as_set(indices: np.ndarray) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in indices}


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 1.0), st.integers(1, 9), st.integers(0, 10_000))
def test_agrees_with_brute_force(n: int, k: int, ratio: float, chunk: int, seed: int) -> None:
    a, b = unit(n, seed, 4), unit(k, seed + 1, 4)
    found = mutual_nearest(a, b, ratio, chunk)
    expected, unsure = brute_force(a, b, ratio - 1e-5), brute_force(a, b, ratio + 1e-5)
    assert expected <= as_set(found.indices) <= unsure


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 1.0), st.integers(1, 9), st.integers(0, 10_000))
def test_vectors_of_any_length_are_compared_by_l2(n: int, k: int, ratio: float, chunk: int, seed: int) -> None:
    """As TFeat's: with inner products the longest vector would be everybody's nearest."""
    random = np.random.default_rng(seed)
    a, b = (np.tanh(random.normal(0.5, 1.5, (count, 4))).astype(np.float32) for count in (n, k))
    found = mutual_nearest(a, b, ratio, chunk)
    assert brute_force(a, b, ratio - 1e-4) <= as_set(found.indices) <= brute_force(a, b, ratio + 1e-4)
    distances = np.linalg.norm(a[found.indices[:, 0]] - b[found.indices[:, 1]], axis=1)
    np.testing.assert_allclose(found.similarity, -(distances**2) / 2, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.floats(0.5, 1.0), st.integers(0, 10_000))
def test_properties(count: int, ratio: float, seed: int) -> None:
    a, b = alike(count, seed)
    found, back = mutual_nearest(a, b, ratio), mutual_nearest(b, a, ratio)
    assert as_set(found.indices) == as_set(back.indices[:, ::-1])
    assert len(set(found.indices[:, 0].tolist())) == len(set(found.indices[:, 1].tolist())) == len(found)
    assert (found.ratio < ratio).all()
    products = (a[found.indices[:, 0]] * b[found.indices[:, 1]]).sum(axis=1)
    np.testing.assert_allclose(found.similarity, products, atol=1e-6)
    assert as_set(mutual_nearest(a, b, ratio * 0.8).indices) <= as_set(found.indices)


def test_agrees_with_opencv_cross_check() -> None:
    a, b = alike(700)
    theirs = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True).match(a, b)
    assert as_set(mutual_nearest(a, b, 1.0).indices) == {(m.queryIdx, m.trainIdx) for m in theirs}


def test_agrees_with_opencv_ratio_test_both_ways() -> None:
    a, b = alike(700)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    there = {(m.queryIdx, m.trainIdx) for m, n in matcher.knnMatch(a, b, k=2) if m.distance < 0.8 * n.distance}
    back = {(m.trainIdx, m.queryIdx) for m, n in matcher.knnMatch(b, a, k=2) if m.distance < 0.8 * n.distance}
    found = mutual_nearest(a, b, 0.8)
    assert as_set(found.indices) == there & back
    assert len(found) > 500


def test_a_match_among_duplicates_is_ambiguous() -> None:
    a = unit(5, 0)
    assert len(mutual_nearest(a, np.vstack([a, a]), 0.9)) == 0
    assert len(mutual_nearest(a, a, 0.9)) == 5


def test_a_single_candidate_passes_the_ratio_test() -> None:
    found = mutual_nearest(unit(1, 0), unit(1, 1), 0.5)
    assert as_set(found.indices) == {(0, 0)}
    assert found.ratio.tolist() == [0]


def test_empty_sets_give_no_matches() -> None:
    found = mutual_nearest(unit(0, 0), unit(5, 1))
    assert found.indices.shape == (0, 2)
    assert found.indices.dtype == np.int64
    assert found.similarity.dtype == found.ratio.dtype == np.float32


def test_torch_and_half_precision_are_taken() -> None:
    a, b = alike(200)
    expected = as_set(mutual_nearest(a, b, 0.8).indices)
    assert as_set(mutual_nearest(torch.from_numpy(a), torch.from_numpy(b), 0.8).indices) == expected
    half = as_set(mutual_nearest(a.astype(np.float16), b.astype(np.float16), 0.8).indices)
    assert len(half ^ expected) <= 2


@pytest.mark.parametrize(
    ("a", "b", "ratio", "words"),
    [
        (unit(3, 0), unit(3, 0, 8), 0.9, "one describer for both"),
        (np.full((2, 16), np.inf, dtype=np.float32), unit(3, 0), 0.9, "descriptors a are not finite"),
        (unit(3, 0), np.full((2, 16), np.nan, dtype=np.float32), 0.9, "descriptors b are not finite"),
        (unit(3, 0)[0], unit(3, 0), 0.9, r"give \(N, D\)"),
        (unit(3, 0), unit(3, 0), 0.0, "ratio is 0"),
        (unit(3, 0), unit(3, 0), 1.2, "ratio is 1.2"),
    ],
)
def test_wrong_input_is_refused(a: np.ndarray, b: np.ndarray, ratio: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        mutual_nearest(a, b, ratio)


@pytest.mark.slow
def test_ten_thousand_by_ten_thousand_fit_in_150_megabytes() -> None:
    assert bytes_of("mutual_nearest", "len(result) == 10000") < 150e6


def test_images_match_by_their_geometry(pair: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> None:
    steps: list[tuple[int, int]] = []
    found = match(*pair, "rootsift", progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    mapped = cv2.perspectiveTransform(found.points[None, :, :2], truth)[0]
    right = np.linalg.norm(mapped - found.points[:, 2:], axis=1) < 3
    assert len(right) > 300
    assert right.mean() > 0.85
    assert len(np.unique(found.points, axis=0)) == len(found.points)
    table = found.to_json()
    assert table["matches"] == len(table["points"]) == len(found)
    assert len(table["points"][0]) == 5


def test_a_describer_without_unit_length_matches_by_geometry(
    pair: tuple[np.ndarray, np.ndarray], truth: np.ndarray
) -> None:
    """Fresh weights of TFeat are enough for a texture."""
    torch.manual_seed(0)
    found = match(*pair, LearnedDescriber(nets.create("tfeat"), "tfeat"), max_keypoints=400)
    mapped = cv2.perspectiveTransform(found.points[None, :, :2], truth)[0]
    right = np.linalg.norm(mapped - found.points[:, 2:], axis=1) < 3
    assert len(right) > 50
    assert right.mean() > 0.7


def test_features_are_matched_as_they_are(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (describe(image, "sift", max_keypoints=300) for image in pair)
    by_features, by_images = match(a, b), match(*pair, "sift", max_keypoints=300)
    np.testing.assert_array_equal(by_features.points, by_images.points)
    with pytest.raises(InputError, match="one describer for both"):
        match(a, describe(pair[1], "rootsift", max_keypoints=300))


def test_errors_name_the_image_at_fault(pair: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(InputError, match="image b: all pixels are equal"):
        match(pair[0], np.zeros((99, 99), dtype=np.uint8), "sift")


def test_a_neighbour_beside_the_nearest_does_not_count_in_the_ratio() -> None:
    """Two keypoints of one blob are almost alike; the next place is far from both."""
    turns = [np.array([[np.cos(t), np.sin(t)]], dtype=np.float32) for t in (0.0, 0.1, 0.12, 1.2)]
    a, b = turns[0], np.vstack(turns[1:])
    beside = np.array([[5.0, 5], [6, 5], [90, 40]])
    assert len(mutual_nearest(a, b, 0.8)) == 0
    found = mutual_nearest(a, b, 0.8, places=(np.zeros((1, 2)), beside))
    assert found.indices.tolist() == [[0, 0]]
    distances = np.linalg.norm(a - b, axis=1)
    assert found.ratio[0] == pytest.approx(distances[0] / distances[2], rel=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.floats(0.5, 0.99))
@settings(max_examples=30, deadline=None)
def test_the_ratio_to_the_first_inconsistent_one_is_that_of_a_loop(seed: int, n: int, k: int, ratio: float) -> None:
    random = np.random.default_rng(seed)
    a, b = (random.normal(size=(count, 4)).astype(np.float32) for count in (n, k))
    places = random.uniform(0, 25, (n, 2)), random.uniform(0, 25, (k, 2))
    distance = np.linalg.norm(a[:, None].astype(np.float64) - b, axis=2)

    def quotient(row: np.ndarray, points: np.ndarray) -> float:
        order = np.argsort(row, kind="stable")[:8]
        far = [j for j in order[1:] if np.linalg.norm(points[j] - points[order[0]]) >= 10]
        second = far[0] if far else order[-1]
        return 0.0 if len(order) == 1 else row[order[0]] / row[second]

    expected = set()
    for i, j in enumerate(distance.argmin(axis=1)):
        if distance[:, j].argmin() == i:
            worst = max(quotient(distance[i], places[1]), quotient(distance[:, j], places[0]))
            if abs(worst - ratio) < 1e-4:
                return  # rounding decides
            if worst < ratio:
                expected.add((i, int(j)))
    assert as_set(mutual_nearest(a, b, ratio, places=places).indices) == expected


def test_patches_of_one_width_follow_the_turn_of_the_images(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """Most of such patches would not survive 18 degrees."""
    image = pair[0]
    turn = np.deg2rad(18.0)
    centre = (np.array(image.shape[::-1]) - 1) / 2
    linear = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    truth = np.column_stack([linear, centre - linear @ centre])
    turned = cv2.warpAffine(image, truth, image.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    found = match(image, turned, Upright(), max_keypoints=400)
    assert np.allclose(found.a.frames[:, :, :2], 4 * np.eye(2))
    np.testing.assert_allclose(found.b.frames[:, :, :2], np.broadcast_to(4 * linear, (len(found.b), 2, 2)), atol=1e-6)
    expected = found.points[:, :2] @ linear.T + truth[:, 2]
    correct = np.linalg.norm(found.points[:, 2:] - expected, axis=1) < 2
    assert correct.mean() > 0.8
    bare = [describe(image, Upright(), max_keypoints=400) for image in (image, turned)]
    unturned = match(*bare)
    right = np.linalg.norm(unturned.points[:, 2:] - (unturned.points[:, :2] @ linear.T + truth[:, 2]), axis=1) < 2
    assert right.sum() < 0.7 * correct.sum()
