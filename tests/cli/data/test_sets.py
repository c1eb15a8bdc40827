"""`data phototour`, `data hpatches` and `data homography`: from files to what they print and leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import smooth_texture

from tiepoint.cli import main
from tiepoint.data.readers.hpatches import STRIPS, HPatches
from tiepoint.data.readers.phototour import read_pairs
from tiepoint.patches import PatchSet

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def abbey(tmp_path: Path) -> Path:
    """A set in the layout of PhotoTour: six patches on one page, a list of two pairs."""
    folder = tmp_path / "abbey"
    folder.mkdir()
    cv2.imwrite(str(folder / "patches0000.bmp"), smooth_texture(192, seed=1)[:128])
    (folder / "info.txt").write_text("".join(f"{k // 2} 0\n" for k in range(6)))
    (folder / "m50_2_2_0.txt").write_text("0 0 0 1 0 0 0\n2 1 0 5 2 0 0\n")
    return folder


@pytest.fixture
def strips(tmp_path: Path) -> Path:
    """Two sequences in the layout of HPatches, of two and three patches."""
    root = tmp_path / "strips"
    for seed, (sequence, count) in enumerate({"i_lamp": 2, "v_wall": 3}.items()):
        (root / sequence).mkdir(parents=True)
        for strip in STRIPS:
            cv2.imwrite(str(root / sequence / f"{strip}.png"), smooth_texture(65 * count, seed)[:, :65])
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two sequences of six images that are all the same."""
    root = tmp_path / "images"
    for seed, name in enumerate(("wall", "lamp")):
        (root / name).mkdir(parents=True)
        for number in range(1, 7):
            cv2.imwrite(str(root / name / f"{number}.png"), smooth_texture(160, seed))
            np.savetxt(root / name / f"H_1_{number}", np.eye(3))
    return root


def printed(words: list[str], capsys: Capture) -> dict[str, object]:
    """Run a command with --json and return the one object that it prints."""
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    assert (said.out.count("\n"), said.err) == (1, "")
    result: dict[str, object] = json.loads(said.out)
    return result


def complaint(words: list[str], capsys: Capture) -> str:
    """Run a command that must fail, and return the one line that it says."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tiepoint: error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_phototour(abbey: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    words = ["data", "phototour", str(abbey), "--out", str(out), "--name", "own", "--licence", "MIT"]
    counts = {"patches": 6, "points": 3, "images": 1, "pairs": {"m50_2_2_0": 2}}
    assert printed(words, capsys) == {"directory": str(out), **counts}
    data = PatchSet.open(out, verify=True)
    assert (data.image_names, data.manifest["licence"]) == (["own"], "MIT")
    np.testing.assert_array_equal(read_pairs(out, "m50_2_2_0"), [[0, 1], [2, 5]])
    assert main(["data", "phototour", str(abbey), "--out", str(tmp_path / "again")]) == 0
    text = capsys.readouterr().out
    for row in ("patches", "m50_2_2_0: 2", "points"):
        assert row in text


def test_hpatches(strips: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    counts = {"sequences": 2, "patches": 80, "points": 5, "images": 32}
    assert printed(["data", "hpatches", str(strips), "--out", str(out)], capsys) == {"directory": str(out), **counts}
    PatchSet.open(out, verify=True)
    words = ["data", "hpatches", str(strips), "--out", str(tmp_path / "one"), "--sequences", "v_wall"]
    assert printed(words, capsys)["patches"] == 48
    (tmp_path / "splits.json").write_text(json.dumps({"b": {"train": ["v_wall"], "test": ["i_lamp"]}}))
    words = ["data", "hpatches", str(strips), "--splits", str(tmp_path / "splits.json"), "--split", "b"]
    assert printed([*words, "--out", str(tmp_path / "train")], capsys)["patches"] == 48
    assert printed([*words, "--part", "test", "--out", str(tmp_path / "test")], capsys)["patches"] == 32


def test_homography_and_then_hpatches(images: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "cut"
    words = ["data", "homography", str(images), "--viewpoint", "wall", "--illumination", "lamp", "--count", "4"]
    result = printed([*words, "--out", str(out)], capsys)
    assert result == {"directory": str(out), "patches": {"i_lamp": 4, "v_wall": 4}}
    assert HPatches.open(out).counts == result["patches"]
    assert printed(["data", "hpatches", str(out), "--out", str(tmp_path / "set")], capsys)["points"] == 8
    assert main([*words, "--out", str(tmp_path / "again")]) == 0
    assert "v_wall" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["phototour", "{tmp}/missing", "--out", "{tmp}/new"], "missing: no such file or folder"),
        (["phototour", "{tmp}/strips", "--out", "{tmp}/new"], "strips: holds 0 files info.txt"),
        (["phototour", "{tmp}/abbey", "--out", "{tmp}/strips"], "strips exists already"),
        (["phototour", "{tmp}/abbey", "--out", "{tmp}/new", "--name", "liberty"], "the published liberty 450092"),
        (["phototour", "{tmp}/abbey"], "--out"),
        (["hpatches", "{tmp}/abbey", "--out", "{tmp}/new"], "abbey: holds no strips"),
        (["hpatches", "{tmp}/strips", "--out", "{tmp}/new", "--sequences", "v_x"], "holds no sequence v_x"),
        (["hpatches", "{tmp}/strips", "--out", "{tmp}/new", "--splits", "{tmp}/no.json"], "no.json: cannot be read"),
        (
            ["hpatches", "{tmp}/strips", "--out", "{tmp}/new", "--splits", "{tmp}/x", "--sequences", "v_wall"],
            "give --sequences or --splits, not both",
        ),
        (["homography", "{tmp}/images", "--out", "{tmp}/new"], "name at least one sequence"),
        (["homography", "{tmp}/images", "--out", "{tmp}/new", "--viewpoint", "none"], "images/none: no such folder"),
        (
            ["homography", "{tmp}/images", "--out", "{tmp}/new", "--viewpoint", "wall", "--illumination", "wall"],
            "sequence wall: is named under --viewpoint and --illumination",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    abbey: Path, strips: Path, images: Path, tmp_path: Path, capsys: Capture, words: list[str], message: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert message in complaint(["data", *(word.format(tmp=tmp_path) for word in words)], capsys)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("phototour", ("--out", "--name", "--licence")),
        ("hpatches", ("--out", "--splits", "--sequences")),
        ("homography", ("--viewpoint", "--illumination", "--seed", "--min-distance")),
    ],
)
def test_help_names_every_option(verb: str, options: tuple[str, ...], capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["data", verb, "--help"])
    text = capsys.readouterr().out
    for option in (*options, "--json"):
        assert option in text
