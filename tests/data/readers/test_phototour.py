from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tiepoint.data.readers.phototour import SETS, build_phototour, read_pairs
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet

POINTS = [0, 0, 1, 1, 1, 5, 5, 9, 9, 9, 9, 12, 12]  # ids need not follow one another
SOURCES = [7, 3, 7, 3, 40, 3, 7, 7, 3, 40, 41, 3, 7]
PAIRS = [(0, 1), (0, 2), (4, 2), (12, 0), (5, 6)]
NAME = "m50_100000_100000_0"


def patches(count: int, dtype: type = np.uint8) -> NDArray[np.uint8]:
    random = np.random.default_rng(1)
    return random.integers(0, np.iinfo(dtype).max, (count, 64, 64), dtype=dtype)


def write_pages(
    folder: Path, tiles: NDArray[np.uint8], rows: int, columns: int, names: str = "patches{:04d}.bmp"
) -> None:
    per_page = rows * columns
    for number, start in enumerate(range(0, len(tiles), per_page)):
        page = np.zeros((rows * 64, columns * 64), dtype=tiles.dtype)
        for k, tile in enumerate(tiles[start : start + per_page]):
            row, column = divmod(k, columns)
            page[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64] = tile
        cv2.imwrite(str(folder / names.format(number)), page)


def write_texts(
    folder: Path,
    points: Sequence[int] = POINTS,
    sources: Sequence[int] = SOURCES,
    pairs: Sequence[tuple[int, int]] = PAIRS,
) -> None:
    (folder / "info.txt").write_text("".join(f"{point} 0\n" for point in points))
    lines = [f"{source} 12.5 33.25 0.7 1.5\n" for source in sources]
    (folder / "interest.txt").write_text("".join(lines))
    lines = [f"{a} {points[a]} 0 {b} {points[b]} 0 0\n" for a, b in pairs]
    (folder / f"{NAME}.txt").write_text("".join(lines))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """13 patches on pages of 2 x 3 tiles, the last of them with five empty tiles."""
    folder = tmp_path / "in" / "abbey"
    folder.mkdir(parents=True)
    write_pages(folder, patches(len(POINTS)), 2, 3)
    write_texts(folder)
    return folder


def pack(folder: Path, inside: str) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, inside + file.name)
    return path


def check(data: PatchSet, expected: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(data.patches[:, 0], expected)
    np.testing.assert_array_equal(data.points, POINTS)
    assert data.image_names == [f"abbey/{source}" for source in (3, 7, 40, 41)]
    assert [data.image_names[image] for image in data.images] == [f"abbey/{source}" for source in SOURCES]
    np.testing.assert_array_equal(read_pairs(data.directory, NAME), PAIRS)
    assert data.manifest["counts"] == {"patches": 13, "points": 5, "images": 4}
    assert data.margin == 1.0
    assert data.manifest["provenance"]["name"] == "abbey"
    assert "whole patch" in data.manifest["provenance"]["support"]
    assert data.manifest["provenance"]["pairs"] == {NAME: 5}
    PatchSet.open(data.directory, verify=True)


@pytest.mark.parametrize("form", ["folder", "zip", "zip with a folder"])
def test_a_folder_and_a_zip_give_the_same_set(folder: Path, tmp_path: Path, form: str) -> None:
    source = folder if form == "folder" else pack(folder, "abbey/" if "folder" in form else "")
    steps: list[tuple[int, int]] = []
    data = build_phototour(source, tmp_path / "set", licence="research", progress=lambda *step: steps.append(step))
    check(data, patches(13))
    assert steps == [(6, 13), (12, 13), (13, 13)]
    assert data.manifest["licence"] == "research"
    assert data.manifest["provenance"]["source"] == source.name


def test_pages_as_published_hold_16_rows_of_16_tiles(tmp_path: Path) -> None:
    folder = tmp_path / "abbey"
    folder.mkdir()
    tiles = patches(300)
    write_pages(folder, tiles, 16, 16)
    assert cv2.imread(str(folder / "patches0001.bmp"), cv2.IMREAD_UNCHANGED).shape == (1024, 1024)
    (folder / "info.txt").write_text("".join(f"{k // 2} 0\n" for k in range(300)))
    data = build_phototour(folder, tmp_path / "set")
    np.testing.assert_array_equal(data.patches[:, 0], tiles)
    np.testing.assert_array_equal(data.points, np.arange(300) // 2)


@pytest.mark.parametrize(
    ("names", "rows", "columns", "dtype"),
    [
        ("page{:d}.png", 1, 1, np.uint8),  # without leading zeros: page 10 comes after page 9
        ("patches{:04d}.tif", 5, 1, np.uint8),
        ("patches{:04d}.png", 1, 7, np.uint16),
        ("patches{:04d}.BMP", 4, 4, np.uint8),
    ],
)
def test_pages_of_other_sizes_kinds_and_depths(
    tmp_path: Path, names: str, rows: int, columns: int, dtype: type
) -> None:
    folder = tmp_path / "abbey"
    folder.mkdir()
    write_pages(folder, patches(13, dtype), rows, columns, names)
    write_texts(folder)
    data = build_phototour(folder, tmp_path / "set")
    assert data.patches.dtype == dtype
    check(data, patches(13, dtype))


def test_colour_pages_become_luma(folder: Path, tmp_path: Path) -> None:
    for page in folder.glob("*.bmp"):
        grey = cv2.imread(str(page), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(page), np.dstack([grey, grey, grey]))
    check(build_phototour(folder, tmp_path / "set"), patches(13))


def test_what_others_leave_out_may_be_missing(folder: Path, tmp_path: Path) -> None:
    (folder / "interest.txt").unlink()
    (folder / f"{NAME}.txt").unlink()
    (folder / "info.txt").write_text("\n".join(map(str, POINTS)) + "\n\n")  # one column, an empty line at the end
    data = build_phototour(folder, tmp_path / "set")
    assert data.image_names == ["abbey"]
    np.testing.assert_array_equal(data.images, np.zeros(13))
    np.testing.assert_array_equal(data.points, POINTS)
    assert data.manifest["provenance"]["images"] == "not known, taken as one"
    with pytest.raises(InputError, match=rf"pairs-{NAME}\.npy is missing: the PatchSet has no lists of pairs"):
        read_pairs(tmp_path / "set")


def test_empty_pages_after_the_last_patch_are_no_patches(folder: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(folder / "patches0003.bmp"), np.zeros((128, 192), np.uint8))
    check(build_phototour(folder, tmp_path / "set"), patches(13))


def replace_line(path: Path, number: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = text
    path.write_text("\n".join(lines) + "\n")


def damage_page(folder: Path) -> None:
    page = folder / "patches0001.bmp"
    page.write_bytes(page.read_bytes()[:-500])


def cut_info(folder: Path) -> None:
    (folder / "info.txt").write_text("0 0\n0 0\n1 0\n")
    (folder / "interest.txt").unlink()


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: shutil.rmtree(f), r"abbey: no such file or folder"),
    (lambda f: (f / "info.txt").unlink(), r"abbey: holds 0 files info\.txt"),
    (lambda f: shutil.copytree(f, f / "again"), r"abbey: holds 2 files info\.txt"),
    (lambda f: [page.unlink() for page in f.glob("*.bmp")], r"abbey: holds no pages"),
    (lambda f: (f / "preview.png").write_bytes(b""), r"abbey: holds pages of several kinds \(bmp, png\)"),
    (lambda f: (f / "info.txt").write_text("\n"), r"info\.txt: is empty"),
    (lambda f: replace_line(f / "info.txt", 3, "one 0"), r"info\.txt, line 3: 'one 0': must have a whole number"),
    (lambda f: replace_line(f / "info.txt", 4, ""), r"info\.txt, line 4: ''"),
    (lambda f: replace_line(f / "info.txt", 4, "1.5 0"), r"info\.txt, line 4: '1\.5 0'"),
    (lambda f: replace_line(f / "info.txt", 4, "9" * 30), r"info\.txt, line 4: '9+'"),
    (lambda f: replace_line(f / "info.txt", 2, "-1 0"), r"info\.txt, line 2: point id -1"),
    (lambda f: (f / "info.txt").write_bytes(b"\xff\xfe0\x00\n"), r"info\.txt, line 1: "),
    (cut_info, r"m50_100000_100000_0\.txt, line 3: patches \[4, 2\]: there are 3, counted from 0"),
    (lambda f: (f / "interest.txt").write_text("1\n" * 12), r"interest\.txt: has 12 lines, info\.txt 13"),
    (lambda f: replace_line(f / "interest.txt", 13, "?"), r"interest\.txt, line 13: '\?'"),
    (
        lambda f: replace_line(f / f"{NAME}.txt", 2, "0 0 0 13 9 0 0"),
        r"0\.txt, line 2: patches \[0, 13\]: there are 13",
    ),
    (lambda f: replace_line(f / f"{NAME}.txt", 2, "-1 0 0 3 9 0 0"), r"0\.txt, line 2: patches \[-1, 3\]"),
    (lambda f: replace_line(f / f"{NAME}.txt", 5, "5 5 0 6"), r"0\.txt, line 5: '5 5 0 6': .* column 1, 2, 4, 5"),
    (
        lambda f: replace_line(f / f"{NAME}.txt", 1, "0 0 0 1 1 0 0"),
        r"0\.txt, line 1: .* do not match, but their points",
    ),
    (
        lambda f: replace_line(f / f"{NAME}.txt", 2, "0 0 0 2 0 0 0"),
        r"0\.txt, line 2: .* match, but their points differ",
    ),
    (lambda f: (f / f"{NAME}.txt").write_text(""), r"m50_100000_100000_0\.txt: is empty"),
    (damage_page, r"patches0001\.bmp: truncated or not an image"),
    (lambda f: (f / "patches0002.bmp").write_bytes(b""), r"patches0002\.bmp: is empty"),
    (
        lambda f: cv2.imwrite(str(f / "patches0002.bmp"), np.zeros((128, 190), np.uint8)),
        r"patches0002\.bmp: is 190 x 128 pixels: must be made of 64 x 64 tiles",
    ),
    (lambda f: (f / "patches0002.bmp").unlink(), r"info\.txt, line 13: the 2 pages hold only 12 patches"),
    (
        lambda f: shutil.copy(f / "patches0000.bmp", f / "patches0003.bmp"),
        r"patches0003\.bmp: has patches, but info\.txt ends after 13 lines",
    ),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_broken_set_is_named_and_leaves_nothing(
    folder: Path, tmp_path: Path, damage: Callable[[Path], object], message: str, form: str
) -> None:
    damage(folder)
    source = folder
    if form == "zip" and folder.is_dir() and not (folder / "again").exists():
        source, message = pack(folder, ""), message.replace("abbey:", r"abbey\.zip:")
    with pytest.raises(InputError, match=message):
        build_phototour(source, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_pages_of_two_depths_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "abbey"
    folder.mkdir()
    write_pages(folder, patches(4), 1, 2, "patches{:04d}.png")
    cv2.imwrite(str(folder / "patches0001.png"), np.zeros((64, 128), np.uint16))
    (folder / "info.txt").write_text("0\n0\n1\n1\n")
    with pytest.raises(InputError, match=r"patches0001\.png: is uint16, the first page uint8"):
        build_phototour(folder, tmp_path / "set")


def test_a_published_name_needs_all_patches(folder: Path, tmp_path: Path) -> None:
    assert sum(SETS.values()) == 450_092 + 468_159 + 633_587 + 379_587 + 325_295 + 450_912
    with pytest.raises(InputError, match="has 13 patches, the published liberty 450092"):
        build_phototour(folder, tmp_path / "set", name="liberty")
    assert build_phototour(folder, tmp_path / "set", name="liberty-part").image_names[0] == "liberty-part/3"


def test_all_lists_of_pairs_are_kept_and_named(folder: Path, tmp_path: Path) -> None:
    (folder / "m50_1000_1000_0.txt").write_text("1 0 0 0 0 0 0\n")
    (folder / "notes_1.txt").write_text("not a list")
    build_phototour(folder, tmp_path / "set")
    np.testing.assert_array_equal(read_pairs(tmp_path / "set", "m50_1000_1000_0"), [(1, 0)])
    with pytest.raises(InputError, match=rf"pairs-other\.npy is missing: the PatchSet has {NAME}, m50_1000_1000_0"):
        read_pairs(tmp_path / "set", "other")


@pytest.mark.parametrize(
    "rows", [np.zeros((3, 2)), np.zeros((3, 3), int), np.zeros((0, 2), int), np.full((2, 2), 13), np.full((2, 2), -1)]
)
def test_pairs_that_do_not_fit_are_refused(folder: Path, tmp_path: Path, rows: NDArray[np.int64]) -> None:
    build_phototour(folder, tmp_path / "set")
    np.save(tmp_path / "set" / f"pairs-{NAME}.npy", rows)
    with pytest.raises(InputError, match=r"holds no rows of the PatchSet"):
        read_pairs(tmp_path / "set")
    (tmp_path / "set" / f"pairs-{NAME}.npy").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"is truncated"):
        read_pairs(tmp_path / "set")
