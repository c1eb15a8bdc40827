from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiepoint
from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.features.describe import describe
from tiepoint.features.view import View
from tiepoint.geometry.robust import apply, corner_error
from tiepoint.geometry.select_model import select_model
from tiepoint.images.pixels import to_unit
from tiepoint.matching.relate import relate_places
from tiepoint.models.describer import LearnedDescriber
from tiepoint.models.relater import LearnedRelater
from tiepoint.registration.register import register
from tiepoint.registration.result import Registration
from tiepoint.registration.verdict import confidence

Pair = tuple[np.ndarray, np.ndarray]
Texture = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def found(pair: Pair) -> Registration:
    return register(*pair, "rootsift")


def test_a_known_homography_is_found_to_half_a_pixel(found: Registration, truth: np.ndarray) -> None:
    assert found.accepted
    assert found.reasons == ()
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 480, 360) < 0.5
    assert found.rms is not None
    assert found.rms < 1
    assert found.confidence > 0.9


def test_the_parts_agree_with_each_other(found: Registration) -> None:
    count = int(found.inliers.sum())
    assert found.inliers.shape == found.scores.shape == (len(found.points),)
    assert found.tie_points.shape == (count, 4)
    assert found.residuals.shape == (count,)
    assert found.residuals.max() <= 3.0
    assert found.evidence.matches == count > found.evidence.places > 50
    assert found.confidence == pytest.approx(confidence(found.evidence))


def test_json_is_finite_and_complete(found: Registration) -> None:
    table = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert table["accepted"] is True
    assert len(table["tie_points"]) == len(table["residuals"]) == table["inliers"]
    np.testing.assert_allclose(table["matrix"], found.matrix)


def test_register_is_public_and_repeats_itself(pair: Pair, found: Registration) -> None:
    again = tiepoint.register(*pair, describer="rootsift")
    assert again.to_json() == found.to_json()


def test_the_way_back_is_the_inverse(pair: Pair, truth: np.ndarray) -> None:
    back = register(pair[1], pair[0], "rootsift")
    assert back.matrix is not None
    assert corner_error(np.linalg.inv(back.matrix), truth, 480, 360) < 1.0


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_register(pair: Pair, truth: np.ndarray, dtype: type) -> None:
    deep = [(image.astype(np.float64) * 8 + 7000).astype(dtype) for image in pair]
    found = register(deep[0], pair[1], "rootsift")
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 480, 360) < 0.5


@pytest.mark.slow
def test_paths_views_and_arrays_give_the_same(files: Path, pair: Pair, found: Registration) -> None:
    by_path = register(files / "a.png", files / "b.png", "rootsift")
    views = [View.of(image, "image") for image in pair]
    described = [replace(view, features=describe(view.raster, "rootsift")) for view in views]
    by_views, by_described = register(*views, "rootsift"), register(*described)
    assert by_path.to_json() == by_views.to_json() == by_described.to_json() == found.to_json()
    assert by_path.a.source == files / "a.png"
    assert by_views.a.source is None


def test_a_learned_describer_registers(pair: Pair) -> None:
    """Even fresh weights see an image that is only shifted as the same."""
    torch.manual_seed(0)
    model = LearnedDescriber(nets.create("sdgmnet"), "fresh")
    a, b = pair[0][:200, :240], pair[0][10:210, 16:256]
    found = register(a, b, model, model="similarity", max_keypoints=200, refine=False)
    assert found.matrix is not None
    assert corner_error(found.matrix, np.array([[1, 0, -16], [0, 1, -10], [0, 0, 1]]), 240, 200) < 1.0
    assert found.to_json()["describer"] == "fresh"


def test_unrelated_images_are_refused_with_reasons(pair: Pair, texture: Texture) -> None:
    found = register(pair[0], texture(99), "rootsift")
    assert not found.accepted
    assert found.matrix is None
    assert found.reasons
    assert found.confidence < 0.5
    assert found.rms is None
    assert found.tie_points.shape == (0, 4)
    json.dumps(found.to_json(), allow_nan=False)


def test_fewer_than_four_matches_are_refused_not_raised(pair: Pair) -> None:
    found = register(*pair, "rootsift", max_keypoints=3, refine=False)
    assert not found.accepted
    assert found.reasons == ("fewer than 4 different matches",)
    assert found.confidence == 0
    alone = register(*pair, "rootsift", max_keypoints=3, global_search=False)
    assert not alone.accepted
    assert alone.reasons[0] == "fewer than 4 different matches"
    assert alone.confidence == 0


def test_the_structure_of_the_images_finds_what_the_keypoints_do_not(pair: Pair, truth: np.ndarray) -> None:
    found = register(*pair, "rootsift", max_keypoints=3)
    assert found.accepted
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 480, 360) < 2


def test_without_refinement_the_number_of_matches_decides(pair: Pair, truth: np.ndarray) -> None:
    found = register(*pair, "rootsift", refine=False)
    count = int(found.inliers.sum())
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 480, 360) < 0.5
    assert found.confidence == pytest.approx(count / (count + 12))
    np.testing.assert_array_equal(found.points, found.matches)
    strict = register(*pair, "rootsift", min_inliers=count + 1, refine=False)
    assert not strict.accepted
    assert strict.reasons == (f"{count} inliers, fewer than {count + 1}",)
    assert strict.matrix is None
    assert register(*pair, "rootsift", min_inliers=count, refine=False).accepted


def test_features_without_their_image_are_matched_alone(pair: Pair) -> None:
    bare = [describe(image, "rootsift") for image in pair]
    assert register(*bare).to_json() == register(*pair, "rootsift", refine=False).to_json()


@pytest.mark.slow
def test_a_negative_registers(pair: Pair, truth: np.ndarray) -> None:
    """As near-infrared does to dark and bright, and worse: descriptors of one spectrum see nothing in common."""
    found = register(pair[0], 255 - pair[1], "rootsift")
    assert found.matrix is not None
    assert corner_error(found.matrix, truth, 480, 360) < 0.5


def test_more_confidence_may_be_asked_for(pair: Pair, found: Registration) -> None:
    strict = register(*pair, "rootsift", min_confidence=1.0)
    assert not strict.accepted
    assert strict.confidence == found.confidence
    assert strict.reasons[0].startswith("confidence ")
    with pytest.raises(InputError, match=r"min_confidence is 1\.5"):
        register(*pair, "rootsift", min_confidence=1.5)


@pytest.mark.slow
def test_a_relater_gives_each_tie_point_a_probability(pair: Pair) -> None:
    torch.manual_seed(0)
    net = nets.create("2channel")
    relater = LearnedRelater(net, "fresh", {"spectra": ["vis", "nir"]})
    plain = register(*pair, "rootsift", max_keypoints=500)
    assert plain.matrix is not None
    grey = [to_unit(image, (0, 255)) for image in pair]
    chances = relate_places(*grey, plain.matrix, plain.points[:, 2:], relater)
    turned = relate_places(*grey, plain.matrix, plain.points[:, 2:], relater, ("nir", "vis"))
    assert not np.allclose(chances, turned, atol=1e-4)
    # A bias that lets about half of the places pass.
    with torch.no_grad():
        net.head.bias -= float(np.median(np.log(chances / (1 - chances))))
    judge = LearnedRelater(net, "fresh", {"spectra": ["vis", "nir"]})
    found = register(*pair, "rootsift", relater=judge, max_keypoints=500)
    assert found.probabilities is not None
    assert found.probabilities.shape == (len(found.tie_points),)
    assert found.probabilities.min() >= 0.5
    assert 0.2 < len(found.tie_points) / len(plain.tie_points) < 0.8
    assert found.to_json()["probabilities"] == pytest.approx(found.probabilities, abs=1e-4)
    with torch.no_grad():
        net.head.bias -= 100
    refused = register(*pair, "rootsift", relater=LearnedRelater(net, "fresh"), max_keypoints=500)
    assert refused.reasons == ("the relater takes 0 of the tie points for matches; 4 would be needed",)
    with pytest.raises(InputError, match="relates vis and nir, not vis and ir"):
        register(*pair, "rootsift", relater=relater, spectra=("vis", "ir"))


def test_probabilities_of_keypoint_matches_weigh_in_the_second_fit(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    chances = np.random.default_rng(0).uniform(0.3, 1, 2000)
    given: list[np.ndarray | None] = []

    def related(a: np.ndarray, b: np.ndarray, matrix: np.ndarray, places: np.ndarray, *others: object) -> np.ndarray:
        return chances[: len(places)]

    def chosen(*points: np.ndarray, **options: object) -> object:
        given.append(options.get("weights"))  # type: ignore[arg-type]
        return select_model(*points, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("tiepoint.registration.decide.relate_places", related)
    monkeypatch.setattr("tiepoint.registration.task.select_model", chosen)
    relater = LearnedRelater(nets.create("2channel"), "fresh", {"spectra": ["vis", "nir"]})
    plain = register(*pair, "rootsift", refine=False, max_keypoints=500)
    found = register(*pair, "rootsift", refine=False, max_keypoints=500, relater=relater)
    likely = chances[: len(plain.points)]
    likely = likely[likely >= 0.5]
    assert [None if each is None else len(each) for each in given] == [None, None, len(likely)]
    np.testing.assert_array_equal(given[2], likely)
    assert len(found.points) == len(likely) < len(plain.points)
    np.testing.assert_array_equal(found.probabilities, likely[found.inliers])
    assert found.matrix is not None
    assert corner_error(found.matrix, plain.matrix, 480, 360) < 0.5  # type: ignore[arg-type]


def test_the_map_is_that_of_the_matrix_and_a_refused_one_has_none(
    found: Registration, pair: Pair, texture: Texture
) -> None:
    assert found.matrix is not None
    corners = np.array([[0, 0], [479, 0], [479, 359.0]])
    np.testing.assert_array_equal(found.map(corners), apply(found.matrix, corners))
    assert found.transform is found.matrix
    refused = register(pair[0], texture(99), "rootsift", max_keypoints=300)
    assert refused.transform is None
    with pytest.raises(InputError, match="the registration was refused"):
        refused.map(corners)


def test_progress_reaches_its_end(pair: Pair) -> None:
    steps: list[tuple[int, int]] = []
    register(*pair, "rootsift", max_keypoints=500, progress=lambda done, total: steps.append((done, total)))
    assert len({total for _, total in steps}) == 1
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.png", "no such file"),
        ("empty.png", "is empty"),
        ("truncated.png", "truncated"),
        ("truncated.jpg", "truncated"),
        ("text.png", "not an image"),
        ("folder.png", "is a folder"),
        ("constant.png", "all pixels are equal"),
        ("tiny.png", "20x20 pixels"),
        ("bare.png", "no keypoints found"),
    ],
)
def test_bad_images_raise_one_line_that_names_them(files: Path, name: str, words: str) -> None:
    for order in ((name, "a.png"), ("a.png", name)):
        with pytest.raises(InputError, match=words) as caught:
            register(*(files / n for n in order), "rootsift")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_wrong_arguments_are_refused(pair: Pair) -> None:
    with pytest.raises(InputError, match="min_inliers is 3"):
        register(*pair, "rootsift", min_inliers=3)
    with pytest.raises(InputError, match="no model"):
        register(*pair, "rootsift", model="spline")
