"""Lists of pairs from tables and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiepoint.batch.pair_list import Pair, check_names, pair_folders, read_table
from tiepoint.batch.summary import Row, write_summary
from tiepoint.errors import InputError
from tiepoint.names import read_cells


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def names(tmp_path: Path, text: str) -> list[str]:
    return [pair.name for pair in read_table(table(tmp_path, text))]


def test_paths_are_relative_to_the_table(tmp_path: Path) -> None:
    text = '\ufeffname,b,a,camera\nfirst,nir/x.png,"vis/a, b.png",3\n\n,/data/y.png,z.png,4\n'
    assert read_table(table(tmp_path, text)) == [
        Pair("first", tmp_path / "vis/a, b.png", tmp_path / "nir/x.png"),
        Pair("z-y", tmp_path / "z.png", Path("/data/y.png")),
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["vis/1.png,nir/1.tif", "vis/2.png,nir/2.tif"], ["1", "2"]),
        (["left.png,right.png"], ["left-right"]),
        (["x/l.png,x/r.png", "y/l.png,y/r.png", "m.png,n.png"], ["x_l-x_r", "y_l-y_r", "m-n"]),
        (["l.png,r.png", "r.png,l.png"], ["l-r", "r-l"]),
        (["../v/A.png,../n/A.png", "v/a.png,n/a.png"], ["v_A-n_A", "v_a-n_a"]),
    ],
)
def test_names_come_from_the_files(tmp_path: Path, rows: list[str], expected: list[str]) -> None:
    if expected == ["v_A-n_A", "v_a-n_a"]:  # names that differ by case alone are one folder on some systems
        with pytest.raises(InputError, match="line 3: the name stands in line 2 already"):
            names(tmp_path, "\n".join(["a,b", *rows]))
    else:
        assert names(tmp_path, "\n".join(["a,b", *rows])) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n , \n", "is empty"),
        ("a,b\n", "holds no pairs"),
        ("a,c\nx.png,y.png\n", "0 columns 'b'"),
        ("a,a,b\nx.png,y.png,z.png\n", "2 columns 'a'"),
        ("x.png,y.png\n", "0 columns 'a'"),
        ("a,b\nx.png,y.png\nx.png\n", "line 3: 1 cells, the header has 2"),
        ("a,b\nx.png,y.png,z.png\n", "line 2: 3 cells, the header has 2"),
        ("a,b\nx.png, \n", "line 2: b is empty"),
        ("a,b\nx.png,y.png\nz.png,y.png\nx.png,y.png\n", "line 4: the pair stands in line 2 already"),
        ("a,b,name\nx.png,y.png,One\nz.png,y.png,one\n", "line 3: the name stands in line 2 already"),
        ("a,b,name\nx.png,y.png,../up\n", "line 2: name '../up' is empty or starts with a dot"),
        ("a,b,name\nx.png,y.png,u/p\n", "line 2: name 'u/p' holds a character"),
        ("a,b,name\nx.png,y.png,summary.csv\n", "line 2: name 'summary.csv' is that of the summary"),
        (f"a,b,name\nx.png,y.png,{'n' * 201}\n", "longer than 200 bytes"),
        ('a,b\n"x.png,y.png\n', "cannot be read as CSV"),
        ("a,b,name\nx.png,y.png,\nz.png,y.png,x-y\n", "line 3: the name stands in line 2 already"),
    ],
)
def test_a_table_that_cannot_be_used_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_table(table(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b"a,b\n\0\xfe,x\n")
    for path in (tmp_path / "pairs.csv", tmp_path / "missing.csv", tmp_path):
        with pytest.raises(InputError, match=r"(is no text|cannot be read \(.*\)): give a table"):
            read_table(path)


@pytest.mark.parametrize(
    "data",
    [
        "\ufeffa;b\r\nü.png;=y.png\r\n".encode(),
        "\ufeffa\tb\nü.png\t=y.png".encode("utf-16-le"),
        b"a,b\r\xc3\xbc.png,'=y.png\r",
    ],
)
def test_tables_of_spreadsheets_are_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pairs.csv").write_bytes(data)
    assert read_table(tmp_path / "pairs.csv") == [Pair("ü-=y", tmp_path / "ü.png", tmp_path / "=y.png")]


def test_a_summary_is_read_back_as_a_table_whatever_the_names_hold(tmp_path: Path) -> None:
    names = ["=1+1", "-2", "@x", "+3", "'=4", "caf\udce9", "two\x1b[1m", 'quo"te,comma']
    rows = [Row(name, f"{name}.png", "b\nc.png", error="=2") for name in names]
    write_summary(tmp_path, rows, len(rows))
    table = [line.split(b",")[0] for line in (tmp_path / "summary.csv").read_bytes().splitlines()[1:]]
    assert not any(cell.startswith((b"=", b"+", b"-", b"@")) for cell in table)
    for name, (_, cells) in zip(names, read_cells(tmp_path / "summary.csv", "")[1:], strict=True):
        assert cells[:3] == [name, f"{name}.png", "b\nc.png"]


def test_a_name_that_is_no_utf8_is_a_folders(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    left, right = folders(tmp_path, [f"{name}.png"], [f"{name}.png"])
    assert [(pair.name, pair.problem) for pair in pair_folders(left, right)] == [(name, "")]


def folders(tmp_path: Path, left: list[str], right: list[str]) -> tuple[Path, Path]:
    for folder, files in (("left", left), ("right", right)):
        (tmp_path / folder).mkdir()
        for name in files:
            (tmp_path / folder / name).write_bytes(b"")
    return tmp_path / "left", tmp_path / "right"


def test_folders_pair_by_stem_and_name_what_is_left(tmp_path: Path) -> None:
    left, right = folders(tmp_path, ["2.png", "1.PNG", "notes.txt", ".3.png"], ["1.tif", "4.jpg", "3.png", "2.md"])
    (left / "5.png").mkdir()
    assert pair_folders(left, right) == [
        Pair("1", left / "1.PNG", right / "1.tif"),
        Pair("2", left / "2.png", None, f"no image '2' in {right}"),
        Pair("3", None, right / "3.png", f"no image '3' in {left}"),
        Pair("4", None, right / "4.jpg", f"no image '4' in {left}"),
    ]


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ([], ["1.png"], "holds no images"),
        (["1.png"], ["2.png"], "no two images have the same name"),
        (["1.png", "1.jpg"], ["1.png"], r"1.png: 1.jpg has the same name"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, left: list[str], right: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        pair_folders(*folders(tmp_path, left, right))


def test_one_folder_twice_and_a_missing_one(tmp_path: Path) -> None:
    left, _ = folders(tmp_path, ["1.png"], [])
    with pytest.raises(InputError, match="are one folder"):
        pair_folders(left, tmp_path / "right" / ".." / "left")
    with pytest.raises(InputError, match="missing or no folder"):
        pair_folders(left, tmp_path / "missing")


def test_names_given_by_hand_are_checked() -> None:
    image = Path("x.png")
    check_names([Pair("one", image, image), Pair("two", image, None, "missing")])
    with pytest.raises(InputError, match="two pairs have the name"):
        check_names([Pair("one", image, image), Pair("One", image, image)])
    with pytest.raises(InputError, match="starts with a dot"):
        check_names([Pair("..", image, image)])
