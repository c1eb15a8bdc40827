"""Pairs of images found in folders and tables, their transforms, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiepoint.data.builders.aligned_pairs import facing, find_scenes, read_matrix
from tiepoint.errors import InputError

SPECTRA = ("vis", "nir")
SHIFT = "1 0 5\n0 1 -3\n0 0 1\n"
Damage = Callable[[Path], object]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


def test_a_folder_is_paired_by_names(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "b/2_vis.jpg", "b/2_nir.png", "b/1_vis.JPG", "b/1_nir.tif", "a/c/9_vis.png", "a/c/9_nir.png",
        "7_vis.png", "7_nir.png",
        "readme.txt", "b/1_vis.jpg.aux.xml", "b/._1_vis.JPG", "b/preview_visible.png", "b/3_ir.png",
    )  # fmt: skip
    scenes = find_scenes(root, SPECTRA)
    assert [scene.name for scene in scenes] == ["7", "a-c/9", "b/1", "b/2"]
    assert (scenes[3].first, scenes[3].second) == (root / "b/2_vis.jpg", root / "b/2_nir.png")
    assert all(scene.aligned and (scene.matrix == np.eye(3)).all() for scene in scenes)


def test_transforms_of_either_direction(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"{k}_{spectrum}.png" for k in range(3) for spectrum in SPECTRA))
    (root / "0_vis_to_nir.txt").write_text(SHIFT)
    (root / "1_nir_to_vis.txt").write_text(SHIFT)
    there, back, none = find_scenes(root, SPECTRA)
    assert [scene.aligned for scene in (there, back, none)] == [False, False, True]
    np.testing.assert_array_equal(there.matrix, [[1, 0, 5], [0, 1, -3], [0, 0, 1]])
    np.testing.assert_allclose(back.matrix, [[1, 0, -5], [0, 1, 3], [0, 0, 1]])
    turned = find_scenes(root, ("nir", "vis"))
    assert (turned[0].first, turned[0].second) == (there.second, there.first)
    np.testing.assert_allclose(turned[0].matrix, np.linalg.inv(there.matrix))


def test_names_of_spectra_are_no_patterns(tmp_path: Path) -> None:
    root = touch(tmp_path, "1_v[i]s.png", "1_*.png", "1_vis.png")
    assert [scene.first.name for scene in find_scenes(root, ("v[i]s", "*"))] == ["1_v[i]s.png"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: (r / "a/1_nir.png").unlink(), r"a/1_vis\.png: there are 0 files 1_nir\.\*, must be one"),
        (lambda r: touch(r, "a/1_nir.jpg"), r"a/1_vis\.png: there are 2 files 1_nir\.\*"),
        (lambda r: touch(r, "a/1_vis.jpg"), r"a/1_vis\.jpg: there are 2 files 1_vis\.\*"),
        (lambda r: (r / "a/1_vis.png").unlink(), r"a/1_nir\.png: has no image of vis beside it"),
        (lambda r: (r / "a/01_vis_to_nir.txt").write_text(SHIFT), r"a/01_vis_to_nir\.txt: has no images beside it"),
        (lambda r: (r / "a/01_nir_to_vis.txt").write_text(SHIFT), r"a/01_nir_to_vis\.txt: has no images beside it"),
        (lambda r: (r / "a/2_nir_to_vis.txt").write_text(SHIFT), r"2_vis_to_nir\.txt: there is 2_nir_to_vis\.txt too"),
        (lambda r: (r / "a/2_vis_to_nir.txt").write_text("1 0 0"), r"a/2_vis_to_nir\.txt: holds 3 numbers"),
        (lambda r: touch(r, *(f"{d}/1_{s}.png" for d in ("b/c", "b-c") for s in SPECTRA)), "would both be b-c/1"),
    ],
)
def test_a_folder_that_does_not_pair_is_named(tmp_path: Path, damage: Damage, message: str) -> None:
    root = touch(tmp_path, *(f"a/{k}_{spectrum}.png" for k in (1, 2) for spectrum in SPECTRA))
    (root / "a/2_vis_to_nir.txt").write_text(SHIFT)
    assert len(find_scenes(root, SPECTRA)) == 2
    damage(root)
    with pytest.raises(InputError, match=message):
        find_scenes(root, SPECTRA)


def test_nothing_to_be_found(tmp_path: Path) -> None:
    touch(tmp_path, "1_vis.png", "1_nir.png", "pairs.txt")
    with pytest.raises(InputError, match=r"no images named ID_opt\.\* and ID_sar\.\*: name the spectra"):
        find_scenes(tmp_path, ("opt", "sar"))
    for source in ("none", "none.csv", "pairs.txt"):
        with pytest.raises(InputError, match=f"{source}: no such folder or table"):
            find_scenes(tmp_path / source, SPECTRA)


def table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    touch(root, "img/a.png", "img/b.png", "img/c.png", "d.png", "e f.png")
    (root / "shift.txt").write_text(SHIFT)
    (root / "pairs.csv").write_text(text, encoding=encoding)
    return root / "pairs.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table_is_read_in_its_order(tmp_path: Path, encoding: str) -> None:
    text = (
        'category, second, first, transform\r\nfield/wet,img/b.png,img/a.png,shift.txt\r\n\r\n,"e f.png", ./d.png ,\r\n'
    )
    one, two = find_scenes(table(tmp_path, text, encoding), SPECTRA)
    assert (one.name, one.first, one.second) == ("field-wet/img-a", tmp_path / "img/a.png", tmp_path / "img/b.png")
    assert (two.name, two.first, two.second) == ("d", tmp_path / "d.png", tmp_path / "e f.png")
    assert (one.aligned, two.aligned) == (False, True)
    np.testing.assert_array_equal(one.matrix, [[1, 0, 5], [0, 1, -3], [0, 0, 1]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns none: must have first and second"),
        ("first,second\n", "names no pairs"),
        ("first,third\nd.png,e f.png", "has the columns first, third"),
        ("first,second,colour\nd.png,e f.png,1", "has the columns first, second, colour"),
        ("first,second,first\nd.png,e f.png,d.png", "each once"),
        ("img/a.png,img/b.png\n", r"has the columns img/a\.png, img/b\.png: must have first and second"),
        ("first,second\nd.png\n", "line 2 has 1 cells, must be 2: first,second"),
        ("first,second\nd.png,e f.png\n\nimg/a.png,img/b.png,field\n", "line 4 has 3 cells, must be 2"),
        ("first,second\nd.png,none.png", r"line 2 names .*none\.png, which is not a file"),
        ("first,second\nd.png,", "line 2 names .*, which is not a file"),
        ("first,second\nd.png,img/../d.png", r"line 2 names .*d\.png twice"),
        ("first,second\nd.png,img/a.png\nd.png,img/b.png", r"line 3 and line 2 name .*d\.png twice: an image belongs"),
        ("first,second\nd.png,img/a.png\nimg/a.png,d.png", r"line 3 and line 2 name .*a\.png twice"),
        ("first,second,transform\nd.png,img/a.png,none.txt", r"none\.txt: cannot be read \(No such file"),
        ('first,second\n"d.png,img/a.png', "cannot be read as CSV"),
    ],
)
def test_a_table_that_misleads_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find_scenes(table(tmp_path, text), SPECTRA)
    assert str(tmp_path) in str(caught.value)


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    path = table(tmp_path, "")
    path.write_bytes("first,second\nÄ.png,é.png".encode("latin-1"))
    with pytest.raises(InputError, match=r"pairs\.csv: line 2 names .*\.png, which is not a file"):
        find_scenes(path, SPECTRA)
    for name in (b"\xc4.png", b"\xe9.png"):  # names of files are bytes
        (tmp_path / os.fsdecode(name)).touch()
    assert len(find_scenes(path, SPECTRA)) == 1


def test_scenes_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "img-a.png")
    with pytest.raises(InputError, match="would both be img-a: rename one"):
        find_scenes(table(tmp_path, "first,second\nimg/a.png,d.png\nimg-a.png,img/b.png"), SPECTRA)


@pytest.mark.parametrize("text", ["1 2 3 4 5 6 7 8 10", "1,2,3\n4,5,6\n7,8,10\n", "1e0 2.0 3\t4 5 6\n\n7 8 10"])
def test_read_matrix(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    np.testing.assert_array_equal(read_matrix(tmp_path / "m"), [[1, 2, 3], [4, 5, 6], [7, 8, 10]])


@pytest.mark.parametrize("shift", [0, 1e3, 1e5, 1e6])
def test_far_shifts_can_be_inverted(tmp_path: Path, shift: float) -> None:
    np.savetxt(tmp_path / "m", [[1, 0, shift], [0, 1, -shift], [0, 0, 1]])
    assert read_matrix(tmp_path / "m")[0, 2] == shift


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3 4 5 6 7 8", "holds 8 numbers"),
        ("1 2 3 4 5 6 7 8 9 10", "holds 10 numbers"),
        ("1 0 0 0 1 0 0 0 nan", "holds 9 numbers or not finite"),
        ("1 0 0 0 1 0 0 0 inf", "not finite"),
        ("1 0 0 0 one 0 0 0 1", "could not convert .*'one'.*: must hold the nine numbers"),
        ("1 2 3 4 5 6 7 8 9", "the matrix cannot be inverted"),
        ("0 0 0 0 0 0 0 0 0", "the matrix cannot be inverted"),
        ("1 0 0 2 0 0 0 0 1", "the matrix cannot be inverted"),
    ],
)
def test_what_is_no_matrix(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(InputError, match=rf"m\.txt: .*{message}"):
        read_matrix(tmp_path / "m.txt")


@pytest.mark.parametrize("factor", [1.0, -3.0, 1e-6])
def test_a_factor_of_a_homography_means_nothing(factor: float) -> None:
    matrix = np.array([[1.0, 0.1, 5], [0, 1, 2], [1e-3, 0, 1]])
    np.testing.assert_allclose(facing(factor * matrix, (1, 101, 201), "m"), matrix / 1.1)


def test_a_centre_at_infinity_is_named() -> None:
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]])
    with pytest.raises(InputError, match=r"one\.txt: the matrix maps the first image's centre to infinity"):
        facing(matrix, (101, 201), Path("one.txt"))
