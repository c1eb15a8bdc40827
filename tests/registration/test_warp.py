"""Registrations bent by a warp: only where it is better, with tie points that agree, and shown as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_registration import Page, made

from tiepoint.errors import InputError
from tiepoint.features.view import View
from tiepoint.geometry.robust import apply, residuals
from tiepoint.options import override
from tiepoint.registration import warp as warp_module
from tiepoint.registration.overlay import outline, overlay, warped
from tiepoint.registration.register import register
from tiepoint.registration.result import Registration
from tiepoint.registration.warp import apply_if_better
from tiepoint.report import write_report
from tiepoint.report.payload import coverage

NOTHING = View(None), View(None)
KINDS = ["thin-plate", "piecewise"]
SIZE = (320, 240)
MATRIX = np.array([[0.99, -0.04, 12], [0.05, 1.0, -9], [0, 0, 1.0]])


def bent_by(points: np.ndarray, height: float) -> np.ndarray:
    """Where pixels of a lie in b: by MATRIX, and `height` px up and down."""
    waves = np.column_stack([np.sin(points[:, 1] / 40), np.cos(points[:, 0] / 45)])
    return apply(MATRIX, points) + height * waves


def view(a: np.ndarray, height: float) -> np.ndarray:
    """Image b of a, by the inverse of `bent_by`, which contracts to its fixed point."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]].astype(float)
    pixels = np.column_stack([x.ravel(), y.ravel()])
    back = np.asarray(np.linalg.inv(MATRIX))
    places = apply(back, pixels)
    for _ in range(40):
        places = apply(back, pixels - (bent_by(places, height) - apply(MATRIX, places)))
    maps = places.reshape(SIZE[1], SIZE[0], 2).astype(np.float32)
    return cv2.remap(a, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="module")
def images(texture: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    a = texture(0, *SIZE)
    return a, view(a, 4.0)


@pytest.fixture(scope="module", params=KINDS)
def found(request: pytest.FixtureRequest, images: tuple[np.ndarray, np.ndarray]) -> Registration:
    return register(*images, "rootsift", warp=request.param)


@pytest.fixture(scope="module")
def plain(images: tuple[np.ndarray, np.ndarray]) -> Registration:
    return register(*images, "rootsift")


def bend(
    registration: Registration, kind: str, limit: float, relater: object = None, views: tuple[View, View] = NOTHING
) -> Registration:
    options = override(registration.options, {"warp": kind, "max_residual": limit})
    return apply_if_better(replace(registration, options=options), views, relater)  # type: ignore[arg-type]


def truth(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    a = np.random.default_rng(1).uniform((40, 40), np.array(SIZE) - 41, (count, 2))
    return a, bent_by(a, 4.0)


def test_what_no_transform_explains_is_bent(found: Registration, plain: Registration) -> None:
    a, b = truth()
    assert found.warp is not None
    assert found.warp.folded == 0
    missed, unbent = (np.linalg.norm(each.map(a) - b, axis=1) for each in (found, plain))
    assert np.median(unbent) > 1
    assert np.median(missed) < 0.2
    assert np.percentile(missed, 95) < 1
    np.testing.assert_array_equal(found.warp.map(a), found.map(a))
    np.testing.assert_array_equal(found.matrix, plain.matrix)
    assert (found.confidence, found.reasons) == (plain.confidence, plain.reasons)


def test_tie_points_are_those_that_agree_with_the_warp(found: Registration, plain: Registration) -> None:
    assert found.warp is not None
    assert len(found.tie_points) > 1.2 * len(plain.tie_points)
    assert found.residuals.shape == (len(found.tie_points),)
    assert found.residuals.max() <= 3.0
    a, b = found.tie_points[:, :2], found.tie_points[:, 2:]
    right = np.linalg.norm(b - bent_by(a, 4.0), axis=1) < 3
    assert right.mean() > 0.99
    assert found.trial is not None
    assert found.trial.before == pytest.approx(np.median(residuals(found.matrix, a, b)))
    assert found.trial.after == pytest.approx(np.median(found.residuals))


def test_json_says_what_the_warp_gains(found: Registration) -> None:
    table = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert found.trial is not None
    assert table["warp"]["taken"] is True
    assert table["warp"]["kind"] == found.trial.kind
    assert table["warp"]["held_out_after"] < 0.3 * table["warp"]["held_out_before"]
    assert table["warp"]["reason"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_plane_stays_a_plane(kind: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    options = {"max_keypoints": 800, "refine": False}
    straight, tried = register(*pair, "rootsift", **options), register(*pair, "rootsift", warp=kind, **options)
    assert tried.warp is None
    assert tried.trial is not None
    assert tried.trial.reason is not None
    assert "held out, tie points miss it by" in tried.trial.reason
    assert {**tried.to_json(), "warp": None} == straight.to_json()


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_points_nearby_stand_out_and_are_left_out(kind: str) -> None:
    """Of 240 correspondences 40 are wrong by 5 to 10 px, less than what the warp explains at others."""
    base = made(MATRIX, count=240, outliers=0)
    rng = np.random.default_rng(3)
    a = base.points[:, :2]
    base.points[:, 2:] = bent_by(a, 5.0) + rng.normal(scale=0.2, size=a.shape)
    wrong = rng.permutation(240)[:40]
    turn = rng.uniform(0, 2 * np.pi, 40)
    base.points[wrong, 2:] += rng.uniform(5, 10, (40, 1)) * np.column_stack([np.cos(turn), np.sin(turn)])
    found = bend(base, kind, 2.0)
    assert found.warp is not None
    assert not found.inliers[wrong].any()
    assert found.inliers.sum() > 180
    a = rng.uniform((60, 60), (420, 300), (300, 2))
    assert np.percentile(np.linalg.norm(found.map(a) - bent_by(a, 5.0), axis=1), 90) < 0.7


def test_too_few_points_and_a_refused_registration_are_left_as_they_are() -> None:
    few = bend(made(MATRIX, count=12, outliers=0), "thin-plate", 3.0)
    assert few.warp is None
    assert few.trial is not None
    assert few.trial.reason == "12 tie points, fewer than 20"
    assert few.to_json()["warp"]["held_out_before"] is None
    refused = made(None)
    assert bend(refused, "thin-plate", 3.0).to_json() == refused.to_json()
    line = made(MATRIX, count=60, outliers=0)
    line.points[:, :2] = np.column_stack([np.linspace(20, 400, 60), np.full(60, 50.0)])
    line.points[:, 2:] = apply(MATRIX, line.points[:, :2])
    assert bend(line, "piecewise", 3.0).warp is None


def test_a_warp_that_folds_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    base = made(MATRIX, count=200, outliers=0)
    base.points[:, 2:] = bent_by(base.points[:, :2], 5.0)
    assert bend(base, "thin-plate", 3.0).warp is not None
    fit = warp_module.WARPS["thin-plate"].fit

    class Folding:
        @staticmethod
        def fit(*arguments: object, **options: object) -> object:
            return replace(fit(*arguments, **options), folded=0.02)  # type: ignore[arg-type]

    monkeypatch.setitem(warp_module.WARPS, "thin-plate", Folding)
    found = bend(base, "thin-plate", 3.0)
    assert found.warp is None
    assert found.trial is not None
    assert found.trial.reason == "it folds 2.00% of the image"


class Correlating:
    """A relater that takes patches for matches whose grey values correlate."""

    name, spectra, input_size = "correlating", ("vis", "nir"), 32

    def probabilities(self, a, b):  # type: ignore[no-untyped-def]
        a, b = (patches.flatten(1) - patches.flatten(1).mean(dim=1, keepdim=True) for patches in (a, b))
        return ((a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))).clamp(0, 1)


@pytest.mark.slow
def test_a_relater_judges_where_the_warp_puts_the_image(images: tuple[np.ndarray, np.ndarray]) -> None:
    plain = register(*images, "rootsift", refine=False)
    views = View.of(images[0], "a"), View.of(images[1], "b")
    found = bend(plain, "thin-plate", 3.0, Correlating(), views)
    assert found.warp is not None
    assert found.probabilities is not None
    assert found.probabilities.shape == (len(found.tie_points),)
    assert np.median(found.probabilities) > 0.95
    assert len(found.tie_points) > len(plain.tie_points)
    never = type(
        "Never", (Correlating,), {"probabilities": lambda self, a, b: 0 * Correlating.probabilities(self, a, b)}
    )
    refused = bend(plain, "thin-plate", 3.0, never(), views)
    assert refused.warp is None
    assert refused.trial is not None
    assert refused.trial.reason == "the relater takes 0 of its tie points for matches"


def test_the_overlay_follows_the_warp(
    found: Registration, plain: Registration, images: tuple[np.ndarray, np.ndarray]
) -> None:
    assert found.warp is not None
    assert plain.transform is not None
    inner = np.s_[50:-50, 50:-50]
    bent, straight = (overlay(*images, each).astype(int)[inner] for each in (found.warp, plain.transform))
    assert np.abs(bent[..., 0] - bent[..., 1]).mean() < 3
    assert np.abs(straight[..., 0] - straight[..., 1]).mean() > 10
    board = overlay(*images, found.warp, "checkerboard")
    assert board.shape == (240, 320, 3)


def test_the_page_follows_the_warp(found: Registration, images: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    write_report(found, *images, tmp_path / "out.html")
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    inner = np.s_[50:-50, 50:-50]
    assert np.abs(page.picture("picture-moved").astype(int) - images[1])[inner].mean() < 3
    np.testing.assert_allclose(
        page.data["shown"]["mapped"], found.map(np.array(page.data["shown"]["points"])[:, :2]), atol=2e-4
    )
    assert found.trial is not None
    for words in (
        f"{found.trial.kind}: the median residual of {found.trial.points:,} held-out tie points is",
        "the warp maps",
    ):
        assert words in page.text
    assert 0.5 < page.data["coverage"] <= 1
    assert page.data["coverage"] == coverage(found)


def test_reduced_images_lie_where_the_warp_puts_them(
    found: Registration, images: tuple[np.ndarray, np.ndarray]
) -> None:
    assert found.transform is not None
    assert found.warp is not None
    full = warped(images[0], found.warp, SIZE, SIZE)
    small = warped(images[0], found.warp, SIZE, (160, 120))
    expected = cv2.resize(full, (160, 120), interpolation=cv2.INTER_AREA)
    inner = np.s_[25:-25, 25:-25]
    assert np.abs(small.astype(int) - expected)[inner].mean() < 4
    whole, _ = cv2.phaseCorrelate(*(x[inner].astype(float) for x in (small, expected)))
    assert np.hypot(*whole) < 0.05
    edge = outline(found.warp, SIZE)
    corners = outline(found.transform, SIZE)
    assert edge.shape == (64, 2)
    assert np.linalg.norm(edge[::16] - corners, axis=1).max() < 30


def test_an_unknown_warp_is_refused(images: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(InputError, match="no warp 'spline': there are thin-plate, piecewise"):
        register(*images, "rootsift", warp="spline")  # type: ignore[arg-type]
