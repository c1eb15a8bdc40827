from __future__ import annotations

import errno
import functools
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from register_inputs import error
from register_inputs import texture as noise

from tiepoint.cli import main
from tiepoint.files import locked
from tiepoint.registration.register import register

MATRIX = np.array([[0.99, 0.05, 4.0], [-0.05, 1.01, 8.0], [0, 0, 1]])
QUICK = ("--describer", "rootsift", "--max-keypoints", "300", "--no-global-search", "--no-refine")


texture = functools.partial(noise, width=240, height=180)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vis and nir with 1.png, which show the same, and 2.png, which do not; vis/3.png alone; tables good and bad."""
    path = tmp_path_factory.mktemp("pairs")
    for name in ("vis", "nir"):
        (path / name).mkdir()
    moved = cv2.warpPerspective(texture(1), MATRIX, (240, 180), borderMode=cv2.BORDER_REFLECT)
    images = {"vis/1": texture(1), "nir/1": moved, "vis/2": texture(2), "nir/2": texture(3), "vis/3": texture(4)}
    for name, image in images.items():
        assert cv2.imwrite(str(path / f"{name}.png"), image)
    (path / "pairs.csv").write_text("a,b,name\nvis/1.png,nir/1.png,there\nnir/1.png,vis/1.png,back\n")
    (path / "broken.csv").write_text("a,b,name\nvis/1.png,nir/1.png,there\nvis/1.png,gone.png,\n")
    (path / "bad.csv").write_text("a,b\nvis/1.png\n")
    return path


def run(*arguments: object) -> int:
    return main(["register", *map(str, arguments), *QUICK])


def test_a_table_accepted_exits_with_0(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    assert run(folder / "pairs.csv", "--out", out, "--report", "page.html", "--json") == 0
    captured = capfd.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert {k: result[k] for k in ("pairs", "accepted", "refused", "failed", "reused")} == {
        "pairs": 2, "accepted": 2, "refused": 0, "failed": 0, "reused": 0,
    }  # fmt: skip
    assert [row["name"] for row in result["rows"]] == ["there", "back"]
    np.testing.assert_allclose(result["rows"][0]["matrix"], MATRIX, atol=0.5)
    for name in ("there", "back"):
        found = sorted(path.name for path in (out / name).iterdir())
        assert found == ["page.html", "result.json", "tie_points.csv"]
    assert json.loads((out / "summary.json").read_text(encoding="utf-8"))["rows"] == result["rows"]
    assert run(folder / "pairs.csv", "--out", out, "--no-cache", "--workers", "2", "--json") == 0
    assert json.loads(capfd.readouterr().out)["reused"] == 2


def test_folders_with_a_refused_and_a_failed_pair_exit_with_1(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(folder / "vis", folder / "nir", "--out", tmp_path) == 1
    printed = capfd.readouterr().out
    for words in ("accepted", "refused", "failed", "no image '3' in"):
        assert words in printed
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [".cache", "1", "2"]


def test_a_missing_image_fails_its_pair_alone(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "broken.csv", "--out", tmp_path, "--no-cache", "--json") == 1
    rows = json.loads(capfd.readouterr().out)["rows"]
    assert rows[0]["accepted"] is True
    assert rows[1]["error"] == f"InputError: {folder / 'gone.png'}: no such file"
    assert not (tmp_path / ".cache").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vis/1.png"], "stands alone"),
        (["vis", "--out", "OUT"], "stands alone"),
        (["vis", "vis/1.png", "--out", "OUT"], "is a folder and"),
        (["vis/1.png", "nir", "--out", "OUT"], "is a folder and"),
        (["vis/1.png", "pairs.csv", "--out", "OUT"], "a table of pairs stands alone"),
        (["pairs.csv"], "--out"),
        (["vis", "nir"], "--out"),
        (["bad.csv", "--out", "OUT"], "line 2: 1 cells"),
        (["missing.csv", "--out", "OUT"], "cannot be read"),
        (["vis", "vis", "--out", "OUT"], "one folder"),
        (["vis", "nir", "--out", "vis"], "holds the images"),
        (["vis", "nir", "--out", "vis/1.png"], "is a file"),
        (["vis", "nir", "--out", "OUT", "--ratio", "7"], "ratio is 7"),
        (["vis", "nir", "--out", "OUT", "--large", "always"], "leave refine switched on"),
        (["vis", "nir", "--out", "OUT", "--rotations", "4"], "a describer of upright patches"),
        (["vis", "nir", "--out", "OUT", "--report", "sub/page.html"], "give a file name alone"),
    ],
)
def test_what_cannot_be_used_exits_with_2_and_one_line(
    folder: Path, tmp_path: Path, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert run(*[str(tmp_path / "out") if word == "OUT" else word for word in arguments], "--json") == 2
    assert said in error(capfd)
    assert not (tmp_path / "out").exists()
    assert sorted(folder.rglob("*")) == before


def test_a_second_run_on_the_folder_exits_with_2(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with locked(tmp_path):
        assert run(folder / "pairs.csv", "--out", tmp_path, "--json") == 2
    assert f"another run is writing there (process {os.getpid()} on" in error(capfd)


def test_a_folder_without_rights_exits_with_2(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = os.open

    def denied(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)
    assert run(folder / "pairs.csv", "--out", tmp_path, "--json") == 2
    assert "Permission denied" in error(capfd)


def test_a_full_disk_exits_with_2_and_the_run_is_taken_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write = Path.write_text

    def full(self: Path, text: str, **options: Any) -> int:
        if "back" in self.parts or "summary" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, text, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        assert run(folder / "pairs.csv", "--out", tmp_path, "--json") == 2
    assert "No space left on device" in error(capfd)
    assert run(folder / "pairs.csv", "--out", tmp_path, "--json") == 0
    assert json.loads(capfd.readouterr().out)["reused"] == 1


def test_an_interruption_exits_with_130(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tiepoint.batch import batch

    def interrupted(self: Any, pair: Any, *arguments: Any) -> None:
        if pair.name == "back":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(batch._Job, "_clear", interrupted)
        assert run(folder / "pairs.csv", "--out", tmp_path, "--json") == 130
    assert error(capfd) == "tiepoint: interrupted\n"
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["pairs"] == 1
    assert run(folder / "pairs.csv", "--out", tmp_path, "--json") == 0
    assert json.loads(capfd.readouterr().out)["reused"] == 1


def test_the_options_are_those_of_register(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With structure and refinement: the default path gives what `register` gives for the pair alone."""
    arguments = [str(folder / "pairs.csv"), "--out", str(tmp_path), *QUICK[:4], "--model", "affine", "--json"]
    assert main(["register", *arguments]) == 0
    row = json.loads(capfd.readouterr().out)["rows"][0]
    direct = register(
        folder / "vis/1.png", folder / "nir/1.png", "rootsift", max_keypoints=300, model="affine"
    ).to_json()
    assert {key: row[key] for key in ("matrix", "confidence", "inliers", "rms")} == {
        key: direct[key] for key in ("matrix", "confidence", "inliers", "rms")
    }
