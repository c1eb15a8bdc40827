"""One run at a time on a folder, also where an earlier one died."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiepoint.errors import InputError
from tiepoint.files import locked

HOLD = "import sys, time\nfrom tiepoint.files import locked\nwith locked(sys.argv[1]):\n    print(1, flush=True)\n"


def test_a_second_holder_is_refused_by_name_and_the_next_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    said = f"another run is writing there .process {os.getpid()} on "
    with locked(folder), locked(tmp_path / "other"), pytest.raises(InputError, match=said), locked(folder):
        pass
    with locked(folder):
        assert folder.is_dir()


@pytest.mark.whole
def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    code = HOLD + "    time.sleep(60)\n"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(InputError, match=f"process {holder.pid} "), locked(tmp_path):
            pass
        holder.kill()
    with locked(tmp_path):  # the file of the dead one is there still
        assert f"process {os.getpid()} " in (tmp_path / ".lock-holder").read_text(encoding="utf-8")


def test_none_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with locked(None), locked(None):
        assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_the_holder_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with locked(tmp_path), pytest.raises(InputError, match=r"writing there \(unknown\): wait"), locked(tmp_path):
        pass


def test_what_was_made_and_is_empty_goes_with_it(tmp_path: Path) -> None:
    with locked(tmp_path / "a" / "b"):
        assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {".lock", ".lock-holder"}
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]
    with pytest.raises(KeyError), locked(tmp_path / "a"):
        raise KeyError
    assert (tmp_path / "a").is_dir()  # it was there before


def test_a_lock_file_that_was_just_removed_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two might hold one each: that of a file that is gone, and that of the file in its place."""
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", lambda *_: (tmp_path / ".lock").unlink(missing_ok=True))
    with pytest.raises(InputError, match="another run is writing there"), locked(tmp_path):
        pass


def test_where_an_open_file_cannot_be_removed_it_goes_after_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tiepoint import files

    opened, remove = [True], files._remove

    def kept_while_open(path: Path) -> None:
        if path.name != ".lock" or not opened.pop():
            remove(path)
        opened.append(False)

    monkeypatch.setattr(files, "WINDOWS", True)
    monkeypatch.setattr(files, "_remove", kept_while_open)
    with locked(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="is a file, or lies below one"), locked(path):
            pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        for path in (tmp_path, tmp_path / "out"):
            with pytest.raises(PermissionError) as caught, locked(path):
                pass
            assert str(caught.value.filename).startswith(str(tmp_path))
    finally:
        tmp_path.chmod(0o700)


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="No locks available") as caught, locked(tmp_path):
        pass
    assert caught.value.filename == str(tmp_path / ".lock")
