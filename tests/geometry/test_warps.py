"""Warps against closed forms, scipy's and brute force, and what they must not do silently: fold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiepoint.errors import InputError
from tiepoint.geometry import displacement as displace
from tiepoint.geometry import thin_plate as thinplate
from tiepoint.geometry.robust import apply, residuals
from tiepoint.geometry.warps import WARPS, PiecewiseAffine, ThinPlate, held_out
from tiepoint.images.raster import Raster, as_raster
from tiepoint.images.resample import warp_image

SIZE = (200, 150)
AFFINE = np.array([[0.98, -0.1, 12.0], [0.12, 1.02, -8.0], [0, 0, 1]])
HOMOGRAPHY = np.array([[0.98, -0.1, 12.0], [0.12, 1.02, -8.0], [2e-4, -1e-4, 1]])


def field(points: np.ndarray, height: float = 3.0) -> np.ndarray:
    """A smooth displacement."""
    return height * np.column_stack([np.sin(points[:, 1] / 40), np.cos(points[:, 0] / 45)])


def ties(count: int = 60, noise: float = 0.0, seed: int = 0, matrix: np.ndarray = HOMOGRAPHY) -> tuple:
    rng = np.random.default_rng(seed)
    a = rng.uniform((0, 0), np.array(SIZE) - 1, (count, 2))
    return a, apply(matrix, a) + field(a) + rng.normal(scale=noise, size=(count, 2))


def image(dtype: Any = np.float32) -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return (120 + 60 * np.sin(x / 9) + 50 * np.cos(y / 7)).astype(dtype)


def moved(smooth: float = 3.0) -> np.ndarray:
    """Places of image a over its inside."""
    return np.random.default_rng(9).uniform(smooth, np.array(SIZE) - 1 - smooth, (300, 2))


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize("matrix", [AFFINE, HOMOGRAPHY])
def test_without_smoothing_every_tie_point_is_met(name: str, matrix: np.ndarray) -> None:
    a, b = ties(noise=0.3, matrix=matrix)
    for size in (None, SIZE):
        warp = WARPS[name].fit(a, b, matrix, 0, size=size)
        np.testing.assert_allclose(warp.map(a), b, atol=1e-8)


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize("smoothing", [None, 0, 0.3, 1e3])
def test_what_the_transform_explains_is_left_to_it(name: str, smoothing: float | None) -> None:
    a, _ = ties()
    warp = WARPS[name].fit(a, apply(HOMOGRAPHY, a), HOMOGRAPHY, smoothing, size=SIZE)
    assert warp.folded == 0
    np.testing.assert_allclose(warp.map(moved()), apply(HOMOGRAPHY, moved()), atol=1e-8)


@pytest.mark.parametrize("smoothing", [None, 0, 0.1, 1e3])
def test_the_thin_plate_reproduces_any_affine_correction(smoothing: float | None) -> None:
    a, _ = ties()
    warp = ThinPlate.fit(a, apply(AFFINE, a), np.eye(3), smoothing)
    np.testing.assert_allclose(warp.map(moved()), apply(AFFINE, moved()), atol=1e-7)


def test_the_thin_plate_is_scipys() -> None:
    from scipy.interpolate import RBFInterpolator

    a, b = ties(noise=0.5, matrix=np.eye(3))
    for smoothing in (0.0, 1e-3, 0.1):
        warp = ThinPlate.fit(a, b, np.eye(3), smoothing)
        unit = (a - warp.centre) / warp.scale
        theirs = RBFInterpolator(unit, b, kernel="thin_plate_spline", smoothing=smoothing * len(a))
        np.testing.assert_allclose(warp.map(moved()), theirs((moved() - warp.centre) / warp.scale), atol=1e-7)


def test_the_smoothing_is_that_of_brute_force_leave_one_out() -> None:
    a, b = ties(25, noise=1.0)
    chosen = ThinPlate.fit(a, b, HOMOGRAPHY)
    costs = {}
    for smoothing in (*thinplate.SMOOTHINGS[1::3], chosen.smoothing):
        missed = 0.0
        for k in range(len(a)):
            rest = np.arange(len(a)) != k
            scale = np.sqrt(((a[rest] - a[rest].mean(axis=0)) ** 2).sum(axis=1).mean())
            # In its own units: smoothing * N acts on U, which grows with the square of the scale.
            same = smoothing * len(a) / (len(a) - 1) * (chosen.scale / scale) ** 2
            warp = thinplate._solve(a[rest], b[rest], HOMOGRAPHY, same, None)
            missed += float(((warp.map(a[[k]]) - b[k]) ** 2).sum())
        costs[smoothing] = missed
    assert min(costs, key=lambda s: costs[s]) == chosen.smoothing
    assert 0 < chosen.smoothing < thinplate.SMOOTHINGS[-1]


@pytest.mark.parametrize("name", WARPS)
def test_parallax_is_found_and_held_out_ties_show_it(name: str) -> None:
    a, b = ties(200, noise=0.5)
    truth = apply(HOMOGRAPHY, moved()) + field(moved())
    warp = WARPS[name].fit(a, b, HOMOGRAPHY, size=SIZE)
    error = np.linalg.norm(warp.map(moved()) - truth, axis=1)
    assert np.sqrt((error**2).mean()) < (0.35 if name == "thin-plate" else 0.8)
    plain = np.sqrt((residuals(HOMOGRAPHY, a, b) ** 2).mean())
    out = np.sqrt((held_out(name, a, b, HOMOGRAPHY, size=SIZE) ** 2).mean())
    assert out < 0.5 * plain
    # What is held out has noise of its own: 0.5 px in x and in y.
    assert np.sqrt((error**2).mean()) < out < 1.6


def test_noise_alone_is_smoothed_away() -> None:
    rng = np.random.default_rng(0)
    a, _ = ties(150)
    b = apply(HOMOGRAPHY, a) + rng.normal(size=a.shape)
    warp = ThinPlate.fit(a, b, HOMOGRAPHY)
    assert np.linalg.norm(warp.map(moved()) - apply(HOMOGRAPHY, moved()), axis=1).mean() < 0.4


def test_a_wrong_tie_point_shows_when_held_out() -> None:
    a, b = ties(150)
    b[17] += (9, -7)
    for name in WARPS:
        assert np.argmax(held_out(name, a, b, HOMOGRAPHY, size=SIZE)) == 17


def test_triangles_are_affine_and_the_rest_is_the_transform() -> None:
    a = np.array([[20.0, 20], [120, 20], [20, 100], [120, 100]])
    b = apply(AFFINE, a) + np.array([[0.0, 0], [4, 0], [0, 6], [0, 0]])
    warp = PiecewiseAffine.fit(a, b, AFFINE)
    assert len(warp.triangles) == 2
    for triangle in warp.triangles:
        weights = np.random.default_rng(0).dirichlet((1, 1, 1), 20)
        np.testing.assert_allclose(warp.map(weights @ a[triangle]), weights @ b[triangle], atol=1e-9)
    outside = np.array([[5.0, 5], [150, 60], [-30, 400]])
    np.testing.assert_allclose(warp.map(outside), apply(AFFINE, outside))


def test_with_a_size_nothing_tears() -> None:
    a, b = ties(80)
    warp = PiecewiseAffine.fit(a, b, HOMOGRAPHY, size=SIZE)
    x, y = np.meshgrid(np.arange(1, SIZE[0] - 1.0), np.arange(1, SIZE[1] - 1.0))
    mapped = warp.map(np.column_stack([x.ravel(), y.ravel()])).reshape(*x.shape, 2)
    assert np.abs(np.diff(mapped, axis=0)).max() < 2.5
    assert np.abs(np.diff(mapped, axis=1)).max() < 2.5
    torn = PiecewiseAffine.fit(a, b + np.array([9, 0]), HOMOGRAPHY).map(np.column_stack([x.ravel(), y.ravel()]))
    assert np.abs(np.diff(torn.reshape(*x.shape, 2), axis=1)).max() > 6


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**16), st.sampled_from(sorted(WARPS)), st.floats(0.0, 3.0))
def test_there_and_back_is_where_it_began(seed: int, name: str, height: float) -> None:
    a, _ = ties(50, seed=seed)
    warp = WARPS[name].fit(a, apply(HOMOGRAPHY, a) + field(a, height), HOMOGRAPHY, size=SIZE)
    assert warp.folded == 0
    back = warp.inverse(SIZE)
    np.testing.assert_allclose(back.map(warp.map(moved())), moved(), atol=0.15)
    np.testing.assert_allclose(warp.map(back.map(warp.map(moved()))), warp.map(moved()), atol=0.15)


def test_the_inverse_of_affine_triangles_is_exact() -> None:
    a, b = ties(matrix=AFFINE)
    warp = PiecewiseAffine.fit(a, b, AFFINE, size=SIZE)
    np.testing.assert_allclose(warp.inverse().map(warp.map(moved())), moved(), atol=1e-8)


@pytest.mark.parametrize("name", WARPS)
def test_a_fold_is_said_and_not_warped(name: str) -> None:
    rng = np.random.default_rng(0)
    a, _ = ties(60)
    swapped = apply(AFFINE, a)
    swapped[:2] = swapped[1::-1]
    for b in (swapped, rng.permutation(apply(AFFINE, a))):
        warp = WARPS[name].fit(a, b, AFFINE, 0, size=SIZE)
        assert warp.folded > 0
        for call in (warp.inverse, lambda warp=warp: warp.warp(as_raster(image()), (150, 200))):
            with pytest.raises(InputError, match=r"folds \d.*% of the image"):
                call()
    mild = WARPS[name].fit(a, swapped, AFFINE, size=SIZE)  # chosen: bent less, or left out
    assert mild.folded == 0
    left_out = len(mild.vertices) < len(WARPS[name].fit(a, swapped, AFFINE, 0, size=SIZE).vertices) if (
        isinstance(mild, PiecewiseAffine)
    ) else mild.smoothing > 0  # fmt: skip
    assert left_out


def test_a_mirroring_transform_is_no_fold() -> None:
    mirror = np.array([[-1.0, 0, 199], [0, 1, 0], [0, 0, 1]])
    a, _ = ties()
    for name in WARPS:
        assert WARPS[name].fit(a, apply(mirror, a) + field(a, 1), mirror, 0, size=SIZE).folded == 0


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_image_is_warped_to_where_its_points_go(name: str, dtype: Any) -> None:
    a, b = ties(80)
    warp = WARPS[name].fit(a, b, HOMOGRAPHY, size=SIZE)
    pixels, mask = warp.warp(as_raster(image(dtype)), (170, 230), fill=7)
    assert pixels.dtype == dtype
    assert pixels.shape == mask.shape == (170, 230)
    assert (pixels[~mask] == 7).all()
    expected = image()
    checked = 0
    for (x, y), (u, v) in zip(moved().round(), warp.map(moved().round()), strict=True):
        if 1 <= u < 229 and 1 <= v < 169 and mask[round(v), round(u)]:
            # To the nearest pixel of b: the pattern changes by up to 10 a pixel.
            assert abs(float(pixels[round(v), round(u)]) - expected[int(y), int(x)]) < 9
            checked += 1
    assert checked > 200
    place = np.argwhere(mask)[::97]
    source = warp.inverse(SIZE).map(place[:, ::-1])
    u, v = source.T
    exact = 120 + 60 * np.sin(u / 9) + 50 * np.cos(v / 7)
    np.testing.assert_allclose(pixels[tuple(place.T)].astype(float), exact, atol=1.5)


@pytest.mark.parametrize("name", WARPS)
def test_without_displacement_it_is_the_transforms_warp(name: str) -> None:
    a, _ = ties()
    valid = np.ones((150, 200), dtype=bool)
    valid[40:60, 90:100] = False
    source = Raster(image(), valid, (0, 255))
    warp = WARPS[name].fit(a, apply(HOMOGRAPHY, a), HOMOGRAPHY, size=SIZE)
    pixels, mask = warp.warp(source, (600, 90), fill=-1)
    expected, known = warp_image(source, HOMOGRAPHY, (600, 90), fill=-1)
    assert known.any()
    assert (mask != known).mean() < 1e-4
    np.testing.assert_allclose(pixels[mask & known], expected[mask & known], atol=1e-3)


def test_many_tie_points_are_thinned_evenly_and_doubles_count_as_their_mean() -> None:
    a, b = ties(900)
    warp = ThinPlate.fit(a, b, HOMOGRAPHY, 0)
    assert len(warp.controls) == thinplate.MAX_CONTROLS
    assert np.linalg.norm(warp.map(a) - b, axis=1).max() < 0.5
    a, b = ties(30)
    twice = np.vstack([b - 1, b + 1])
    for name in WARPS:
        warp = WARPS[name].fit(np.vstack([a, a]), twice, HOMOGRAPHY, 0)
        np.testing.assert_allclose(warp.map(a), b, atol=1e-8)


def test_beyond_the_horizon_there_is_nothing() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-1 / 150, 0, 1]])
    a, _ = ties(80)
    a = a[a[:, 0] < 120]
    for name in WARPS:
        warp = WARPS[name].fit(a, apply(matrix, a) + field(a, 0.5), matrix, size=SIZE)
        assert np.isinf(warp.map([[180.0, 50.0]])).all()
        assert np.isfinite(warp.map([[100.0, 50.0]])).all()
        pixels, mask = warp.warp(as_raster(image()), (150, 300))
        assert mask.any()
        assert np.isfinite(pixels).all()


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize(
    ("a", "b", "matrix", "smoothing", "words"),
    [
        (np.zeros((5, 2)), np.zeros((4, 2)), AFFINE, None, "shapes"),
        (np.full((5, 2), np.nan), np.zeros((5, 2)), AFFINE, None, "finite"),
        (np.eye(2)[[0, 1, 0, 1, 0]], np.zeros((5, 2)), AFFINE, None, "2 different tie points"),
        (np.arange(20.0).reshape(10, 2), np.zeros((10, 2)), AFFINE, None, "on a line"),
        (*ties(), np.ones((3, 3)), None, "invertible"),
        (*ties(), np.eye(2), None, "3 x 3"),
        (*ties(), np.array([[1.0, 0, 0], [0, 1, 0], [-0.1, 0, 1]]), None, "infinity"),
        (*ties(), AFFINE, -1.0, "smoothing is -1"),
        (*ties(), AFFINE, np.nan, "smoothing is nan"),
    ],
)
def test_wrong_input_is_refused(name: str, a: Any, b: Any, matrix: Any, smoothing: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        WARPS[name].fit(a, b, matrix, smoothing)


def test_wrong_arguments_of_held_out_are_refused() -> None:
    for arguments, words in (
        (("spline", *ties()), "no warp 'spline'"),
        (("piecewise", ties()[0], ties()[1][1:]), "shapes"),
    ):
        with pytest.raises(InputError, match=words):
            held_out(*arguments, HOMOGRAPHY)
    with pytest.raises(InputError, match="folds is 1"):
        held_out("piecewise", *ties(), HOMOGRAPHY, folds=1)
    assert displace.folded_share(lambda p: p, np.eye(3), np.empty((0, 2))) == 1.0
