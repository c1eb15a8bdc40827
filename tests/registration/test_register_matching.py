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
from tiepoint.registration.register import register

Pair = tuple[np.ndarray, np.ndarray]
QUICK = {"max_keypoints": 400, "structure": False, "refine": False}


def test_a_relater_makes_the_matches_and_weighs_the_fit(pair: Pair, truth: np.ndarray) -> None:
    relater, net = correlation()
    found = register(*pair, "rootsift", relater=relater, candidates=3, **QUICK)
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, *pair[0].shape[::-1]) < 1
    assert found.matches.matches.probability is not None
    assert found.probabilities is not None
    np.testing.assert_allclose(found.probabilities, found.matches.matches.probability[found.inliers], rtol=1e-6)
    assert net.encoded["vis"] <= 400  # once each, and not again by the places


def test_an_image_upside_down_is_found_by_turns(texture: Callable[..., np.ndarray]) -> None:
    image = texture(7, 320, 320)
    around = np.asarray(cv2.rotate(image, cv2.ROTATE_180))
    truth = np.array([[-1.0, 0, 319], [0, -1, 319], [0, 0, 1]])
    assert not register(image, around, Upright(), **QUICK).accepted
    found = register(image, around, Upright(), rotations=4, **QUICK)
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 320, 320) < 1


def test_two_views_take_a_relater_for_their_matches_alone(pair: Pair) -> None:
    relater, _ = correlation()
    with pytest.raises(InputError, match="give candidates, or no relater"):
        register(*pair, "rootsift", model="fundamental", relater=relater, **QUICK)
    found = register(*pair, "rootsift", model="fundamental", relater=relater, candidates=2, **QUICK)
    assert found.matches.matches.probability is not None


def test_candidates_need_a_relater() -> None:
    with pytest.raises(InputError, match="candidates is 5: they are for a relater: name one"):
        register(*seen(), candidates=5)


def test_the_ratio_rule_is_passed_on(pair: Pair) -> None:
    second, apart = (register(*pair, "rootsift", ratio_rule=rule, **QUICK) for rule in ("second", "apart"))
    assert len(apart.matches.matches) >= len(second.matches.matches) > 0
