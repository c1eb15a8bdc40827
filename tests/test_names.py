"""Names of files as text, lists that any program wrote, and folders with links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiepoint.errors import MAX_REASON, InputError, reason
from tiepoint.names import cell, in_utf8, is_utf8, printable, read_cells, read_lines, walk

BYTES = os.fsdecode(b"caf\xe9")


def test_what_does_not_print_is_written_in_ascii() -> None:
    assert printable("ünï – 猫 x[/red].png") == "ünï – 猫 x[/red].png"
    assert printable(f"{BYTES}\x1b[1m\n\u202e") == r"caf\udce9\x1b[1m\n\u202e"
    assert printable(Path("a")) == "a"


def test_other_errors_are_one_short_line() -> None:
    assert reason(OSError()) == "OSError"
    assert reason(ValueError(" \n ")) == "ValueError"
    assert reason(ValueError("a\n\tb")) == "a b"
    assert len(reason(ValueError("word " * 1000))) == MAX_REASON


@pytest.mark.parametrize("text", ["", "a", "=1", "-a", "'=1", "''+", "'a", "\t", "a=1"])
def test_no_cell_is_a_formula_and_each_is_read_back(text: str, tmp_path: Path) -> None:
    assert cell(text)[:1] not in {*"=+-@\t\r"}
    (tmp_path / "t.csv").write_text(f"a,b\nx,{cell(text)}\n")
    assert read_cells(tmp_path / "t.csv", "")[1] == (2, ["x", text.strip()])


def test_lines_keep_the_bytes_of_names_and_end_at_line_ends_alone(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"caf\xe9\r\na\x0cb\x1c\xc2\x85c\rlast")
    assert read_lines(tmp_path / "list", "") == [BYTES, "a\x0cb\x1c\x85c", "last"]
    for name in ("gone", "."):
        with pytest.raises(InputError, match=r"cannot be read \(.*\): give names"):
            read_lines(tmp_path / name, "give names")
    (tmp_path / "list").write_bytes(b"\x7fELF\0")
    with pytest.raises(InputError, match="list: is no text: give names"):
        read_lines(tmp_path / "list", "give names")


def test_a_name_in_bytes_is_reached_through_links_with_what_lies_beside_it(tmp_path: Path) -> None:
    for suffix in (".tif", ".tif.msk", ".tfw"):
        (tmp_path / f"{BYTES}{suffix}").write_text(suffix)
    with in_utf8(tmp_path / f"{BYTES}.tif") as place:
        assert is_utf8(place)
        assert [Path(place[:-4] + suffix).read_text() for suffix in (".tif", ".tif.msk", ".tfw")] == [
            ".tif", ".tif.msk", ".tfw",
        ]  # fmt: skip
    assert not Path(place).parent.exists()
    with in_utf8(tmp_path) as place:
        assert place == str(tmp_path)


def test_a_walk_ends_where_links_go_round(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    for folder in ("in", "in/a", "b"):
        (tmp_path / folder / "x").touch()
    (tmp_path / "b" / "round").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "back").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "b")
    (tmp_path / "in" / "above").symlink_to(tmp_path)
    (tmp_path / "whole").symlink_to(tmp_path / "in")
    for top in (tmp_path / "in", tmp_path / "whole"):
        assert [str(path.relative_to(top)) for path in walk(top)] == ["x", "a/x", "link/x"]
