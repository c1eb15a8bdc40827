"""Describe, shortlist, relate: whole images through `match`."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from cheap_models import Upright, correlation
from views import described as view

from tiepoint.errors import InputError
from tiepoint.features.view import View
from tiepoint.matching.match import Matches, match
from tiepoint.matching.relate import relate_pairs
from tiepoint.matching.rotation import rotation_between
from tiepoint.matching.shortlist import shortlist

Pair = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def described(pair: Pair) -> tuple[View, View]:
    a, b = (view(image, max_keypoints=400) for image in pair)
    return a, b


def right(found: Matches, truth: np.ndarray) -> np.ndarray:
    mapped = cv2.perspectiveTransform(found.points[None, :, :2], truth)[0]
    return np.asarray(np.linalg.norm(mapped - found.points[:, 2:], axis=1) < 3)


def test_a_relater_finds_what_the_ratio_test_drops(described: tuple[View, View], truth: np.ndarray) -> None:
    """With every keypoint of b doubled no ratio passes; the shortlist is left open, and patches decide."""
    a, b = described
    twice = (np.repeat(each, 2, axis=0) for each in (b.known.frames, b.known.descriptors))
    doubled = replace(b, features=replace(b.known, **dict(zip(("frames", "descriptors"), twice, strict=True))))
    assert len(match(a, doubled)) == 0
    relater, _ = correlation()
    found = match(a, doubled, relater=relater)
    assert right(found, truth).sum() > 150
    assert right(found, truth).mean() > 0.9
    plain, related = match(a, b), match(a, b, relater=relater)
    assert right(related, truth).sum() >= right(plain, truth).sum() - 5
    assert right(related, truth).mean() >= right(plain, truth).mean()


def test_matches_are_the_most_probable_of_the_shortlist(described: tuple[View, View]) -> None:
    a, b = described
    relater, _ = correlation()
    steps: list[tuple[int, int]] = []
    found = match(a, b, relater=relater, top_k=3, progress=lambda *s: steps.append(s)).rows
    assert found.probability is not None
    assert found.probability.dtype == np.float32
    assert found.probability.min() >= 0.5
    listed = shortlist(a.known.descriptors, b.known.descriptors, 3)
    chances = relate_pairs(a, b, listed.indices, relater, rotation=rotation_between(a, b, 0.9))
    table = np.zeros((len(a.known), len(b.known)))
    table[tuple(listed.indices.T)] = chances
    rows, columns = found.indices.T
    np.testing.assert_allclose(found.probability, table[rows, columns], atol=1e-5)
    assert (table.max(axis=1)[rows] <= found.probability + 1e-5).all()
    assert (table.max(axis=0)[columns] <= found.probability + 1e-5).all()
    assert steps[:2] == [(1, 3), (2, 3)]
    assert steps[-1] == (3 + len(listed), 3 + len(listed))
    strict = match(a, b, relater=relater, top_k=3, min_probability=0.9).rows
    assert 0 < len(strict) < len(found)
    assert strict.probability is not None
    assert strict.probability.min() >= 0.9


def test_each_pair_of_places_is_kept_once_and_json_has_the_probability(described: tuple[View, View]) -> None:
    relater, _ = correlation()
    found = match(*described, relater=relater)
    assert len(np.unique(found.points, axis=0)) == len(found.points)
    table = found.to_json()
    assert {len(row) for row in table["points"]} == {6}
    assert [row[5] for row in table["points"]] == pytest.approx(found.rows.probability, abs=1e-4)
    assert {len(row) for row in match(*described).to_json()["points"]} == {5}


def test_upright_patches_are_related_in_the_turn_they_were_described_in(pair: Pair, truth: np.ndarray) -> None:
    relater, net = correlation()
    found = match(*pair, Upright(), max_keypoints=200, relater=relater, spectra=("sar", "opt"), top_k=2)
    assert right(found, truth).mean() > 0.9
    assert net.encoded["first"] <= len(found.b)
    assert net.encoded["second"] <= len(found.a) + 1
    assert found.rows.probability is not None
    assert np.median(found.rows.probability) > 0.9


def test_wrong_arguments_are_refused_before_the_work(pair: Pair, described: tuple[View, View]) -> None:
    relater, _ = correlation()
    for wrong, words in (
        ({"spectra": ("opt", "vis")}, "relates opt and sar, not opt and vis"),
        ({"top_k": 0}, "top_k is 0"),
        ({"min_probability": 1.5}, r"min_probability is 1\.5"),
    ):
        with pytest.raises(InputError, match=words):
            match("missing.png", "missing.png", relater=relater, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="rootsift: is a describer of single patches: give a relater"):
        match(*described, relater="rootsift")
    bare = [replace(described_view, raster=None) for described_view in described]
    with pytest.raises(InputError, match="only its features are at hand"):
        match(*bare, relater=relater)
