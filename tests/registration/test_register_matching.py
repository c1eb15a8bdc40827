"""How `register` makes its keypoint matches: by a relater's shortlist, by turns, by the ratio to the first apart."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from cheap_models import Upright, correlation
from seen_scene import seen

from tiepoint.errors import InputError
from tiepoint.geometry.robust import corner_error
from tiepoint.matching.match import match
from tiepoint.registration.register import register

Pair = tuple[np.ndarray, np.ndarray]
QUICK = {"max_keypoints": 400, "global_search": False, "refine": False}


def test_a_relater_makes_the_matches_and_weighs_the_fit(pair: Pair, truth: np.ndarray) -> None:
    relater, net = correlation()
    relater_again, _ = correlation()
    found = register(*pair, "rootsift", relater=relater, top_k=3, **QUICK)
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, *pair[0].shape[::-1]) < 1
    assert found.probabilities is not None
    matches = match(*pair, "rootsift", relater=relater_again, top_k=3, max_keypoints=400)
    np.testing.assert_array_equal(matches.points, found.matches)
    assert matches.rows.probability is not None
    np.testing.assert_allclose(found.probabilities, matches.rows.probability[found.inliers], rtol=1e-6)
    assert net.encoded["first"] <= 400  # once each, and not again by the places


def test_an_image_upside_down_is_found_by_turns(texture: Callable[..., np.ndarray]) -> None:
    image = texture(7, 320, 320)
    around = np.asarray(cv2.rotate(image, cv2.ROTATE_180))
    truth = np.array([[-1.0, 0, 319], [0, -1, 319], [0, 0, 1]])
    assert not register(image, around, Upright(), **QUICK).accepted
    found = register(image, around, Upright(), rotations=4, **QUICK)
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 320, 320) < 1


def test_two_views_take_a_relater_for_their_matches_alone(pair: Pair) -> None:
    relater, net = correlation()
    with pytest.raises(InputError, match="give top_k, or no relater"):
        register(*pair, "rootsift", model="fundamental", relater=relater, **QUICK)
    found = register(*pair, "rootsift", model="fundamental", relater=relater, top_k=2, **QUICK)
    assert 0 < len(found.matches) < 400
    assert net.encoded["first"] > 100


def test_top_k_needs_a_relater() -> None:
    with pytest.raises(InputError, match="top_k is 5: it is for a relater: name one"):
        register(*seen(), top_k=5)


def test_the_ratio_rule_is_passed_on(pair: Pair) -> None:
    second, apart = (register(*pair, "rootsift", ratio_rule=rule, **QUICK) for rule in ("snn", "fginn"))
    assert len(apart.matches) >= len(second.matches) > 0
