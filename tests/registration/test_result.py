"""The face of a registration: how it shows, plots, warps and keeps itself."""

from __future__ import annotations

import builtins
import json
from base64 import b64decode
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import pytest
import tifffile
from made_registration import asked, made

from tiepoint.dense.evidence import Agreement
from tiepoint.errors import InputError
from tiepoint.features.view import ViewInfo
from tiepoint.geometry.pose import Pose
from tiepoint.geometry.warps import WARPS, WarpTrial
from tiepoint.images.geo import Geo
from tiepoint.images.pixels import write_image
from tiepoint.options import Registration as Options
from tiepoint.options import override
from tiepoint.registration.result import Registration
from tiepoint.registration.verdict import NOTHING

matplotlib.use("Agg")
Pair = tuple[np.ndarray, np.ndarray]


def of_files(pair: Pair, truth: np.ndarray, folder: Path) -> Registration:
    views = []
    for name, image in zip("ab", pair, strict=True):
        write_image(folder / f"{name}.png", image)
        views.append(ViewInfo(f"{name}.png", (480, 360), folder / f"{name}.png", keypoints=75))
    return replace(made(truth), a=views[0], b=views[1])


def bent(truth: np.ndarray, kind: str) -> Registration:
    straight = made(truth)
    a, b = straight.tie_points[:, :2], straight.tie_points[:, 2:]
    return replace(straight, warp=WARPS[kind].fit(a, b, truth, 0.1, size=(480, 360)))


def assert_equal(one: Any, two: Any) -> None:
    assert type(one) is type(two)
    for field in fields(one):
        first, second = getattr(one, field.name), getattr(two, field.name)
        if isinstance(first, np.ndarray):
            assert first.dtype == second.dtype
            np.testing.assert_array_equal(first, second)
        elif isinstance(first, (Pose, Agreement, *WARPS.values())) and not isinstance(first, tuple):
            assert_equal(first, second)
        elif isinstance(first, Pose):
            assert isinstance(second, Pose)
            for left, right in zip(first, second, strict=True):
                np.testing.assert_array_equal(left, right)
        else:
            assert first == second, field.name


def test_its_repr_is_one_short_line(truth: np.ndarray) -> None:
    said = repr(made(truth))
    assert said.startswith("Registration(accepted=True, model=homography, confidence=0.83, tie_points=60 of 75, rms=1.")
    assert said.endswith(" px)")
    assert repr(made(None)).endswith("accepted=False, model=homography, confidence=0.10, tie_points=0 of 75, "
                                     "reasons=too few inliers)")  # fmt: skip


def test_a_notebook_shows_the_overlay_of_files(pair: Pair, truth: np.ndarray, tmp_path: Path) -> None:
    found = of_files(pair, truth, tmp_path)
    page = found._repr_html_()
    head, _, rest = page.partition('src="data:image/')
    _, _, data = rest.partition('"')[0].partition(";base64,")
    assert "<table>" in head
    assert len(page) < 105_000
    picture = cv2.imdecode(np.frombuffer(b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (360, 480, 3)
    inner = picture[80:-80, 100:-100].astype(int)
    assert np.abs(inner[..., 0] - inner[..., 2]).mean() < 8
    (tmp_path / "a.png").unlink()
    assert "<svg" in found._repr_html_()


def test_a_notebook_draws_residuals_where_there_are_no_files(truth: np.ndarray) -> None:
    page = made(truth)._repr_html_()
    assert "<img" not in page
    assert "<title>Residuals in image b, drawn 10 times as long</title>" in page
    assert page.count("h0") == 60
    refused = made(None, reasons=("<b>too few</b>",))._repr_html_()
    assert "&lt;b&gt;too few&lt;/b&gt;" in refused
    assert refused.count("h0") == 75


def test_plot_draws_the_overlay_and_the_residuals(pair: Pair, truth: np.ndarray, tmp_path: Path) -> None:
    found = made(truth)
    axes = found.plot(*pair)
    picture = np.asarray(axes.images[0].get_array()).astype(int)
    assert np.abs(picture[80:-80, 100:-100, 0] - picture[80:-80, 100:-100, 2]).mean() < 8
    np.testing.assert_allclose(np.column_stack(axes.lines[0].get_data()), found.tie_points[:, 2:])
    arrows = axes.collections[0]
    np.testing.assert_allclose(np.hypot(arrows.U, arrows.V), found.residuals, atol=1e-6)
    assert axes.get_title().startswith("Registration(accepted=True")
    again = of_files(pair, truth, tmp_path).plot(ax=axes)
    assert again is axes
    assert len(axes.images) == 2
    refused = made(None).plot(*pair)
    assert np.asarray(refused.images[0].get_array()).ndim == 2
    assert not refused.collections


def test_plot_says_which_image_it_lacks(pair: Pair, truth: np.ndarray) -> None:
    with pytest.raises(InputError, match="image a: was not read from a file: give the image itself"):
        made(truth).plot()
    with pytest.raises(InputError, match=r"image b: has 200x100 pixels, but what was registered has 480x360"):
        made(truth).plot(pair[0], pair[1][:100, :200])


def test_a_data_frame_holds_the_tie_points(truth: np.ndarray) -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    found = replace(made(truth), probabilities=np.linspace(0.5, 1, 60))
    frame = found.to_dataframe()
    assert list(frame.columns) == ["xa", "ya", "xb", "yb", "residual", "similarity", "probability"]
    np.testing.assert_array_equal(frame[["xa", "ya", "xb", "yb"]].to_numpy(), found.tie_points)
    np.testing.assert_array_equal(frame["residual"], found.residuals)
    assert "probability" not in made(truth).to_dataframe().columns
    assert len(made(None).to_dataframe()) == 0


def test_a_data_frame_without_pandas_names_the_remedy(truth: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match="pip install pandas"):
        made(truth).to_dataframe()


def test_an_image_lies_on_the_grid_of_the_other(pair: Pair, truth: np.ndarray, tmp_path: Path) -> None:
    found = made(truth)
    moved = found.warp_image(pair[0])
    assert moved.shape == (360, 480)
    assert moved.dtype == np.uint8
    expected = cv2.warpPerspective(pair[0], truth, (480, 360), flags=cv2.INTER_LINEAR)
    inside = ~np.ma.getmaskarray(moved)
    assert 0.5 < inside.mean() < 1
    assert np.abs(moved.data.astype(int) - expected)[inside].mean() < 1
    deep = np.stack([pair[0], 255 - pair[0]]).astype(np.uint16) * 200
    bands = found.warp_image(deep)
    assert bands.shape == (2, 360, 480)
    assert bands.dtype == np.uint16
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(np.repeat(deep[:1], 3, axis=0), 0, -1), photometric="rgb")
    read = replace(found, a=ViewInfo("a.tif", (480, 360), tmp_path / "a.tif")).warp_image()
    np.testing.assert_array_equal(read[2].filled(0), bands[0].filled(0))
    hidden = np.ma.MaskedArray(pair[0], np.zeros((360, 480), dtype=bool))
    hidden[100:200, 100:300] = np.ma.masked
    assert np.ma.count_masked(found.warp_image(hidden)) > np.ma.count_masked(moved) + 10_000


@pytest.mark.parametrize("kind", sorted(WARPS))
def test_an_image_is_bent_by_the_warp(pair: Pair, truth: np.ndarray, kind: str) -> None:
    found = bent(truth, kind)
    assert found.warp is not None
    moved = found.warp_image(pair[0])
    straight = made(truth).warp_image(pair[0])
    both = ~(np.ma.getmaskarray(moved) | np.ma.getmaskarray(straight))
    assert 0 < np.abs(moved.data.astype(int) - straight.data)[both].mean() < 20
    assert found.mapping is found.warp


def test_what_cannot_be_warped_says_why(pair: Pair, truth: np.ndarray) -> None:
    with pytest.raises(InputError, match="the registration was refused"):
        made(None).warp_image(pair[0])
    with pytest.raises(InputError, match="image a: has 480x300 pixels"):
        made(truth).warp_image(pair[0][:300])


def test_a_saved_registration_is_loaded_equal(truth: np.ndarray, tmp_path: Path) -> None:
    straight = made(truth)
    geo = Geo((0.5, 0.0, 100.0, 0.0, -0.5, 200.0), "", 32633)
    infinite = replace(NOTHING, roundtrip=float("inf"))
    several = [
        replace(made(None), agreement=asked()),
        bent(truth, "thin-plate"),
        replace(bent(truth, "piecewise"), trial=WarpTrial("piecewise", 60, 1.5, None)),
        replace(
            straight,
            a=ViewInfo("a.tif", (480, 360), tmp_path / "a.tif", "nir", geo, 12, 3),
            evidence=infinite,
            probabilities=np.linspace(0.1, 1, 60),
            pose=Pose(np.eye(3), np.array([0.6, 0.0, 0.8])),
            options=override(
                Options(),
                {"model": "essential", "camera_a": (500.0, 500.0, 240.0, 180.0), "band_a": "nir", "band_b": 2},
            ),
        ),
    ]
    for found in several:
        found.save(tmp_path / "saved.json")
        assert_equal(Registration.load(tmp_path / "saved.json"), found)
        json.loads((tmp_path / "saved.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)  # plain JSON


def test_what_is_no_saved_registration_is_refused_in_one_line(truth: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    made(truth).save(path)
    whole = json.loads(path.read_text(encoding="utf-8"))

    def refusal(**changed: Any) -> str:
        path.write_text(json.dumps({**whole, **changed}), encoding="utf-8")
        with pytest.raises(InputError) as caught:
            Registration.load(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "is of version 2 of the format, and this tiepoint reads version 1: register again" in refusal(version=2)
    assert "no saved registration" in refusal(format="something else")
    held = whole["registration"]
    options = {name: value for name, value in held["options"].items() if name != "uniform"} | {"even": False}
    said = refusal(tiepoint="0.0.9", registration={**held, "options": options})
    assert "made with the options of another version, tiepoint 0.0.9 (even, uniform differ): register again" in said
    assert "is a damaged registration" in refusal(registration={**held, "points": {"array": "float64"}})
    assert "is a damaged registration" in refusal(registration={k: v for k, v in held.items() if k != "matrix"})
    before = {k: v for k, v in held.items() if k != "agreement"}  # as of versions that kept no windows
    path.write_text(json.dumps({**whole, "registration": before}), encoding="utf-8")
    assert Registration.load(path).agreement is None
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="no saved registration"):
        Registration.load(path)
    with pytest.raises(
        InputError, match=r"absent\.json: No such file or directory: give a file that Registration\.save"
    ):
        Registration.load(tmp_path / "absent.json")
