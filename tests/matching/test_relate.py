"""Describe, shortlist, relate: whole images through `match`."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from cheap_models import Upright, correlation

from tiepoint.errors import InputError
from tiepoint.features.describe import Features, describe
from tiepoint.matching.match import MatchResult, match
from tiepoint.matching.relate import relate_pairs
from tiepoint.matching.rotation import rotation_between
from tiepoint.matching.shortlist import shortlist

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def described(pair: Pair) -> tuple[Features, Features]:
    a, b = (describe(image, "rootsift", max_keypoints=400) for image in pair)
    return a, b


def right(found: MatchResult, truth: np.ndarray) -> np.ndarray:
    mapped = cv2.perspectiveTransform(found.points[None, :, :2], truth)[0]
    return np.asarray(np.linalg.norm(mapped - found.points[:, 2:], axis=1) < 3)


def test_a_relater_finds_what_the_ratio_test_drops(described: tuple[Features, Features], truth: np.ndarray) -> None:
    """With every keypoint of b doubled no ratio passes; the shortlist is left open, and patches decide."""
    a, b = described
    doubled = replace(b, frames=np.repeat(b.frames, 2, axis=0), descriptors=np.repeat(b.descriptors, 2, axis=0))
    assert len(match(a, doubled).matches) == 0
    relater, _ = correlation()
    found = match(a, doubled, relater=relater)
    assert right(found, truth).sum() > 150
    assert right(found, truth).mean() > 0.9
    plain, related = match(a, b), match(a, b, relater=relater)
    assert right(related, truth).sum() >= right(plain, truth).sum() - 5
    assert right(related, truth).mean() >= right(plain, truth).mean()


def test_matches_are_the_most_probable_of_the_shortlist(described: tuple[Features, Features]) -> None:
    a, b = described
    relater, _ = correlation()
    steps: list[tuple[int, int]] = []
    found = match(a, b, relater=relater, candidates=3, progress=lambda *s: steps.append(s)).matches
    assert found.probability is not None
    assert found.probability.dtype == np.float32
    assert found.probability.min() >= 0.5
    listed = shortlist(a.descriptors, b.descriptors, 3)
    chances = relate_pairs(a, b, listed.indices, relater, turn=rotation_between(a, b))
    table = np.zeros((len(a), len(b)))
    table[tuple(listed.indices.T)] = chances
    rows, columns = found.indices.T
    np.testing.assert_allclose(found.probability, table[rows, columns], atol=1e-5)
    assert (table.max(axis=1)[rows] <= found.probability + 1e-5).all()
    assert (table.max(axis=0)[columns] <= found.probability + 1e-5).all()
    assert steps[:2] == [(1, 3), (2, 3)]
    assert steps[-1] == (3 + len(listed), 3 + len(listed))
    strict = match(a, b, relater=relater, candidates=3, least_probability=0.9).matches
    assert 0 < len(strict) < len(found)
    assert strict.probability is not None
    assert strict.probability.min() >= 0.9


def test_each_pair_of_places_is_kept_once_and_json_has_the_probability(described: tuple[Features, Features]) -> None:
    relater, _ = correlation()
    found = match(*described, relater=relater)
    assert len(np.unique(found.points, axis=0)) == len(found.points)
    table = found.to_json()
    assert {len(row) for row in table["points"]} == {6}
    assert [row[5] for row in table["points"]] == pytest.approx(found.matches.probability, abs=1e-4)
    assert {len(row) for row in match(*described).to_json()["points"]} == {5}


def test_upright_patches_are_related_in_the_turn_they_were_described_in(pair: Pair, truth: np.ndarray) -> None:
    relater, net = correlation()
    found = match(*pair, Upright(), max_keypoints=200, relater=relater, spectra=("sar", "opt"), candidates=2)
    assert right(found, truth).mean() > 0.9
    assert net.encoded["first"] <= len(found.b)
    assert net.encoded["second"] <= len(found.a) + 1
    assert found.matches.probability is not None
    assert np.median(found.matches.probability) > 0.9


def test_wrong_arguments_are_refused_before_the_work(pair: Pair, described: tuple[Features, Features]) -> None:
    relater, _ = correlation()
    for wrong, words in (
        ({"spectra": ("opt", "vis")}, "relates opt and sar, not opt and vis"),
        ({"candidates": 0}, "candidates is 0"),
        ({"least_probability": 1.5}, r"least_probability is 1\.5"),
    ):
        with pytest.raises(InputError, match=words):
            match("missing.png", "missing.png", relater=relater, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rootsift: describes single patches and relates no pairs"):
        match(*described, relater="rootsift")
    bare = [replace(features, image=None) for features in described]
    with pytest.raises(InputError, match="features of rootsift hold no image"):
        match(*bare, relater=relater)
