"""Nothing is lost: no input and no file of someone else is replaced, and what a killed run left is taken up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import small_patch_set

from tiepoint import files
from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.files import (
    GENERATOR,
    atomic_directory,
    atomic_file,
    check_outputs,
    discard,
    guarded,
    locked,
    open_no_link,
    protect,
    write_json,
    write_text,
)
from tiepoint.images.pixels import write_image

SIGNS = {
    "a.json": '{"tiepoint": "0.1.0"}', "b.json": '{"x": {"tiepoint":"1.2"}}',
    "c.html": f'<meta name="generator" content="{GENERATOR}">', "d.txt": f"{GENERATOR}\nTraceback",
}  # fmt: skip
OTHERS = {"e.json": '{"a": "tiepoint"}', "f.html": "<p>made beside tiepoint 0.1.0</p>", "g.csv": "a,b\n", "h.png": ""}


@pytest.mark.parametrize(("name", "text"), [*SIGNS.items(), *OTHERS.items()])
def test_only_what_tiepoint_wrote_is_replaced(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with guarded():
        if name in SIGNS:
            write_text(path, "new")
        else:
            with pytest.raises(InputError, match=r"was not written by tiepoint.*--overwrite"):
                write_text(path, "new")
            discard(path)
            assert path.read_text(encoding="utf-8") == text
    with guarded(overwrite=True):
        write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_a_picture_holds_the_sign_and_is_read(tmp_path: Path, name: str) -> None:
    image = np.full((40, 50), 90, np.uint8)
    with guarded():
        write_image(tmp_path / name, image)
        write_image(tmp_path / name, image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED), image)


def test_a_table_is_known_by_the_result_beside_it(tmp_path: Path) -> None:
    (tmp_path / "tie_points.csv").write_text("xa\n")
    with guarded():
        with pytest.raises(InputError, match="not written by tiepoint"):
            check_outputs(tmp_path / "tie_points.csv")
        write_json(tmp_path / "result.json", {"tiepoint": "0.1.0"})
        check_outputs(tmp_path / "tie_points.csv")
        protect(tmp_path)  # a run that is an input, of which nothing is replaced by what stands beside it
        with pytest.raises(InputError, match="not written by tiepoint"):
            check_outputs(tmp_path / "tie_points.csv")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_no_output_replaces_an_input_by_any_name(tmp_path: Path, link: object) -> None:
    write_text(tmp_path / "a.html", SIGNS["c.html"])
    link(tmp_path / "a.html", tmp_path / "b.html")  # type: ignore[operator]
    with guarded(overwrite=True):
        protect(tmp_path / "a.html", "auto", "\0", tmp_path / "missing")
        for name in ("a.html", "b.html"):
            with pytest.raises(InputError, match="is an input, which an output would replace"):
                write_text(tmp_path / name, "new")
    write_text(tmp_path / "a.html", "new")  # a library's caller says what is written


def test_two_outputs_have_two_places(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the place of two outputs"):
        check_outputs(tmp_path / "x.html", None, tmp_path / "." / "x.html")


def test_links_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.write_text("mine")
    (tmp_path / "out").mkdir()
    for name in ("out/.lock", "out/.lock-holder", "log", "x.csv", ".y.csv-tiepoint", "set"):
        (tmp_path / name).symlink_to(target)
    with pytest.raises(InputError, match="is a link, which is not followed"), locked(tmp_path / "out"):
        pass
    (tmp_path / "out" / ".lock").unlink()
    with locked(tmp_path / "out"):
        assert not (tmp_path / "out" / ".lock-holder").is_symlink()
    with pytest.raises(InputError, match="is a link"):
        open_no_link(str(tmp_path / "log"), os.O_WRONLY)
    with guarded(), pytest.raises(InputError, match="not written by tiepoint"):
        write_text(tmp_path / "x.csv", "new")
    write_text(tmp_path / "x.csv", "new")
    with pytest.raises(InputError, match="is a link"):
        write_text(tmp_path / "y.csv", "new")
    with pytest.raises(InputError, match="exists already"), atomic_directory(tmp_path / "set"):
        pass
    assert target.read_text() == "mine"


def test_what_a_killed_run_left_is_taken_up(tmp_path: Path) -> None:
    for name in ("set", "file.txt", "other.npz"):
        (tmp_path / f".{name}-tiepoint").mkdir()
        (tmp_path / f".{name}-tiepoint" / ".lock").touch()
    (tmp_path / ".set-tiepoint" / "set").mkdir()
    (tmp_path / ".set-tiepoint" / "set" / "old.npy").write_text("x" * 100)
    (tmp_path / ".file.txt-tiepoint" / "file.txt-journal").write_text("old")
    with atomic_directory(tmp_path / "set") as temporary:
        (temporary / "new.npy").touch()
    write_text(tmp_path / "file.txt", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.npz-tiepoint", "file.txt", "set"]
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["new.npy"]
    with locked(tmp_path):  # which is about to write all that is in the folder
        assert not (tmp_path / ".other.npz-tiepoint").exists()


def test_what_another_run_is_writing_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_WAIT_S", 0)
    with atomic_directory(tmp_path / "set") as temporary, atomic_file(tmp_path / "a.txt") as other:
        other.write_text("first")
        with locked(tmp_path):
            assert temporary.is_dir()
        with pytest.raises(InputError, match="set: another run is writing there"), atomic_directory(tmp_path / "set"):
            pass
        with pytest.raises(InputError, match=r"a\.txt: another run is writing there"):
            write_text(tmp_path / "a.txt", "second")
    assert (tmp_path / "a.txt").read_text() == "first"


def test_long_names_are_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 250 + ".txt"), "x")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_sheet_replaces_neither_the_set_nor_a_picture_of_the_user(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small_patch_set(tmp_path / "set", points=20, per_point=2)
    (tmp_path / "mine.png").write_bytes(b"mine")
    words = ["data", "info", str(tmp_path / "set"), "--sheet", str(tmp_path / "mine.png")]
    assert main(words) == 2
    assert "mine.png: is there and was not written by tiepoint" in capfd.readouterr().err
    assert (tmp_path / "mine.png").read_bytes() == b"mine"
    assert main([*words, "--overwrite"]) == 0
    assert main(words) == 0


TERMINATED = """
import os, signal, sys
from pathlib import Path
from tiepoint import cli, files
def run(words):
    with files.locked(sys.argv[1]), files.atomic_directory(Path(sys.argv[1]) / "set") as folder:
        (folder / "half").touch()
        os.kill(os.getpid(), int(sys.argv[2]))
        raise AssertionError("the signal was ignored")
number = int(sys.argv[2])  # which a shell in the background, or nohup, may have ignored for all below it
signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
cli._run = run
sys.exit(cli.main([]))
"""


@pytest.mark.whole
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_clean_up(tmp_path: Path, name: str) -> None:
    number = getattr(signal, name)
    command = [sys.executable, "-c", TERMINATED, str(tmp_path / "out"), str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + number, "tiepoint: interrupted\n")
    assert list(tmp_path.iterdir()) == []
