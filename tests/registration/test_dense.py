"""`register` by windows of a grid: its default, and when keypoints take their place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from dense_scene import moved, scene

import tiepoint
from tiepoint.errors import InputError
from tiepoint.geometry.robust import corner_error
from tiepoint.registration import proposals
from tiepoint.registration.large import read_for_pictures
from tiepoint.registration.register import register


@pytest.fixture(scope="module")
def registration() -> tiepoint.Registration:
    """A scene and its negative, turned by 70 degrees."""
    b, _ = moved(255 - scene(), 70.0)
    return register(scene(), b)


def test_images_of_any_direction_are_registered(registration: tiepoint.Registration) -> None:
    truth = moved(scene(), 70.0)[1]
    assert registration.accepted, registration.reasons
    assert registration.matrix is not None
    assert corner_error(registration.matrix, truth, 360, 300) < 3
    assert registration.describer == "sdgmnet-any"
    assert registration.evidence.recognised is not None
    assert registration.evidence.recognised > 0.5
    assert registration.evidence.margin is not None
    assert registration.evidence.margin > 0.1


def test_tie_points_are_those_of_structure_not_windows(registration: tiepoint.Registration) -> None:
    truth = moved(scene(), 70.0)[1]
    mapped = cv2.perspectiveTransform(registration.tie_points[:, :2].reshape(-1, 1, 2), truth).reshape(-1, 2)
    assert np.median(np.linalg.norm(mapped - registration.tie_points[:, 2:], axis=1)) < 1
    assert len(registration.matches) > len(registration.tie_points)


def test_what_windows_say_is_kept(registration: tiepoint.Registration, tmp_path: Path) -> None:
    registration.save(tmp_path / "r.json")
    again = tiepoint.Registration.load(tmp_path / "r.json")
    assert again.evidence == registration.evidence
    assert again.agreement is not None
    assert registration.agreement is not None
    assert registration.evidence.asked == len(registration.agreement.points)
    assert again.agreement.width == registration.agreement.width
    for name in ("points", "similarity", "recognised"):
        kept, found = getattr(again.agreement, name), getattr(registration.agreement, name)
        assert kept.dtype == found.dtype
        np.testing.assert_array_equal(kept, found)
    stated = registration.to_json()["evidence"]
    assert stated["recognised"] == pytest.approx(registration.evidence.recognised, abs=1e-4)


def test_other_places_are_refused() -> None:
    refused = register(scene(0), scene(1))
    assert not refused.accepted
    assert refused.confidence < 0.3
    assert any("of the window matches agree" in reason for reason in refused.reasons)
    assert refused.agreement is not None
    assert refused.agreement.recognised.mean() < 0.2


def test_a_mirrored_image_is_refused() -> None:
    assert not register(scene(), np.ascontiguousarray(scene()[:, ::-1])).accepted


def test_a_describer_by_name_keeps_to_keypoints() -> None:
    b, _ = moved(scene(), 5.0)
    named = register(scene(), b, "rootsift")
    assert named.describer == "rootsift"
    assert named.evidence.recognised is None
    assert named.agreement is None
    dense = register(scene(), b, "sdgmnet-visnir", detector="dense")
    assert dense.accepted
    assert dense.evidence.recognised is not None


@pytest.mark.parametrize(
    ("size", "options"),
    [(100, {}), (300, {"model": "fundamental"}), (300, {"detector": "sift"}), (300, {"affine": True})],
)
def test_keypoints_take_the_place_of_windows(size: int, options: dict[str, object]) -> None:
    image = scene(height=size, width=size)
    found = register(image, moved(image, 4.0)[0], **options)
    assert found.describer == "sdgmnet"
    assert found.evidence.recognised is None


def test_small_images_are_judged_by_their_windows() -> None:
    """Under 192 px there is no room to compare structure."""
    image = scene(height=170, width=180)
    b, truth = moved(image, 60.0)
    found = register(image, b)
    assert found.accepted, found.reasons
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 180, 170) < 8  # windows alone are good to a few px
    assert not register(image, scene(5, 170, 180)).accepted


def test_keypoints_propose_where_windows_are_not_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "are_clear", lambda inliers, matches: False)
    sources = []
    align_all = proposals.align_all

    def noted(task: object, given: list[proposals.Proposal]) -> object:
        sources.extend(proposal.source for proposal in given)
        return align_all(task, given)  # type: ignore[arg-type]

    monkeypatch.setattr("tiepoint.registration.register.align_all", noted)
    assert register(scene(), moved(scene(), 5.0)[0]).accepted
    assert sources == ["matches", "structure", "keypoints"]


def test_where_windows_are_clear_nothing_else_proposes(monkeypatch: pytest.MonkeyPatch) -> None:
    def unasked(*_: object, **__: object) -> None:
        raise AssertionError("the global search was asked")

    monkeypatch.setattr(proposals, "correlate", unasked)
    assert register(scene(), moved(scene(), 5.0)[0]).accepted


def test_large_files_take_the_same_way(tmp_path: Path) -> None:
    image = scene(height=700, width=800)
    b, truth = moved(image, 40.0)
    for name, pixels in (("a.png", image), ("b.png", b.pixels)):
        cv2.imwrite(str(tmp_path / name), pixels)
    found = register(tmp_path / "a.png", tmp_path / "b.png", large="always", overview=512)
    assert found.accepted, found.reasons
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 800, 700) < 1
    assert found.a.factor == found.b.factor == 2
    assert found.evidence.recognised is not None
    assert found.agreement is not None
    assert found.agreement.spacing == 48
    assert found.agreement.points.max() > 512
    _, _, shown = read_for_pictures(found)
    assert shown.agreement is not None
    np.testing.assert_allclose(2 * shown.agreement.points + 0.5, found.agreement.points)
    cv2.imwrite(str(tmp_path / "b.png"), scene(1, 700, 800))
    refused = register(tmp_path / "a.png", tmp_path / "b.png", large="always", overview=512)
    assert not refused.accepted
    assert refused.agreement is not None
    assert refused.agreement.spacing == 48


def test_features_and_windows_do_not_mix() -> None:
    features = tiepoint.describe(scene())
    with pytest.raises(InputError, match="detector dense: it needs both images"):
        register(features, scene(), "sdgmnet-visnir", detector="dense")
    with pytest.raises(InputError, match="detector dense describes pairs of images"):
        tiepoint.describe(scene(), detector="dense")
    with pytest.raises(InputError, match="has no dense form"):
        register(scene(), scene(), "rootsift", detector="dense")


def test_matches_may_be_those_of_windows() -> None:
    found = tiepoint.match(scene(), moved(scene(), 100.0)[0], "auto")
    assert found.a.describer == "sdgmnet-any"
    assert len(found) > 300
