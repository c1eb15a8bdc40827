"""Grids of windows: their matches, the search over rotations and scales, and what windows say about a transform."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from dense_scene import moved, scene

from tiepoint.dense.evidence import collect_evidence
from tiepoint.dense.grid import Grid, describe_grid, match_grids
from tiepoint.dense.search import _Sides, are_clear, search, to_features
from tiepoint.geometry.robust import apply, corner_error
from tiepoint.images.raster import as_raster
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer


@pytest.fixture(scope="module")
def describer() -> Describer:
    return load_describer("sdgmnet-any")


def grid_of(vectors: torch.Tensor, columns: int) -> Grid:
    count = len(vectors)
    at = np.stack(np.divmod(np.arange(count), columns), axis=1)
    points = at[:, ::-1] * 8.0 + 31.5
    return Grid(vectors, points, at, (-(-count // columns), columns), np.eye(3))


def test_matches_of_grids_are_those_of_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.nn.functional.normalize(torch.randn(n, 16, generator=generator), dim=1) for n in (60, 48))
    found = match_grids(grid_of(a, 10), grid_of(b, 8))
    similarity = (a @ b.T).numpy()
    mutual = [(i, j) for i, j in enumerate(similarity.argmax(1)) if similarity[:, j].argmax() == i]
    assert [tuple(row) for row in found.indices] == mutual
    np.testing.assert_allclose(found.similarity, [similarity[i, j] for i, j in mutual], rtol=1e-5)
    off = np.abs(found.points[:, 2:] - grid_of(b, 8).points[found.indices[:, 1]])
    assert off.max() <= 4.0


def test_blocks_do_not_change_the_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.nn.functional.normalize(torch.randn(40, 8, generator=generator), dim=1) for _ in range(2))
    whole = match_grids(grid_of(a, 8), grid_of(b, 8))
    monkeypatch.setattr("tiepoint.dense.grid.BLOCK_ROWS", 7)
    np.testing.assert_array_equal(whole.indices, match_grids(grid_of(a, 8), grid_of(b, 8)).indices)


def test_partners_are_found_between_windows(describer: Describer) -> None:
    """An image shifted by 3 px, less than half of the grid's 8."""
    image = scene()
    a, b = as_raster(image[:, 3:], "a"), as_raster(image[:, :-3], "b")
    found = match_grids(describe_grid(a, describer, 1.0), describe_grid(b, describer, 1.0))
    shifts = found.points[:, 2:] - found.points[:, :2]
    assert len(found) > 400
    np.testing.assert_allclose(np.median(shifts, axis=0), [3, 0], atol=0.7)


@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 1.0), (8.0, 1.0), (70.0, 1.0), (180.0, 1.0), (-95.0, 0.6)])
def test_rotations_and_scales_are_found(describer: Describer, degrees: float, scale: float) -> None:
    image = scene()
    b, truth = moved(image, degrees, scale)
    found = search(as_raster(image, "a"), b, describer)
    assert found.estimate.matrix is not None
    assert corner_error(found.estimate.matrix, truth, *image.shape[::-1]) < 5
    assert found.is_clear


def test_what_is_shown_larger_is_found_too(describer: Describer) -> None:
    image = scene(height=400, width=420)
    b, truth = moved(image, 20.0, 1.7)
    found = search(as_raster(image, "a"), b, describer)
    assert found.estimate.matrix is not None
    assert corner_error(found.estimate.matrix, truth, *image.shape[::-1]) < 10


def test_a_small_image_is_found_in_a_larger_one(describer: Describer) -> None:
    """Votes compare both at one size, where they look alike, and the matches that follow where they differ by 2.1."""
    image = scene(height=560, width=600)
    small = cv2.resize(image, None, fx=0.45, fy=0.45, interpolation=cv2.INTER_AREA)
    b, truth = moved(image, 100.0)
    truth = truth @ np.array([[1 / 0.45, 0, 0.5 / 0.45 - 0.5], [0, 1 / 0.45, 0.5 / 0.45 - 0.5], [0, 0, 1]])
    a = as_raster(small, "a")
    rotation, scale = next(_Sides(a, b, describer).best_first())
    assert abs(rotation - 100) < 31
    assert scale == pytest.approx(600 / small.shape[1], rel=0.3)
    found = search(a, b, describer)
    assert found.estimate.matrix is not None
    assert corner_error(found.estimate.matrix, truth, *small.shape[::-1]) < 10


def test_images_of_other_places_are_not_clear(describer: Describer) -> None:
    found = search(as_raster(scene(0), "a"), as_raster(scene(1), "b"), describer)
    assert not found.is_clear
    assert are_clear(100, 300)
    assert not are_clear(59, 59)
    assert not are_clear(100, 500)


def test_windows_become_features_of_both_images(describer: Describer) -> None:
    image = scene()
    b, truth = moved(image, 70.0)
    a = as_raster(image, "a")
    found = search(a, b, describer)
    first, second = to_features(found, a, b, describer)
    assert (len(first), len(second)) == (len(found.a), len(found.b))
    assert first.size == image.shape[::-1]
    assert first.spacing == pytest.approx(8.0, rel=0.01)
    assert np.all(np.diff(first.responses) <= 0)
    count = len(found.matches)
    rows = found.matches.indices
    # A descriptor stays with its window, and a window of b that has a partner lies where the match says.
    row = {point.tobytes(): k for k, point in enumerate(found.a.points)}
    order = [row[point.tobytes()] for point in first.points]
    np.testing.assert_array_equal(first.descriptors, found.a.vectors.numpy()[order])
    assert {tuple(p) for p in second.points[:count]} == {tuple(p) for p in found.matches.points[:, 2:]}
    assert sorted(order[:count]) == sorted(rows[:, 0].tolist())
    # Frames turn with the image: the upright direction of a's windows is that of b's.
    turn = np.linalg.inv(second.frames[0, :, :2]) @ truth[:2, :2] @ first.frames[0, :, :2]
    assert np.degrees(np.arccos(np.clip(turn[0, 0], -1, 1))) < 31


def test_windows_know_each_other_under_the_right_transform_alone(describer: Describer) -> None:
    image = scene()
    b, truth = moved(255 - image, 40.0)
    a = as_raster(image, "a")
    right = collect_evidence(a, b, truth, describer)
    shifted = np.array([[1, 0, 40], [0, 1, 0], [0, 0, 1]]) @ truth
    wrong = collect_evidence(a, b, shifted, describer)
    assert right.asked > 20
    assert right.recognised > 0.6
    assert wrong.recognised < 0.1
    assert right.margin > 0.1 > wrong.margin


def test_each_window_says_what_it_sees(describer: Describer) -> None:
    """The right half of image a shows another place, so its windows alone are not recognised."""
    b, a = scene(), scene()
    a[:, 180:] = scene(1)[:, 180:]
    said = collect_evidence(as_raster(a, "a"), as_raster(b, "b"), np.eye(3), describer)
    found = said.agreement
    assert found is not None
    assert len(found.points) == len(found.similarity) == len(found.recognised) == said.asked
    left, right = found.points[:, 0] < 180 - 32, found.points[:, 0] > 180 + 32
    assert found.recognised[left].all()
    assert not found.recognised[right].any()
    assert found.similarity[left].min() > 0.9 > 0.7 > found.similarity[right].max()
    assert (found.width, found.spacing) == (64, 24)
    assert set(np.diff(np.unique(found.points[:, 0]))) == {24.0}


def test_windows_of_a_reduced_image_are_in_pixels_of_the_full_one(describer: Describer) -> None:
    image = cv2.resize(scene(), (1440, 1200))
    raster = as_raster(image, "a")
    found = collect_evidence(raster, raster, np.eye(3), describer).agreement
    assert found is not None
    assert found.recognised.mean() > 0.9
    assert found.width == pytest.approx(64 * 1440 / 640)
    np.testing.assert_allclose(found.points.min(axis=0), found.width / 2 - 0.5, atol=0.1)  # the window in the corner
    assert found.points[:, 0].max() + found.width / 2 > 1440 - found.spacing
    half = found.mapped(np.diag([0.5, 0.5, 1.0]))
    np.testing.assert_allclose(half.points, found.points / 2)
    assert half.spacing == found.spacing / 2


def test_without_overlap_no_window_is_asked(describer: Describer) -> None:
    a = as_raster(scene(), "a")
    away = np.array([[1, 0, 1000], [0, 1, 0], [0, 0, 1.0]])
    said = collect_evidence(a, a, away, describer)
    assert (said.asked, said.agreement) == (0, None)


def test_images_too_small_for_a_window_have_an_empty_grid(describer: Describer) -> None:
    grid = describe_grid(as_raster(scene(height=50, width=90), "a"), describer, 1.0)
    assert len(grid) == 0
    assert len(match_grids(grid, describe_grid(as_raster(scene(), "b"), describer, 1.0))) == 0


def test_a_mask_keeps_windows_away(describer: Describer) -> None:
    b, truth = moved(scene(), 30.0)
    grid = describe_grid(b, describer, 1.0)
    corners = grid.points[:, None] + np.array([[-30, -30], [30, -30], [30, 30], [-30, 30]])
    inside = apply(np.asarray(np.linalg.inv(truth)), corners.reshape(-1, 2))
    assert (inside > -1).all()
    assert (inside < [360, 300]).all()
