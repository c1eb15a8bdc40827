"""Each pair of many is registered as it would be alone: in windows where it is large, upright patches in its turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bands import needs_rasterio
from cheap_models import Upright, correlation

from tiepoint.batch import settings as batch_settings
from tiepoint.batch.batch import register_many
from tiepoint.batch.pair_list import Pair
from tiepoint.batch.settings import TRIAL
from tiepoint.errors import InputError
from tiepoint.features import view
from tiepoint.features.describe import Features, describe
from tiepoint.images.pixels import write_image
from tiepoint.images.raster import Raster, read_image
from tiepoint.options import Registration as Options
from tiepoint.options import override
from tiepoint.registration import large
from tiepoint.registration.large import is_read_in_windows, read_for_pictures
from tiepoint.registration.register import register

WIDTH, HEIGHT, SHIFT = 1000, 300, (12, 8)
QUICK: dict[str, Any] = {"max_keypoints": 400, "overview": 512}
Texture = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def pairs(texture: Texture, tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Of images moved by SHIFT: big ones, which are reduced, and small ones, which are not."""
    folder = tmp_path_factory.mktemp("ways")
    for name, size in {"big": (WIDTH, HEIGHT), "small": (320, 240)}.items():
        image = texture(7, size[0] + SHIFT[0], size[1] + SHIFT[1])
        write_image(folder / f"{name}-a.png", image[SHIFT[1] :, SHIFT[0] :])
        write_image(folder / f"{name}-b.png", image[: size[1], : size[0]])
    return [Pair(name, folder / f"{name}-a.png", folder / f"{name}-b.png") for name in ("big", "small")]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files described, with the width that they had then; more than 200,000 pixels are large."""
    names: list[str] = []

    def described(image: Raster, *arguments: Any, name: str, **options: Any) -> Features:
        if name != TRIAL:
            names.append(f"{Path(name).stem} {image.pixels.shape[1]}")
        return describe(image, *arguments, name=name, **options)

    monkeypatch.setattr(view, "describe", described)
    monkeypatch.setattr(large, "MAX_WHOLE_PX", 200_000)
    return names


def run(pairs: list[Pair], out: Path, **options: Any) -> list[Any]:
    return register_many(pairs, out, "rootsift", **QUICK, **options)


@pytest.mark.slow
@needs_rasterio
def test_large_pairs_are_read_in_windows_and_the_others_whole(
    pairs: list[Pair], tmp_path: Path, seen: list[str]
) -> None:
    files = {"report": "page.html", "warp_output": "warped.tif"}
    rows = run(pairs, tmp_path, **files)
    assert seen == ["big-a 500", "big-b 500", "small-a 320", "small-b 320"]
    for row, pair, factor in zip(rows, pairs, (2, 1), strict=True):
        assert row.verdict == "accepted"
        np.testing.assert_allclose(row.matrix, [[1, 0, SHIFT[0]], [0, 1, SHIFT[1]], [0, 0, 1]], atol=0.05)
        result = json.loads((tmp_path / pair.name / "result.json").read_text(encoding="utf-8"))
        assert pair.a is not None
        assert pair.b is not None
        alone = register(pair.a, pair.b, "rootsift", **QUICK)
        assert alone.a.factor == alone.b.factor == factor
        assert alone.to_json().items() <= result.items()
        warped, fixed = read_image(tmp_path / pair.name / "warped.tif"), read_image(pair.b)
        assert warped.pixels.shape == fixed.pixels.shape
        assert np.abs(warped.pixels.astype(int) - fixed.pixels)[20:-20, 20:-20].mean() < 1
    page = (tmp_path / "big" / "page.html").read_text(encoding="utf-8")
    assert '"width":500' in page.replace(": ", ":")  # as it was compared
    seen.clear()
    assert [row.reused for row in run(pairs, tmp_path, **files)] == [True, True]
    assert seen == []


@pytest.mark.slow
def test_the_way_is_a_choice_and_a_result_is_of_its_way(pairs: list[Pair], tmp_path: Path, seen: list[str]) -> None:
    for choice, expected, reused in [
        ("never", ["big-a 1000", "big-b 1000"], False), ("auto", ["big-a 500", "big-b 500"], False),
        ("always", [], True), ("never", [], False),  # done again, by the features that are there still
    ]:  # fmt: skip
        seen.clear()
        assert run(pairs[:1], tmp_path, large=choice)[0].reused == reused
        assert seen == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"refine": False}, "leave refine switched on"),
        ({"model": "fundamental"}, "large images are registered by auto"),
        ({"warp": "piecewise", "relater": correlation()[0]}, "a warp and a relater do not go together"),
    ],
)
def test_what_windows_cannot_do_stops_before_the_first_pair_or_is_done_whole(
    pairs: list[Pair], tmp_path: Path, options: dict[str, Any], said: str, seen: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(batch_settings, "_weights", lambda given, name: {"name": name})  # of models that are no files
    with pytest.raises(InputError, match=said):
        run(pairs, tmp_path / "out", large="always", **options)
    assert not (tmp_path / "out").exists()
    a, b = pairs[0].a, pairs[0].b
    assert a is not None
    assert b is not None
    related = "relater" in options
    flat = {name: value for name, value in options.items() if name != "relater"}
    assert is_read_in_windows(a, b, Options(), has_relater=False)
    assert not is_read_in_windows(a, b, override(Options(), flat), related)
    with pytest.raises(InputError, match=said):
        is_read_in_windows(a, b, override(Options(), flat | {"large": "always"}), related)


def test_a_file_without_a_size_is_not_asked_where_the_way_is_given(tmp_path: Path) -> None:
    missing = tmp_path / "none.png"
    assert not is_read_in_windows(missing, missing, override(Options(), {"large": "never"}), has_relater=False)
    with pytest.raises(InputError, match="no such file"):
        is_read_in_windows(missing, missing, Options(), has_relater=False)


def test_pictures_are_of_the_files_and_their_bands(texture: Texture, tmp_path: Path) -> None:
    a = texture(5, 240, 200)
    write_image(tmp_path / "a.png", np.dstack([255 - a, a, 255 - a]))
    write_image(tmp_path / "b.png", a)
    paths = tmp_path / "a.png", tmp_path / "b.png"
    found = register(*paths, "rootsift", band_a=2, max_keypoints=200)
    first, second, shown = read_for_pictures(found)
    np.testing.assert_array_equal(first.pixels, a)
    np.testing.assert_array_equal(second.pixels, a)
    assert shown is found
    with pytest.raises(InputError, match="image a: was no file"):
        read_for_pictures(register(a, a, "rootsift", max_keypoints=200))


@pytest.fixture
def turns(texture: Texture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """Image b with itself, and turned by 90 and 180 degrees; "rootsift" loads a describer of upright patches."""
    monkeypatch.setattr(batch_settings, "load_describer", lambda name, device: Upright())
    image = texture(5, 240, 240)
    for quarters in range(3):
        write_image(tmp_path / f"{quarters}.png", np.ascontiguousarray(np.rot90(image, quarters)))
    return [Pair(str(turn), tmp_path / f"{turn}.png", tmp_path / "0.png") for turn in range(3)]


@pytest.mark.slow
def test_upright_patches_are_turned_pair_by_pair(turns: list[Pair], tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_keypoints": 200, "global_search": False, "refine": False}
    out = tmp_path / "out"
    rows = register_many(turns, out, "rootsift", rotations=4, **options)
    assert [row.verdict for row in rows] == ["accepted"] * 3
    for row, pair in zip(rows, turns, strict=True):
        alone = register(str(pair.a), str(pair.b), Upright(), rotations=4, **options)
        np.testing.assert_array_equal(row.matrix, alone.matrix)
    corner = cv2.perspectiveTransform(np.array([[[0.0, 0.0]]]), np.array(rows[2].matrix))
    np.testing.assert_allclose(corner.ravel(), [239, 239], atol=0.5)
    assert not (out / ".cache").exists()
    assert all(row.reused for row in register_many(turns, out, "rootsift", rotations=4, **options))
    plain = register_many(turns, out, "rootsift", **options)
    assert [row.verdict for row in plain] == ["accepted", "refused", "refused"]


def test_the_structure_turns_upright_patches_a_little(turns: list[Pair], tmp_path: Path) -> None:
    """As of a pair alone: the patches follow a turn of 12 degrees."""
    image = cv2.imread(str(turns[0].b), cv2.IMREAD_GRAYSCALE)
    matrix = np.vstack([cv2.getRotationMatrix2D((119.5, 119.5), 12, 1), [0, 0, 1]])
    moved = cv2.warpPerspective(image, matrix, (240, 240), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    write_image(tmp_path / "moved.png", moved)
    options: dict[str, Any] = {"max_keypoints": 200, "global_search": False, "refine": False}
    pair = Pair("moved", turns[0].b, tmp_path / "moved.png")
    row = register_many([pair], tmp_path / "out", "rootsift", **options)[0]
    alone = register(str(pair.a), str(pair.b), Upright(), **options)
    assert row.inliers == int(alone.inliers.sum()) > 60
    np.testing.assert_allclose(row.matrix, matrix, atol=0.5)


def test_turns_of_a_describer_that_turns_its_patches_stop_before_the_first_pair(
    pairs: list[Pair], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a describer of upright patches"):
        run(pairs, tmp_path / "out", rotations=4)
    assert not (tmp_path / "out").exists()
