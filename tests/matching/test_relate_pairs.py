"""Probabilities of pairs of keypoints: patches, spectra, memory, and each patch encoded once."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from cheap_models import Correlation, correlation
from torch import Tensor
from views import of_features

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.features.describe import Features
from tiepoint.features.frames import upright_frames
from tiepoint.features.view import View
from tiepoint.matching.relate import relate_pairs, relate_places
from tiepoint.models.relater import LearnedRelater

Pair = tuple[np.ndarray, np.ndarray]


def features(image: np.ndarray, points: np.ndarray, mask: np.ndarray | None = None) -> View:
    count = len(points)
    empty = np.zeros((count, 4), np.float32), np.ones(count, np.float32)
    return of_features(image, Features(upright_frames(points, 64), *empty, image.shape[::-1], "none"), mask)


def drawn(count: int, seed: int = 0) -> np.ndarray:
    """Whole pixels of the middle of `pair`'s images."""
    return np.random.default_rng(seed).integers((60, 60), (420, 300), (count, 2)).astype(np.float64)


def cut(image: np.ndarray, points: np.ndarray) -> Tensor:
    grey = image.astype(np.float32) / 255
    parts = [grey[y - 32 : y + 32, x - 32 : x + 32] for x, y in points.astype(int)]
    return torch.from_numpy(np.stack(parts)).unsqueeze(1)


def test_pairs_are_those_of_their_patches_and_each_patch_is_encoded_once(pair: Pair) -> None:
    relater, net = correlation()
    a, b = drawn(12), drawn(9, 1)
    pairs = np.array([(i, j) for i in range(12) for j in range(9) if (i + j) % 3])
    expected = relater.probabilities(cut(pair[0], a)[pairs[:, 0]], cut(pair[1], b)[pairs[:, 1]]).numpy()
    net.encoded.update(first=0, second=0)
    steps: list[tuple[int, int]] = []
    found = relate_pairs(
        features(pair[0], a), features(pair[1], b), pairs, relater, progress=lambda *s: steps.append(s)
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert net.encoded == {"first": 12 + 1, "second": 9}  # one to see how large codes are
    assert steps == [(len(pairs), len(pairs))]


def test_little_memory_changes_nothing_but_the_time(pair: Pair) -> None:
    relater, net = correlation()
    a, b = features(pair[0], drawn(12)), features(pair[1], drawn(9, 1))
    pairs = np.array([(i, j) for i in range(12) for j in range(9)])
    whole = relate_pairs(a, b, pairs, relater)
    net.encoded.update(first=0, second=0)
    np.testing.assert_allclose(relate_pairs(a, b, pairs, relater, memory=1), whole, atol=1e-6)
    assert net.encoded["second"] == len(pairs)
    a_few = relate_pairs(a, b, pairs, relater, memory=8 * (256 + 1) * 4)
    np.testing.assert_allclose(a_few, whole, atol=1e-6)


def test_the_spectra_may_come_in_either_order(pair: Pair) -> None:
    relater, _ = correlation(brightness=5.0)
    a, b = features(pair[0], drawn(8)), features(pair[0] // 2, drawn(8))
    pairs = np.array([(i, j) for i in range(8) for j in range(8)])
    there, back = relate_pairs(a, b, pairs, relater), relate_pairs(b, a, pairs[:, ::-1], relater, ("sar", "opt"))
    np.testing.assert_allclose(there, back, atol=1e-6)
    assert (there > relate_pairs(a, b, pairs, relater, ("sar", "opt")) + 1e-3).any()  # the darker one second
    as_list = relate_pairs(a, b, pairs, relater, ["opt", "sar"])  # type: ignore[arg-type]
    np.testing.assert_array_equal(as_list, there)
    with pytest.raises(InputError, match="correlation: relates opt and sar, not opt and vis"):
        relate_pairs(a, b, pairs, relater, ("opt", "vis"))


def test_places_and_pairs_are_cut_alike(pair: Pair) -> None:
    relater, _ = correlation()
    places = drawn(10)
    rows = np.stack([np.arange(10)] * 2, axis=1)
    by_places = relate_places(*pair, np.eye(3), places, relater)
    by_pairs = relate_pairs(features(pair[0], places), features(pair[1], places), rows, relater)
    np.testing.assert_allclose(by_pairs, by_places, atol=1e-5)
    turn = np.array([[0.0, 1.1], [-1.1, 0.0]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = [20, 500]
    seen = cv2.warpPerspective(pair[0], matrix, (480, 560))
    there = cv2.perspectiveTransform(places[None], matrix)[0]
    turned = relate_pairs(features(pair[0], places), features(seen, there), rows, relater, rotation=turn)
    assert turned.min() > 0.97  # of at most 0.992
    assert relate_pairs(features(pair[0], places), features(seen, there), rows, relater).max() < 0.5


def test_a_relater_of_small_input_sees_the_whole_patch(pair: Pair) -> None:
    """Such networks are trained on patches of 64 px, reduced."""
    relater = LearnedRelater(nets.create("pnnet"), "pn")
    assert relater.input_size == 32
    a, b = drawn(5), drawn(5, 1)
    rows = np.stack([np.arange(5)] * 2, axis=1)
    expected = relater.probabilities(cut(pair[0], a), cut(pair[1], b)).numpy()
    found = relate_pairs(features(pair[0], a), features(pair[1], b), rows, relater)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(
        relate_places(*pair, np.eye(3), a, relater),
        relater.probabilities(cut(pair[0], a), cut(pair[1], a)).numpy(),
        atol=1e-5,
    )


def test_values_of_deep_images_are_scaled_by_what_is_valid(pair: Pair) -> None:
    """A net that is not blind to brightness sees the same in uint16."""
    relater, _ = correlation(brightness=5.0)
    places = drawn(6)
    rows = np.stack([np.arange(6)] * 2, axis=1)
    deep = pair[0].astype(np.uint16) * 100 + 3000
    marked, mask = deep.copy(), np.ones(deep.shape, dtype=bool)
    marked[:20], mask[:20] = 65535, False
    plain = relate_pairs(features(deep, places), features(pair[1], places), rows, relater)
    masked = features(marked, places, mask)
    np.testing.assert_allclose(relate_pairs(masked, features(pair[1], places), rows, relater), plain, atol=0.02)


def test_no_pairs_and_no_images(pair: Pair) -> None:
    relater, _ = correlation()
    a = features(pair[0], drawn(3))
    assert relate_pairs(a, a, np.empty((0, 2), np.int64), relater).shape == (0,)
    with pytest.raises(InputError, match="image: only its features are at hand"):
        relate_pairs(a, replace(a, raster=None), np.zeros((1, 2), np.int64), relater)


def test_networks_that_mix_both_patches_first_are_related_pair_by_pair(pair: Pair) -> None:
    relater = LearnedRelater(nets.create("2channel"), "2ch")
    a, b = drawn(4), drawn(3, 1)
    pairs = np.array([(i, j) for i in range(4) for j in range(3)])
    expected = relater.probabilities(cut(pair[0], a)[pairs[:, 0]], cut(pair[1], b)[pairs[:, 1]]).numpy()
    found = relate_pairs(features(pair[0], a), features(pair[1], b), pairs, relater)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_network_of_these_tests_counts() -> None:
    relater, net = correlation()
    assert isinstance(net, Correlation)
    relater.encode(torch.rand(3, 1, 64, 64), "sar")
    assert net.encoded == {"first": 0, "second": 3}
