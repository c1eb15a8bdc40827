from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from synthetic import smooth_texture
from torch import nn

from tiepoint.cli import main
from tiepoint.export.hloc import read_features
from tiepoint.features.describe import describe
from tiepoint.features.frames import from_colmap, sigmas

TURN = np.array([[0.95, -0.1, 20.0], [0.1, 0.95, 5.0], [0, 0, 1]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png, sub/b.png and c.png show one texture; flat.png shows nothing, .d.png is hidden, notes.txt no image."""
    path = tmp_path_factory.mktemp("images")
    (path / "sub").mkdir()
    texture = smooth_texture(320, seed=5)
    step = np.eye(3)
    for name in ("a.png", "sub/b.png", "c.png"):
        cv2.imwrite(str(path / name), cv2.warpPerspective(texture, step, (260, 220)))
        step = TURN @ step
    cv2.imwrite(str(path / "flat.png"), np.full((220, 260), 9, np.uint8))
    cv2.imwrite(str(path / ".d.png"), texture)
    (path / "notes.txt").write_text("notes")
    return path


def run(verb: str, folder: Path, *options: str) -> int:
    return main(["export", verb, str(folder), "--describer", "rootsift", "--max-keypoints", "500", *options])


def test_colmap_of_a_folder(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    out = tmp_path / "d.db"
    assert run("colmap", folder, "--out", str(out), "--single-camera", "--focal", "300", "--json") == 0
    captured = capfd.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert (result["images"], result["pairs"], result["verified_pairs"]) == (3, 3, 3)
    assert list(result["left_out"]) == ["flat.png"]
    with pycolmap.Database.open(out) as database:
        assert [i.name for i in database.read_all_images()] == ["a.png", "c.png", "sub/b.png"]
        assert [c.params.tolist() for c in database.read_all_cameras()] == [[300, 130, 110, 0]]
        found = database.read_two_view_geometry(1, 3)
        a, b = (database.read_keypoints(k)[:, :2] - 0.5 for k in (1, 3))
        assert database.num_inlier_matches() == result["inliers"]
    rows = found.inlier_matches
    mapped = np.column_stack([a[rows[:, 0]], np.ones(len(rows))]) @ TURN.T
    assert np.median(np.linalg.norm(mapped[:, :2] - b[rows[:, 1]], axis=1)) < 0.5
    assert run("colmap", folder, "--out", str(out)) == 2
    assert "exists already" in capfd.readouterr().err


def test_pairs_from_a_file(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("# first, second\na.png, sub/b.png\n\n")
    assert run("colmap", folder, "--out", str(tmp_path / "d.db"), "--pairs", str(pairs), "--json") == 0
    result = json.loads(capfd.readouterr().out)
    assert (result["images"], result["pairs"], result["left_out"]) == (2, 1, {})


def test_hloc_of_a_folder(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("hloc", folder, "--out", str(tmp_path / "out"), "--json") == 0
    result = json.loads(capfd.readouterr().out)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["features.h5", "matches.h5", "pairs.txt"]
    with h5py.File(tmp_path / "out" / "matches.h5") as matches, h5py.File(tmp_path / "out" / "features.h5") as features:
        count = 0
        for line in (tmp_path / "out" / "pairs.txt").read_text().splitlines():
            a, b = line.split()
            group = matches["/".join(n.replace("/", "-") for n in (a, b))]
            assert len(group["matches0"]) == len(features[a]["keypoints"])
            assert group["matches0"].__array__().max() < len(features[b]["keypoints"])
            scores = group["matching_scores0"].__array__()
            assert scores.min() == 0
            assert 0.9 < scores.max() <= 1
            count += int((group["matches0"].__array__() >= 0).sum())
    assert count == result["matches"] > 100


@pytest.mark.parametrize("verb", ["colmap", "hloc"])
def test_detector_and_affine_shape_are_taken(
    verb: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """COLMAP's keypoints have the shape, hloc's its scale and orientation."""
    out, pairs = tmp_path / "out", tmp_path / "pairs.csv"
    pairs.write_text("a.png,c.png\n")
    words = ("--detector", "gradient", "--affine", "--max-keypoints", "60", "--pairs", str(pairs), "--json")
    assert run(verb, folder, "--out", str(out), *words) == 0
    assert json.loads(capfd.readouterr().out)["keypoints"] == 120
    expected = describe(folder / "a.png", "rootsift", detector="gradient", affine=True, max_keypoints=60)
    lengths = np.linalg.svd(expected.frames[:, :, :2], compute_uv=False)
    assert (lengths[:, 0] > 1.2 * lengths[:, 1]).mean() > 0.2
    if verb == "colmap":
        with closing(sqlite3.connect(out)) as database:
            rows, columns, data = database.execute(
                "SELECT rows, cols, data FROM keypoints WHERE image_id = 1"
            ).fetchone()
        assert columns == 6
        table = np.frombuffer(data, dtype="<f4").reshape(rows, columns)
        np.testing.assert_allclose(from_colmap(table), expected.frames, atol=1e-4)
    else:
        image = read_features(out / "features.h5", "a.png")
        np.testing.assert_allclose(image.keypoints, expected.points, atol=1e-4)
        np.testing.assert_allclose(image.scales, sigmas(expected.frames), rtol=1e-5)
        np.testing.assert_allclose(image.descriptors, expected.descriptors, atol=1e-5)


@pytest.mark.parametrize("verb", ["colmap", "hloc"])
def test_what_suits_no_image_is_told_once(
    verb: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(verb, folder, "--out", str(tmp_path / "out"), "--detector", "surf", "--json") == 2
    captured = capfd.readouterr()
    assert captured.err.startswith("tiepoint: error: no detector 'surf': there are sift")
    assert captured.err.count("no detector") == captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_a_verified_pair_the_exit_code_is_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    for seed in range(2):
        cv2.imwrite(str(tmp_path / "images" / f"{seed}.png"), smooth_texture(120, seed))
    assert run("colmap", tmp_path / "images", "--out", str(tmp_path / "d.db")) == 1
    assert "verified pairs" in capfd.readouterr().out
    assert (tmp_path / "d.db").is_file()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a.png,c.png\na.png\n", "line 2"),
        ("a.png c.png d.png\n", "line 1"),
        ("a.png,a.png\n", "two different image names"),
        ("a.png,no.png\n", "no.png: a pair names it"),
        ("# nothing\n", "holds no pairs"),
    ],
)
def test_wrong_pairs_are_one_line(
    lines: str, message: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.csv").write_text(lines)
    for verb in ("colmap", "hloc"):
        assert run(verb, folder, "--out", str(tmp_path / "out"), "--pairs", str(tmp_path / "pairs.csv")) == 2
        captured = capfd.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.csv"]


def test_folders_that_will_not_do(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "x.png"), smooth_texture(120, 1))
    (tmp_path / "one" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    for name, message in (("missing", "missing or no folder"), ("empty", "no images"), ("one", "broken.jpg")):
        assert run("hloc", tmp_path / name, "--out", str(tmp_path / "out")) == 2
        assert message in capfd.readouterr().err
    assert run("colmap", folder, "--out", str(tmp_path / "d.db"), "--focal", "-1") == 2
    assert "focal is -1" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_faults_show_before_the_work(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, size in (("one.png", 120), ("my two.png", 130)):
        cv2.imwrite(str(tmp_path / name), smooth_texture(size, 1))
    assert run("hloc", tmp_path, "--out", str(tmp_path / "out"), "--describer", "no weights") == 2
    assert "'my two.png': hloc separates names by spaces" in capfd.readouterr().err
    options = ("--out", str(tmp_path / "d.db"), "--single-camera", "--describer", "no weights")
    assert run("colmap", tmp_path, *options) == 2
    assert "one.png: is 120x120 pixels, my two.png 130x130" in capfd.readouterr().err


def test_pixels_lie_as_stored_as_in_colmap(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    pycolmap = pytest.importorskip("pycolmap")
    turned = image.Exif()
    turned[0x0112] = 6
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        image.fromarray(smooth_texture(160, 1)[:100]).save(tmp_path / "images" / name, exif=turned)
    assert run("colmap", tmp_path / "images", "--out", str(tmp_path / "d.db"), "--single-camera", "--json") == 0
    with pycolmap.Database.open(tmp_path / "d.db") as database:
        assert [(c.width, c.height) for c in database.read_all_cameras()] == [(160, 100)]
        assert database.read_keypoints(1)[:, 0].max() > 105


@pytest.mark.slow
def test_onnx_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    from tiepoint.export import onnx
    from tiepoint.models.describer import LearnedDescriber

    class Mean(nn.Module):
        input_size, dimension, normalized = 32, 1, False

        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(1))

        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return self.gain * patches.mean(dim=(1, 2, 3))[:, None]

    describer = LearnedDescriber(Mean(), "mine")
    monkeypatch.setattr(onnx, "load", lambda name: describer)
    assert main(["export", "onnx", "mine", "--out", str(tmp_path / "mine.onnx"), "--json"]) == 0
    captured = capfd.readouterr()
    result = json.loads(captured.out)
    assert (result["inputs"], result["input_size"], result["outputs"]) == (["patches"], 32, ["descriptors"])
    assert result["largest_difference"] < 1e-4
    assert captured.err == ""
    assert main(["export", "onnx", "mine", "--out", str(tmp_path / "mine.txt")]) == 2
    assert "ends in .onnx" in capfd.readouterr().err


@pytest.mark.parametrize("verb", ["colmap", "hloc"])
def test_names_of_images_are_no_markup_and_need_not_be_utf8(
    verb: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {"colmap": os.fsdecode(b"caf\xe9 \x1b.png"), "hloc": "[b]:x:.png"}
    for name in ("0.png", names[verb]):
        shutil.copy(folder / "a.png", tmp_path / name)
    (tmp_path / "x[").mkdir()
    (tmp_path / "x[" / "red].png").write_bytes(b"no image")  # x[/red].png
    out = tmp_path / "out"
    assert run(verb, tmp_path, "--out", str(out), "--max-keypoints", "60") == 0
    captured = capfd.readouterr()
    assert "x[/red].png: truncated or not an image" in " ".join(captured.out.replace(f"{tmp_path}/", "").split())
    assert "\x1b" not in captured.out + captured.err
    if verb == "colmap":
        with closing(sqlite3.connect(out)) as database:
            found = database.execute("SELECT CAST(name AS BLOB) FROM images ORDER BY image_id").fetchall()
        assert [os.fsdecode(name) for (name,) in found] == ["0.png", names[verb]]
    else:
        assert len(read_features(out / "features.h5", names[verb]).keypoints) == 60


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([b"caf\xe9.png"], r"'caf\udce9.png': hloc reads names as UTF-8: rename the image"),
        ([b"a/b.png", b"a-b.png"], "hloc cannot tell it from"),
    ],
)
def test_names_that_hloc_cannot_read_are_refused_before_the_work(
    names: list[bytes], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in [b"0.png", *names]:
        path = tmp_path / "in" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()  # no image, which the work would find
    assert run("hloc", tmp_path / "in", "--out", str(tmp_path / "out")) == 2
    assert said in capfd.readouterr().err
