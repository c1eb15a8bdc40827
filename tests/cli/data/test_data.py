from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from synthetic import SyntheticScene, colmap_project, small_patch_set

import tiepoint
from tiepoint.cli import main
from tiepoint.data.sheet import contact_sheet
from tiepoint.patches import PatchSet

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return colmap_project(tmp_path_factory.mktemp("scene") / "plane", points=30, cameras=3)


@pytest.fixture
def project(scene: SyntheticScene, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scene.directory, tmp_path / "plane"))


def patch_set(directory: Path, points: list[int], channels: int = 1, dtype: type = np.uint8) -> PatchSet:
    """Patch k is constant: k + 1 in its first channel, ten times that in the others, times 256 for 16 bits."""
    unit = 1 if dtype == np.uint8 else 256
    with PatchSet.create(directory, len(points), channels=channels, dtype=dtype) as writer:
        values = (np.arange(len(points)) + 1) * unit
        writer.patches[:] = values[:, None, None, None] * np.array([1, 10, 10, 10][:channels])[:, None, None]
        writer.points[:] = points
        writer.image_names.append("a.png")
    return PatchSet.open(directory)


def complaint(words: list[str], capsys: Capture) -> str:
    """Run a command that must fail, and return the one line that it says."""
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tiepoint: error: ")
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    return said.err


def test_colmap_to_info_in_json(project: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    assert (
        main(["data", "colmap", str(project), "--out", str(out), "--margin", "1.5", "--licence", "CC0", "--json"]) == 0
    )
    said = capsys.readouterr()
    assert json.loads(said.out) == {"directory": str(out), "patches": 90, "points": 30, "images": 3}
    assert (said.out.count("\n"), said.err) == (1, "")

    assert main(["data", "info", str(out), "--json"]) == 0
    said = capsys.readouterr()
    info: dict[str, Any] = json.loads(said.out)
    assert (said.out.count("\n"), said.err) == (1, "")
    assert (info["patches"], info["points"], info["images"]) == (90, 30, 3)
    assert (info["shape"], info["dtype"], info["spectra"]) == ([90, 1, 64, 64], "uint8", {"vis": 90})
    assert (info["support"], info["margin"], info["licence"], info["hashes"]) == (12.0, 1.5, "CC0", "ok")
    assert info["patches_per_point"] == {"median": 3.0, "max": 3, "once": 0, "histogram": {"3": 30}}
    assert info["bytes"] == sum(file.stat().st_size for file in out.iterdir())
    assert info["provenance"]["builder"] == "tiepoint data colmap"
    assert "sheet" not in info
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plane", "set"]


def test_tables_say_the_same_to_people(project: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    assert main(["data", "colmap", str(project), "--out", str(out)]) == 0
    assert "patches" in capsys.readouterr().out
    assert main(["data", "info", str(out)]) == 0
    text = capsys.readouterr().out
    for words in ("90 x 1 x 64 x 64", "vis: 90", "12 sigma", "1.75", "median 3, max 3, once 0", "provenance: builder"):
        assert words in text
    assert "hashes" in text


def test_uneven_points_are_counted(tmp_path: Path, capsys: Capture) -> None:
    patch_set(tmp_path / "set", [4, 9, 4, 4, 2, 7, 7])
    assert main(["data", "info", str(tmp_path / "set"), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["patches_per_point"]
    assert counts == {"median": 1.5, "max": 3, "once": 2, "histogram": {"1": 2, "2": 1, "3": 1}}


def cells(sheet: np.ndarray) -> list[list[int]]:
    """The value in the middle of each place, row by row."""
    grey = sheet if sheet.ndim == 2 else sheet[..., 0]
    return grey[2 + 32 :: 66, 2 + 32 :: 66].tolist()


def test_a_sheet_shows_a_point_a_row(tmp_path: Path) -> None:
    data = patch_set(tmp_path / "set", [5, 3, 5, 1, 3, 5, 2])
    sheet = contact_sheet(data)
    assert sheet.shape == (2 + 4 * 66, 2 + 3 * 66)
    rows = cells(sheet)
    assert sorted(rows[:2]) == [[1, 3, 6], [2, 5, 255]]  # points with a match first, 255 is paper
    assert sorted(rows[2:]) == [[4, 255, 255], [7, 255, 255]]
    assert (sheet[:2] == 255).all()
    assert (sheet[66:68] == 255).all()
    assert (sheet[:, 66:68] == 255).all()
    assert (sheet[2:66, 2:66] == rows[0][0]).all()


def test_a_sheet_is_bounded_and_drawn_by_seed(tmp_path: Path) -> None:
    data = patch_set(tmp_path / "set", [k // 10 for k in range(200)])
    one, same, other = (contact_sheet(data, rows=5, columns=8, seed=seed) for seed in (0, 0, 1))
    assert one.shape == (2 + 5 * 66, 2 + 8 * 66)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    for row in cells(one):
        assert len({(value - 1) // 10 for value in row}) == 1
        assert row == sorted(set(row))


@pytest.mark.parametrize(("channels", "shape"), [(2, (68, 134)), (3, (68, 134, 3)), (4, (68, 134))])
def test_three_channels_are_rgb_and_others_show_the_first(
    tmp_path: Path, channels: int, shape: tuple[int, ...]
) -> None:
    sheet = contact_sheet(patch_set(tmp_path / "set", [0, 0], channels))
    assert sheet.shape == shape
    assert cells(sheet) == [[1, 2]]
    if channels == 3:
        assert sheet[30, 30].tolist() == [1, 10, 10]


def test_sixteen_bits_are_stretched_for_display_only(tmp_path: Path) -> None:
    data = patch_set(tmp_path / "set", [0, 0, 0], dtype=np.uint16)
    assert cells(contact_sheet(data)) == [[0, 128, 255]]
    assert data.patches[:, 0, 0, 0].tolist() == [256, 512, 768]


def test_the_sheet_is_written_where_it_was_asked_for(tmp_path: Path, capsys: Capture) -> None:
    data = small_patch_set(tmp_path / "set")
    words = ["data", "info", str(tmp_path / "set"), "--sheet", str(tmp_path / "sheet.png"), "--seed", "3", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["sheet"] == str(tmp_path / "sheet.png")
    written = cv2.imread(str(tmp_path / "sheet.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, contact_sheet(data, seed=3))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "sheet.png"]


@pytest.mark.parametrize("name", ["patches.npy", "points.npy", "images.npy", "spectra.npy", "images.json"])
def test_info_finds_a_changed_byte(tmp_path: Path, capsys: Capture, name: str) -> None:
    small_patch_set(tmp_path / "set", points=3)
    content = bytearray((tmp_path / "set" / name).read_bytes())
    content[-2] ^= 4
    (tmp_path / "set" / name).write_bytes(content)
    assert f"{name}: content hash differs" in complaint(["data", "info", str(tmp_path / "set")], capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data", "info", "{tmp}/missing"], "missing is not a PatchSet"),
        (["data", "info", "{tmp}/plane"], "plane is not a PatchSet"),
        (["data", "info"], "--help"),
        (["data", "info", "{tmp}/set", "--sheet", "{tmp}/sheet.txt"], "sheet.txt: no image format has this suffix"),
        (["data", "info", "{tmp}/set", "--sheet", "{tmp}/set"], "set"),
        (["data", "info", "{tmp}/set", "--seed", "-1"], "seed is -1"),
        (["data", "info", "{tmp}/set", "--seed", "x"], "seed"),
        (["data", "colmap", "{tmp}/plane"], "--out"),
        (["data", "colmap", "--out", "{tmp}/new"], "give at least one project"),
        (["data", "colmap", "{tmp}/missing", "--out", "{tmp}/new"], "missing is missing or not a folder"),
        (["data", "colmap", "{tmp}/set", "--out", "{tmp}/new"], "images.bin is missing"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/set"], "set exists already"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/set/manifest.json"], "manifest.json exists already"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/set/manifest.json/new"], "manifest.json"),
        (["data", "colmap", "{tmp}/plane", "{tmp}/plane", "--out", "{tmp}/new"], "plane is given twice"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/new", "--margin", "0.5"], "margin is 0.5"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/new", "--margin", "nan"], "margin is nan"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/new", "--support", "0"], "support is 0"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/new", "--workers", "0"], "workers is 0"),
        (["data", "colmap", "{tmp}/plane", "--out", "{tmp}/new", "--margins", "2"], "--margins"),
    ],
)
def test_bad_input_is_one_line(project: Path, tmp_path: Path, capsys: Capture, words: list[str], message: str) -> None:
    small_patch_set(tmp_path / "set", points=3)
    before = sorted(tmp_path.rglob("*"))
    assert message in complaint([word.format(tmp=tmp_path) for word in words], capsys)
    assert sorted(tmp_path.rglob("*")) == before
    PatchSet.open(tmp_path / "set", verify=True)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def two_columns(project: Path) -> None:
    database = sqlite3.connect(project / "database.db")
    with database:
        database.execute("UPDATE keypoints SET cols = 2, rows = rows * 3")
    database.close()


@pytest.mark.parametrize("json_words", [[], ["--json"]])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shutil.rmtree(p / "images"), "plane/images is missing"),
        (lambda p: (p / "database.db").unlink(), "database.db is missing"),
        (lambda p: cut(p / "database.db", 5000), "database.db"),
        (lambda p: cut(p / "sparse" / "images.bin", 999), "images.bin is truncated"),
        (lambda p: (p / "images" / "view2.png").unlink(), "view2.png: no such file"),
        (lambda p: cut(p / "images" / "view2.png", 0), "view2.png: is empty"),
        (lambda p: cut(p / "images" / "view2.png", 3000), "view2.png: is truncated or damaged"),
        (lambda p: (p / "images" / "view2.png").write_text("hello\n"), "view2.png: truncated or not an image"),
        (two_columns, "no scale (2 columns): detect with SIFT"),
    ],
)
def test_a_broken_project_is_one_line_and_leaves_nothing(
    project: Path,
    tmp_path: Path,
    capsys: Capture,
    damage: Callable[[Path], object],
    message: str,
    json_words: list[str],
) -> None:
    damage(project)
    assert message in complaint(["data", "colmap", str(project), "--out", str(tmp_path / "set"), *json_words], capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["plane"]


FULL = """
import resource, sys
from tiepoint.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), -1))
sys.exit(main(sys.argv[2:]))
"""


def run_on_a_full_disk(limit: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", FULL, str(limit), *words],
        capture_output=True, text=True, timeout=120, check=False,
        cwd=Path(tiepoint.__file__).parents[2], env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.whole
def test_a_full_disk_is_one_line_and_leaves_nothing(project: Path, tmp_path: Path) -> None:
    done = run_on_a_full_disk(100_000, "data", "colmap", str(project), "--out", str(tmp_path / "set"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tiepoint: error: ")
    assert "File too large: free space" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["plane"]


@pytest.mark.whole
def test_a_full_disk_keeps_the_old_sheet(tmp_path: Path) -> None:
    small_patch_set(tmp_path / "set")
    (tmp_path / "sheet.png").write_text("old")
    words = ("data", "info", str(tmp_path / "set"), "--sheet", str(tmp_path / "sheet.png"))
    done = run_on_a_full_disk(10_000, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tiepoint: error: ")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "sheet.png").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "sheet.png"]


def test_without_json_the_output_is_no_terminal_trick(tmp_path: Path, capsys: Capture) -> None:
    small_patch_set(tmp_path / "set", points=3)
    assert main(["data", "info", str(tmp_path / "set")]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert max(map(len, said.out.splitlines())) <= 200


@pytest.mark.parametrize("verb", ["info", "colmap"])
def test_help_names_every_option(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["data", verb, "--help"])
    text = capsys.readouterr().out
    for option in {"info": ("--sheet", "--seed", "--json"), "colmap": ("--out", "--margin", "--licence")}[verb]:
        assert option in text
