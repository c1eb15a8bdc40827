from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics import average_precision_score
from synthetic import pixel_describer, small_patch_set
from synthetic_phototour import phototour_set

from tiepoint.errors import InputError
from tiepoint.evaluation.phototour.revisited import (
    evaluate_revisited,
    image_precisions,
    matching_pairs,
)

Vectors = NDArray[np.float32]
Points = NDArray[np.int64]


def brute_force(vectors: Vectors, points: Points, released: bool) -> float:
    """The protocol read aloud: one anchor and one positive after the other."""
    distances, count = cdist(vectors, vectors), len(points)
    correct, scores = [], []
    for a in range(count):
        negative = int(np.where(points == points[a], np.inf, distances[a]).argmin())
        if released and not (count > 1000 and a < count // 128 * 128):
            negative = 0
        n = distances[a, negative]
        for positive in np.flatnonzero(points == points[a]):
            p = distances[a, positive]
            if positive != a:
                correct.append(p <= n)
                scores.append(1 - min(p, n) / max(p, n) if max(p, n) > 0 else 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no positive class: 0
        return float(average_precision_score(correct, scores)) if any(correct) else 0.0


@st.composite
def image(draw: st.DrawFn) -> tuple[Vectors, Points]:
    """An image of 3 to 30 patches; few distinct vectors make ties the rule."""
    count = draw(st.integers(3, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    points = rng.integers(0, draw(st.integers(2, 8)), count)
    points[:3] = [0, 0, 1]
    points = rng.permutation(points)
    levels = draw(st.sampled_from([2, 4, 1000]))
    return rng.integers(0, levels, (count, 3)).astype(np.float32), points


@settings(max_examples=150, deadline=None)
@given(case=image())
def test_an_image_is_the_brute_force_one(case: tuple[Vectors, Points]) -> None:
    vectors, points = case
    repaired, released = image_precisions(vectors, points, *matching_pairs(points))
    assert repaired == pytest.approx(brute_force(vectors, points, released=False), abs=1e-12)
    assert released == pytest.approx(brute_force(vectors, points, released=True), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(points=st.lists(st.integers(-3, 6), min_size=1, max_size=25))
def test_every_ordered_pair_of_a_point_comes_once(points: list[int]) -> None:
    anchors, positives = matching_pairs(np.array(points))
    expected = {(a, p) for a, x in enumerate(points) for p, y in enumerate(points) if a != p and x == y}
    assert sorted(zip(anchors.tolist(), positives.tolist(), strict=True)) == sorted(expected)


def test_the_released_code_searches_whole_blocks_of_large_images_alone() -> None:
    """1030 patches: the first 8 * 128 anchors get their nearest negative, the last 6 the image's first patch."""
    rng = np.random.default_rng(1)
    points = np.repeat(np.arange(515), 2)
    vectors = (rng.standard_normal((515, 8))[points] + 0.4 * rng.standard_normal((1030, 8))).astype(np.float32)
    pairs = matching_pairs(points)
    whole, blocks = image_precisions(vectors, points, *pairs)
    assert blocks == pytest.approx(brute_force(vectors, points, released=True), abs=1e-12)
    assert blocks != whole
    small = points < 500  # exactly 1000 patches: no search at all
    whole, first = image_precisions(vectors[small], points[small], *matching_pairs(points[small]))
    assert first - whole > 0.05  # a random negative is easier than the nearest
    assert first == pytest.approx(brute_force(vectors[small], points[small], released=True), abs=1e-12)


def test_a_tie_is_correct() -> None:
    points = np.array([0, 0, 1, 1, 2])
    assert image_precisions(np.ones((5, 4), dtype=np.float32), points, *matching_pairs(points)) == (1.0, 1.0)


def test_images_weigh_alike_and_each_patch_is_described_once(tmp_path: Path) -> None:
    data = phototour_set(tmp_path / "set", points=25, images=3, noise=150.0)
    described: list[int] = []
    steps: list[tuple[int, int]] = []

    def tripled(patches: torch.Tensor) -> torch.Tensor:
        described.append(len(patches))
        return 3 * pixel_describer(patches)

    score = evaluate_revisited(data, {"it": tripled}, progress=lambda *s: steps.append(s))["it"]
    assert described == [27, 24, 24]
    assert steps == [(27, 75), (51, 75), (75, 75)]
    vectors = 3 * pixel_describer(torch.from_numpy(data.patches.astype(np.float32) / 255)).numpy()
    rows = [np.flatnonzero(data.images == k) for k in range(3)]
    each = [[brute_force(vectors[r], data.points[r], released) for r in rows] for released in (False, True)]
    assert score.mean_ap == pytest.approx(np.mean(each[0]), abs=1e-6)
    assert score.mean_ap_released == pytest.approx(np.mean(each[1]), abs=1e-6)
    assert (score.images, score.pairs) == (3, 25 * 6)
    assert score.figures() == {"mean_ap": score.mean_ap, "mean_ap_released": score.mean_ap_released}


def test_images_without_pair_or_negative_do_not_count(tmp_path: Path) -> None:
    one = evaluate_revisited(phototour_set(tmp_path / "one", points=5, images=3), {"it": pixel_describer})["it"]
    assert (one.images, one.pairs) == (2, 24)  # image 2 holds point 2 alone
    with pytest.raises(InputError, match=r"set: no image holds two patches.*tiepoint data phototour"):
        evaluate_revisited(small_patch_set(tmp_path / "set"), {"it": pixel_describer})


def test_sets_whose_images_are_not_known_are_refused(tmp_path: Path) -> None:
    provenance = {"images": "not known, taken as one"}
    data = phototour_set(tmp_path / "set", images=1, provenance=provenance)
    with pytest.raises(InputError, match=r"set: was built without interest\.txt"):
        evaluate_revisited(data, {"it": pixel_describer})


def test_one_descriptor_for_all_patches_is_refused_and_constant_images_alone_are_not(tmp_path: Path) -> None:
    data = phototour_set(tmp_path / "set", points=9)
    with pytest.raises(InputError, match="collapsed: gives all patches one descriptor"):
        evaluate_revisited(data, {"collapsed": lambda p: torch.ones(len(p), 4)})
    seen: list[int] = []

    def collapsing(patches: torch.Tensor) -> torch.Tensor:
        seen.append(len(patches))
        return pixel_describer(patches) * (len(seen) == 1)

    assert evaluate_revisited(data, {"it": collapsing})["it"].mean_ap > 2 / 3  # two images of three are all ties


def test_broken_descriptors_are_named(tmp_path: Path) -> None:
    data = phototour_set(tmp_path / "set", points=6)
    with pytest.raises(InputError, match="broken: its descriptors hold NaN"):
        evaluate_revisited(data, {"broken": lambda p: torch.full((len(p), 4), torch.nan)})
