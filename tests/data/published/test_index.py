"""Index files of cross-spectral sets: every published form of a line, and every line that is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.data.published.index import OS, SEN12, VISLWIR, VISNIR, Columns, read_index
from tiepoint.errors import InputError


def write(folder: Path, text: str) -> Path:
    path = folder / "index.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("header", ["", "type,rgb,rgb_x,rgb_y,nir,nir_x,nir_y\n", "\ufeff"])
@pytest.mark.parametrize(("yes", "no"), [("positive", "negative"), ("1", "0"), ("Positive", " Negative")])
def test_visnir(tmp_path: Path, header: str, yes: str, no: str) -> None:
    text = f"{header}{yes},a_rgb.tiff,40,50,a_nir.tiff,40,50\n\n{no},a_rgb.tiff,41,51,b_nir.tiff,60,70\r\n"
    index = read_index(write(tmp_path, text), VISNIR)
    start = 2 if "type" in header else 1
    assert index.labels.tolist() == [True, False]
    assert index.lines.tolist() == [start, start + 2]
    assert (index.first.names, index.first.images.tolist()) == (["a_rgb.tiff"], [0, 0])
    assert (index.second.names, index.second.images.tolist()) == (["a_nir.tiff", "b_nir.tiff"], [0, 1])
    np.testing.assert_array_equal(index.first.locations, [[40, 50], [41, 51]])
    np.testing.assert_array_equal(index.second.locations, [[40, 50], [60, 70]])
    assert index.where(1).endswith(f"index.txt, line {start + 2}")


def test_os_as_its_readme_says(tmp_path: Path) -> None:
    index = read_index(write(tmp_path, "train, 175, 313, 431, 313, 432, 1\nval,25,49,350,50,351,0"), OS)
    assert index.first.names == index.second.names == ["train/175", "val/25"]
    np.testing.assert_array_equal(index.first.locations, [[313, 431], [49, 350]])
    np.testing.assert_array_equal(index.second.locations, [[313, 432], [50, 351]])
    assert index.labels.tolist() == [True, False]


def test_sen12_as_its_readme_says_with_sar_second(tmp_path: Path) -> None:
    line = "ROIs1970_fall,s1_25,ROIs1970_fall_s1_25_p621.png,81,155,s2_25,ROIs1970_fall_s2_25_p621.png,172,91,0"
    index = read_index(write(tmp_path, line), SEN12)
    assert index.first.names == ["ROIs1970_fall/s2_25/ROIs1970_fall_s2_25_p621.png"]
    assert index.second.names == ["ROIs1970_fall/s1_25/ROIs1970_fall_s1_25_p621.png"]
    np.testing.assert_array_equal(index.first.locations, [[172, 91]])
    np.testing.assert_array_equal(index.second.locations, [[81, 155]])
    assert not index.labels[0]


def test_vislwir_as_its_readme_says_with_lwir_second(tmp_path: Path) -> None:
    index = read_index(write(tmp_path, "9,235,124,1\n"), VISLWIR)
    assert index.first.names == index.second.names == ["9"]
    assert (index.first.locations.tolist(), index.second.locations.tolist()) == ([[124]], [[235]])
    assert index.labels.tolist() == [True]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["train", "val"]),
            st.integers(1, 3000),
            *[st.integers(0, 2**15 - 1)] * 4,
            st.integers(0, 1),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str | int, ...]]) -> None:
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    index = read_index(write(tmp_path_factory.mktemp("os"), text), OS)
    read = [
        (*index.first.names[a].split("/"), *p, *q, int(label))
        for a, p, q, label in zip(
            index.first.images, index.first.locations, index.second.locations, index.labels, strict=True
        )
    ]
    assert read == [(row[0], str(row[1]), *row[2:]) for row in rows]
    np.testing.assert_array_equal(index.first.images, index.second.images)


@pytest.mark.parametrize(
    ("columns", "text", "message"),
    [
        (VISNIR, "", "index.txt: holds no pairs"),
        (VISNIR, "type,rgb,x,y,nir,x,y\n", "index.txt: holds no pairs"),
        (VISNIR, "positive,a,40,50,b,40\n", "line 1: has 6 columns, must have 7: type, rgb, rgb x"),
        (VISNIR, "1,a,40,50,b,40,50\nmaybe,a,40,50,b,40,50\n", "line 2: type is 'maybe': must be 1 or 0"),
        (VISNIR, "yes,a,40,50,b,40,50\n", "line 1: type is 'yes'"),
        (VISNIR, "1,a,40,50,b,40,50\ntype,rgb,x,y,nir,x,y\n", "line 2: type is 'type'"),
        (VISNIR, "1,a,40.5,50,b,40,50\n", "line 1: rgb x is '40.5': must be a whole number from 0"),
        (VISNIR, "1,a,40,50,b,40,-1\n", "line 1: nir y is '-1'"),
        (VISNIR, "1,a,40,50,b,99999,50\n", "line 1: nir x is '99999'"),
        (VISNIR, "1,a,40,50, ,40,50\n", "line 1: nir is empty: must name an image"),
        (OS, "train,175,313,431,313,431,2\n", "line 1: label is '2': must be 1 or 0"),
        (OS, "train,175,313,431,313,431\n", "line 1: has 6 columns"),
        (OS, ",175,313,431,313,431,1\n", "line 1: folder is empty"),
        (SEN12, "fall,s1,a,81,155,s2,b,172,91\n", "line 1: has 9 columns, must have 10"),
        (SEN12, "fall,s1,a,81,x,s2,b,172,91,0\n", "line 1: s1 y is 'x'"),
        (VISLWIR, "9,235,124,1\n9,235,124,1,7\n", "line 2: has 5 columns, must have 4"),
        (VISLWIR, "9,235,,1\n", "line 1: optical patch is ''"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, columns: Columns, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_index(write(tmp_path, text), columns)
    assert message in str(caught.value)
    assert "index.txt" in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"1,a\x00b,40,50,b,40,50\n" * 2, b'1,"' + b"a" * 200_000])
def test_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"index\.txt"):
        read_index(tmp_path / "index.txt", OS)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing: no such file"):
        read_index(tmp_path / "missing", OS)
    with pytest.raises(InputError, match="cannot be read"):
        read_index(tmp_path, OS)
