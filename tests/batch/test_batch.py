"""Many pairs: what is written, what is not done again, and what stops a run."""

from __future__ import annotations

import csv
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from geotiffs import write_geotiff

from tiepoint.batch import batch
from tiepoint.batch.batch import register_many
from tiepoint.batch.pair_list import Pair
from tiepoint.batch.settings import TRIAL
from tiepoint.batch.summary import Row
from tiepoint.errors import InputError
from tiepoint.features import view
from tiepoint.features.describe import Features, describe
from tiepoint.files import locked
from tiepoint.images.geo import Geo
from tiepoint.images.pixels import write_image
from tiepoint.registration.register import register
from tiepoint.registration.result import Registration

QUICK: dict[str, Any] = {"max_keypoints": 300, "global_search": False, "refine": False}
MATRIX = np.array([[0.99, 0.05, 4.0], [-0.05, 1.01, 8.0], [0, 0, 1]])


@pytest.fixture(scope="module")
def images(texture: Callable[..., np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.png and seen through MATRIX 1.png; 2.png of nothing they show; text.png, which is no image."""
    folder = tmp_path_factory.mktemp("batch")
    first = texture(5, 240, 180)
    moved = cv2.warpPerspective(first, MATRIX, (240, 180), borderMode=cv2.BORDER_REFLECT)
    for index, image in enumerate([first, moved, texture(6, 240, 180)]):
        write_image(folder / f"{index}.png", image)
    (folder / "text.png").write_text("no image\n")
    return folder


@pytest.fixture
def pairs(images: Path) -> list[Pair]:
    """One to accept, one to refuse, one that fails, and one more to accept."""
    return [
        Pair(name, images / f"{a}.png", images / f"{b}.png")
        for name, a, b in [("good", 0, 1), ("wrong", 0, 2), ("text", 0, "text"), ("back", 1, 0)]
    ]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A letter for each image described, and one for each pair registered; the trial of the settings is left out."""
    found: list[str] = []

    def described(*arguments: Any, name: str, **options: Any) -> Features:
        if name != TRIAL:
            found.append("d")
        return describe(*arguments, name=name, **options)

    def registered(*arguments: Any, **options: Any) -> Registration:
        found.append("r")
        return register(*arguments, **options)

    monkeypatch.setattr(view, "describe", described)
    monkeypatch.setattr(batch, "register", registered)
    return found


def run(pairs: list[Pair], out: Path, **options: Any) -> list[Row]:
    return register_many(pairs, out, "rootsift", **QUICK | options)


def listed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if ".cache" not in path.parts)


def plain(row: Row) -> dict[str, Any]:
    return {key: value for key, value in row.to_json().items() if key != "seconds"}


def test_each_pair_has_its_verdict_and_its_files(pairs: list[Pair], tmp_path: Path, images: Path) -> None:
    seen: list[tuple[int, int]] = []
    rows = run(pairs, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [(row.name, row.verdict) for row in rows] == [
        ("good", "accepted"), ("wrong", "refused"), ("text", "failed"), ("back", "accepted"),
    ]  # fmt: skip
    np.testing.assert_allclose(rows[0].matrix, MATRIX, atol=0.5)
    np.testing.assert_allclose(np.array(rows[0].matrix) @ np.array(rows[3].matrix), np.eye(3), atol=0.5)
    assert rows[1].reasons
    assert rows[2].error is not None
    assert rows[2].error.startswith(f"InputError: {images / 'text.png'}")
    found = [f"{name}/{file}" for name in ("back", "good", "wrong") for file in ("result.json", "tie_points.csv")]
    assert listed(tmp_path / "out") == sorted(["back", "good", "summary.csv", "summary.json", "wrong", *found])
    points = np.loadtxt(tmp_path / "out" / "good" / "tie_points.csv", delimiter=",", skiprows=1)
    assert points.shape == (rows[0].inliers, 5)
    direct = register(images / "0.png", images / "1.png", "rootsift", **QUICK).to_json()
    result = json.loads((tmp_path / "out" / "good" / "result.json").read_text(encoding="utf-8"))
    assert direct.items() <= result.items()
    assert result["made_from"]["settings"]["ratio"] == 0.9


def test_the_summary_says_what_the_rows_say(pairs: list[Pair], tmp_path: Path) -> None:
    rows = run([*pairs, Pair("alone", None, pairs[0].b, "no image 'alone'")], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary.pop("rows") == json.loads(json.dumps([row.to_json() for row in rows]))
    del summary["tiepoint"]
    assert summary == {"of": 5, "pairs": 5, "accepted": 2, "refused": 1, "failed": 2, "reused": 0}
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["accepted"] for line in lines] == ["true", "false", "false", "true", "false"]
    np.testing.assert_array_equal(np.array(lines[0]["matrix"].split(), dtype=float).reshape(3, 3), rows[0].matrix)
    assert lines[1]["reasons"] == "; ".join(rows[1].reasons)
    assert lines[4]["a"] == lines[4]["confidence"] == lines[4]["matrix"] == ""
    assert lines[4]["error"] == "InputError: no image 'alone'"


def test_a_second_run_does_what_failed_and_nothing_else(
    pairs: list[Pair], tmp_path: Path, calls: list[str], images: Path
) -> None:
    first = run(pairs, tmp_path)
    assert sorted(calls) == list("dddrrr")  # three images, each once, and the text is none
    calls.clear()
    second = run(pairs, tmp_path)
    assert calls == []
    assert [plain(row) for row in second] == [plain(row) for row in first]
    assert [row.reused for row in second] == [True, True, False, True]


def test_what_a_result_was_made_from_decides(pairs: list[Pair], tmp_path: Path, calls: list[str], images: Path) -> None:
    own, out = tmp_path / "own.png", tmp_path / "out"
    own.write_bytes((images / "0.png").read_bytes())
    one = [Pair("good", own, pairs[0].b)]
    run(one, out)
    for change, again in [
        ({}, ""), ({"max_residual": 2.0}, "r"), ({"max_keypoints": 200}, "ddr"),
        ({}, "r"),  # the features of the first settings are there still
        ({"workers": 2, "progress": print}, ""), ({"report": "page.html"}, "r"), ({"report": "page.html"}, ""),
        ({"warp": "piecewise"}, "r"), ({"warp": "piecewise"}, ""), ({"model": "fundamental"}, "r"),
        ({"model": "essential", "camera_a": (200, 200, 0, 0), "camera_b": (200.0, 200, 0, 0)}, "r"),
        ({"model": "essential", "camera_a": (200, 200, 0, 0), "camera_b": (200.0, 200, 0, 0)}, ""),
        ({"model": "essential", "camera_a": (200, 200, 0, 0), "camera_b": (300.0, 200, 0, 0)}, "r"),
    ]:  # fmt: skip
        calls.clear()
        run(one, out, **change)
        assert "".join(calls) == again, change
    (out / "good" / "tie_points.csv").unlink()
    calls.clear()
    run(one, out)
    assert calls == ["r"]
    (out / "good" / "result.json").write_text('{"made_from": ')
    own.write_bytes((images / "2.png").read_bytes())  # the name as before, the content not
    calls.clear()
    assert run(one, out)[0].verdict == "refused"
    assert calls == ["d", "r"]
    own.unlink()
    assert run(one, out)[0].error == f"InputError: {own}: no such file"
    assert not (out / "good" / "result.json").exists()  # it would contradict the summary


def test_another_calibration_of_the_verdict_does_all_again(
    pairs: list[Pair], tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pairs[:1], tmp_path / "out")
    other = tmp_path / "verdict.json"
    other.write_text(batch.VERDICT.read_text(encoding="utf-8") + " ", encoding="utf-8")
    monkeypatch.setattr(batch, "VERDICT", other)
    calls.clear()
    assert not run(pairs[:1], tmp_path / "out")[0].reused
    assert calls == ["r"]
    assert run(pairs[:1], tmp_path / "out")[0].reused


def test_bands_are_of_the_images_and_of_the_cache(tmp_path: Path, images: Path, calls: list[str]) -> None:
    """Three bands of which the second shows the scene."""
    noise = np.random.default_rng(0).integers(0, 255, (180, 240), dtype=np.uint8)
    for name in ("0", "1"):
        grey = cv2.imread(str(images / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        write_image(tmp_path / f"{name}.png", np.dstack([noise, grey, noise]))
    one = [Pair("good", tmp_path / "0.png", tmp_path / "1.png")]
    plain = run([Pair("good", images / "0.png", images / "1.png")], tmp_path / "plain")
    calls.clear()
    for bands, again in [
        ((2, 2), "ddr"), ((2, 2), ""), ((2, "green"), "dr"), ((2, 3), "dr"), ((2, 2), "r"),
        ((np.int64(2), np.int64(2)), ""), ((2, "blush"), "failed"),
    ]:  # fmt: skip
        rows = run(one, tmp_path / "out", band_a=bands[0], band_b=bands[1], report="page.html")
        assert ("".join(calls) if rows[0].error is None else "failed") == again, bands
        if bands == (2, 2):
            np.testing.assert_array_equal(rows[0].matrix, plain[0].matrix)
        calls.clear()
    assert rows[0].error is not None
    assert "has no band 'blush'" in rows[0].error
    with pytest.raises(InputError, match=r"band_a is 1\.5"):
        run(one, tmp_path / "out", band_a=1.5)


def test_the_warped_image_and_the_placed_tie_points_are_written_and_cleared(tmp_path: Path, images: Path) -> None:
    pytest.importorskip("rasterio")
    geo = Geo((0.001, 0.0, 15.0, 0.0, -0.001, 50.0), "EPSG:4326", 4326)
    for name in ("1", "2"):
        write_geotiff(tmp_path / f"{name}.tif", cv2.imread(str(images / f"{name}.png"), cv2.IMREAD_GRAYSCALE), geo)
    placed = [Pair(name, images / "0.png", tmp_path / f"{b}.tif") for name, b in (("good", 1), ("wrong", 2))]
    out = tmp_path / "out"
    rows = run(placed, out, warp_output="warped.tif")
    assert [row.verdict for row in rows] == ["accepted", "refused"]
    whole = ["result.json", "tie_points.csv"]
    assert listed(out / "good") == [*whole, "tie_points.geojson", "tie_points.points", "warped.tif"]
    assert listed(out / "wrong") == whole
    features = json.loads((out / "good" / "tie_points.geojson").read_text(encoding="utf-8"))["features"]
    assert len(features) == rows[0].inliers
    assert all(row.reused for row in run(placed, out, warp_output="warped.tif"))
    (out / "good" / "warped.tif").unlink()
    assert [row.reused for row in run(placed, out, warp_output="warped.tif")] == [False, True]
    run(placed[:1], out, warp_output="warped.tif", min_inliers=1000)  # refused: of the earlier run nothing stays
    assert listed(out / "good") == whole


def test_a_crash_is_a_row_with_its_traceback(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: Any, **options: Any) -> Registration:
        if crashing:
            raise ZeroDivisionError("division\nby zero")
        return register(*arguments, **options)

    monkeypatch.setattr(batch, "register", crash)
    crashing = True
    rows = run(pairs[:2], tmp_path)
    assert [row.error for row in rows] == ["ZeroDivisionError: division by zero"] * 2
    assert "in crash" in (tmp_path / "good" / "error.txt").read_text(encoding="utf-8")
    crashing = False
    assert run(pairs[:2], tmp_path)[0].verdict == "accepted"
    assert not (tmp_path / "good" / "error.txt").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_is_taken_up(
    pairs: list[Pair], tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    expected = run(pairs, tmp_path / "whole")
    calls.clear()

    def interrupted(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(pairs, out, progress=interrupted, workers=workers)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert (summary["of"], summary["pairs"]) == (4, 2)
    assert not [name for name in listed(out) if "/." in name]  # no half files
    run(pairs, out, workers=workers)
    assert calls.count("r") == 3  # none twice
    assert [plain(row) for row in run(pairs, out)] == [plain(row) for row in expected]


def test_an_interruption_amid_writing_leaves_no_whole_result(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch, "write_ties", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(pairs[:1], tmp_path)
    assert listed(tmp_path / "good") == ["result.json"]
    assert not run(pairs[:1], tmp_path)[0].reused


def test_a_full_disk_stops_the_run_which_is_taken_up(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    write = Path.write_text

    def full(self: Path, text: str, **options: Any) -> int:
        if "wrong" in self.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, text, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            run(pairs, tmp_path)
    assert listed(tmp_path / "wrong") == []
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["pairs"] == 1
    calls.clear()
    assert [row.reused for row in run(pairs, tmp_path)] == [True, False, False, False]
    assert calls.count("r") == 2


def test_a_folder_that_cannot_be_written_stops_the_run(pairs: list[Pair], tmp_path: Path) -> None:
    (tmp_path / "good").write_text("a file where the pair's folder goes")
    with pytest.raises(OSError, match="good"):
        run(pairs, tmp_path)


def test_workers_give_the_same(pairs: list[Pair], tmp_path: Path) -> None:
    alone, together = run(pairs, tmp_path / "1"), run(pairs, tmp_path / "3", workers=3)
    assert [plain(row) for row in alone] == [plain(row) for row in together]


def test_one_run_at_a_time(pairs: list[Pair], tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="another run is writing there"):
        run(pairs, tmp_path)
    assert listed(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ratio": 7.0}, "ratio is 7"),
        ({"max_residual": -1.0}, "max_residual is -1"),
        ({"max_keypoints": 0}, "max_keypoints is 0"),
        ({"contrast_threshold": -1.0}, "contrast_threshold is -1"),
        ({"support": 5.0}, "support 5"),
        ({"min_confidence": 2.0}, "min_confidence is 2"),
        ({"relater": "rootsift"}, "give a relater"),
        ({"workers": 0}, "workers is 0"),
        ({"report": "a/b.html"}, "give a file name alone"),
        ({"report": "result.json"}, "give a file name alone"),
        ({"warp_output": "a/b.tif"}, "give a file name alone"),
        ({"warp_output": "warped.png"}, "name it .tif"),
        ({"warp_output": "x.tif", "report": "x.tif"}, "give two file names"),
        ({"warp_output": "x.tif", "model": "fundamental"}, "leave out warp_output"),
        ({"warp": "spline"}, "no warp 'spline'"),
        ({"model": "essential"}, "needs camera_a"),
        ({"model": "essential", "camera_a": (1, 1, 0, 0), "camera_b": (-1, -1, 0, 0)}, r"camera_b is \(-1"),
    ],
)
def test_settings_that_fit_no_pair_stop_before_the_first(
    pairs: list[Pair], tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        run(pairs, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_arguments_that_cannot_be_used(pairs: list[Pair], tmp_path: Path, images: Path) -> None:
    with pytest.raises(InputError, match="no pairs"):
        run([], tmp_path)
    with pytest.raises(InputError, match="two pairs have the name 'good'"):
        run(pairs[:1] * 2, tmp_path)
    with pytest.raises(InputError, match="holds the images"):
        run(pairs, images)
    with pytest.raises(InputError, match="no such describer"):
        register_many(pairs, tmp_path, "nosuch")
    with pytest.raises(InputError, match="unknown option 'colour'"):
        run(pairs, tmp_path, colour=1)
    with pytest.raises(InputError, match=r"unknown option 'max_keypoint': did you mean max_keypoints\?"):
        run(pairs, tmp_path, max_keypoint=1)
    assert listed(tmp_path) == []
