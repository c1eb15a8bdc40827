from __future__ import annotations

import json
import math
import stat
from pathlib import Path

import pytest

from tiepoint.errors import InputError
from tiepoint.files import atomic_directory, atomic_file, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    write_text(target, "one\n")
    with atomic_file(target) as temporary:
        temporary.write_text("two, α\n", encoding="utf-8")
        assert temporary.suffix == ".txt"
        assert temporary.parent.parent == target.parent
        assert target.read_text(encoding="utf-8") == "one\n"
    assert target.read_text(encoding="utf-8") == "two, α\n"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_writer_that_fails_keeps_the_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with atomic_file(target) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_writer_that_fails_leaves_no_new_file(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic_file(tmp_path / "a.txt"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == []


def test_a_folder_in_the_place_of_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OSError, match=r"a\.txt"):
        write_text(tmp_path / "a.txt", "text")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").is_dir()


def test_modes_follow_the_umask_and_not_the_temporary_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    write_text(tmp_path / "a.txt", "")
    with atomic_directory(tmp_path / "folder"):
        pass
    (tmp_path / "made").mkdir()
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == stat.S_IMODE((tmp_path / "made").stat().st_mode)


def test_json_is_read_back_and_has_no_nan(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": {"α": "x"}}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_appears_when_it_is_whole(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "parent" / "set"
    if exists:
        target.mkdir(parents=True)
    with atomic_directory(target) as temporary:
        (temporary / "a").write_text("1")
        (temporary / "inner").mkdir()
        (temporary / "inner" / "b").write_text("2")
        assert target.exists() == exists
    assert names(target.parent) == ["set"]
    assert names(target) == ["a", "inner"]
    assert (target / "inner" / "b").read_text() == "2"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_whose_writer_fails_does_not_appear(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with atomic_directory(tmp_path / "set") as temporary:
            (temporary / "inner").mkdir()
            (temporary / "inner" / "a").write_text("1")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_exists_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "set"
    if kind == "folder":
        target.mkdir()
        (target / "mine").write_text("1")
    else:
        target.write_text("1")
    with pytest.raises(InputError, match="set exists already"), atomic_directory(target):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["set"]
    assert (target / "mine" if kind == "folder" else target).read_text() == "1"


def test_what_appears_meanwhile_is_not_overwritten_either(tmp_path: Path) -> None:
    def race() -> None:
        with atomic_directory(tmp_path / "set") as temporary:
            (temporary / "ours").write_text("1")
            (tmp_path / "set").mkdir()
            (tmp_path / "set" / "theirs").write_text("2")

    with pytest.raises(OSError, match="not empty"):
        race()
    assert names(tmp_path) == ["set"]
    assert names(tmp_path / "set") == ["theirs"]
