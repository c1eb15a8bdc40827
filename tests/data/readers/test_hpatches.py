from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import smooth_texture

from tiepoint.data.readers.hpatches import SIDE, STRIPS, HPatches, build_hpatches, read_split
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet

COUNTS = {"i_lamp": 2, "v_wall": 3}


def patch(sequence: str, strip: str, index: int) -> NDArray[np.uint8]:
    return smooth_texture(SIDE, seed=1000 * len(sequence) + 10 * STRIPS.index(strip) + index + ord(sequence[0]))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hp") / "hpatches-release"
    for sequence, count in COUNTS.items():
        (root / sequence).mkdir(parents=True)
        for strip in STRIPS:
            tall = np.concatenate([patch(sequence, strip, index) for index in range(count)])
            cv2.imwrite(str(root / sequence / f"{strip}.png"), tall)
    (root / "README.txt").write_text("about")
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(written, tmp_path / "hp"))


def pack(root: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, Path("hpatches-release") / file.relative_to(root))
            archive.writestr(f"__MACOSX/hpatches-release/{file.parent.name}/._{file.name}", "fork")
    return path


@pytest.mark.parametrize("form", ["folder", "parent", "zip"])
def test_strips_are_read_from_a_folder_and_from_the_zip(written: Path, tmp_path: Path, form: str) -> None:
    source = {"folder": written, "parent": written.parent, "zip": tmp_path / "hp.zip"}[form]
    if form == "zip":
        pack(written, source)
    hpatches = HPatches.open(source)
    assert hpatches.sequences == ["i_lamp", "v_wall"]
    assert hpatches.counts == COUNTS
    for sequence, count in COUNTS.items():
        for strip in STRIPS:
            patches = hpatches.strip(sequence, strip)
            assert (patches.shape, patches.dtype) == ((count, 65, 65), np.uint8)
            np.testing.assert_array_equal(patches, [patch(sequence, strip, index) for index in range(count)])


def test_there_are_16_strips_named_as_published() -> None:
    expected = ["ref", *(f"{noise}{image}" for noise in "eht" for image in (1, 2, 3, 4, 5))]
    assert list(STRIPS) == expected


def shorten(path: Path, rows: int) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:rows])


def narrow(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:, :64])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: (r / "v_wall" / "h3.png").unlink(), r"v_wall/h3\.png is missing"),
        (lambda r: (r / "v_wall" / "ref.png").unlink(), r"v_wall/ref\.png is missing"),
        (lambda r: shorten(r / "v_wall" / "t5.png", 130), r"v_wall/t5\.png: has 2 patches, ref\.png 3"),
        (lambda r: shorten(r / "i_lamp" / "e2.png", 129), r"i_lamp/e2\.png: is 65 x 129 pixels"),
        (lambda r: narrow(r / "i_lamp" / "e2.png"), r"i_lamp/e2\.png: is 64 x 130 pixels"),
        (lambda r: (r / "i_lamp" / "e2.png").write_bytes(b""), r"i_lamp/e2\.png: is truncated or not a PNG"),
        (lambda r: (r / "i_lamp" / "e2.png").write_text("x" * 99), r"i_lamp/e2\.png: is truncated or not a PNG"),
        (lambda r: shutil.copytree(r / "i_lamp", r / "copy" / "i_lamp"), r"the sequence i_lamp twice"),
        (lambda r: (shutil.rmtree(r / "i_lamp"), shutil.rmtree(r / "v_wall")), r"hp: holds no strips"),
        (shutil.rmtree, r"hp: no such file or folder"),
    ],
)
def test_opening_names_the_strip_that_is_wrong(root: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(root)
    with pytest.raises(InputError, match=message):
        HPatches.open(root)


def test_reading_names_the_strip_that_is_wrong(root: Path) -> None:
    hpatches = HPatches.open(root)
    path = root / "v_wall" / "e4.png"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"v_wall/e4\.png: is truncated"):
        hpatches.strip("v_wall", "e4")
    cv2.imwrite(str(path), np.zeros((195, 65), dtype=np.uint16))
    with pytest.raises(InputError, match=r"v_wall/e4\.png: grey values are uint16"):
        hpatches.strip("v_wall", "e4")
    for sequence, strip in (("v_wall", "e6"), ("v_none", "ref")):
        with pytest.raises(InputError, match=f"no strip {strip} of a sequence {sequence}"):
            hpatches.strip(sequence, strip)


def test_a_patchset_has_a_point_for_each_place_and_an_image_for_each_strip(written: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    data = build_hpatches(
        HPatches.open(written), tmp_path / "set", licence="MIT", progress=lambda *step: steps.append(step)
    )
    assert data.patches.shape == (80, 1, 64, 64)
    assert data.manifest["counts"] == {"patches": 80, "points": 5, "images": 32}
    assert (data.margin, data.manifest["licence"]) == (1.0, "MIT")
    assert data.image_names[:2] == ["i_lamp/ref.png", "i_lamp/e1.png"]
    assert data.image_names[-1] == "v_wall/t5.png"
    np.testing.assert_array_equal(data.points, np.concatenate([np.tile([0, 1], 16), np.tile([2, 3, 4], 16)]))
    np.testing.assert_array_equal(data.images, np.repeat(np.arange(32), [2] * 16 + [3] * 16))
    assert (steps[0], steps[-1], len(steps)) == ((1, 32), (32, 32), 32)
    PatchSet.open(tmp_path / "set", verify=True)


def by_area(patch: NDArray[np.uint8]) -> NDArray[np.float64]:
    """65 -> 64 px: the mean over the 65/64 px that each pixel of the result covers, by the integral's differences."""
    edges = np.linspace(0, 65, 65)
    integral = np.zeros((66, 66))
    integral[1:, 1:] = patch.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    rows = np.array([np.interp(edges, np.arange(66), column) for column in integral.T]).T
    cells = np.array([np.interp(edges, np.arange(66), row) for row in rows])
    return np.diff(np.diff(cells, axis=0), axis=1) * (64 / 65) ** 2


def test_patches_are_reduced_by_area_and_keep_their_centre(written: Path, tmp_path: Path) -> None:
    data = build_hpatches(HPatches.open(written), tmp_path / "set", ["v_wall"])
    assert data.manifest["counts"] == {"patches": 48, "points": 3, "images": 16}
    for row, index in ((0, 0), (47, 2)):
        strip = STRIPS[row // 3]
        reduced = by_area(patch("v_wall", strip, index))
        assert np.abs(data.patches[row, 0] - reduced).max() <= 0.51  # rounding, with ties in float32


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (["v_none"], "holds no sequence v_none"),
        ([], "no sequences named"),
        (["v_wall", "v_wall"], "a sequence is named twice"),
    ],
)
def test_wrong_sequences_are_named(written: Path, tmp_path: Path, sequences: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_hpatches(HPatches.open(written), tmp_path / "set", sequences)
    assert not list(tmp_path.iterdir())


def test_splits_are_read(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    path.write_text(
        json.dumps({"a": {"name": "a", "train": ["i_x"], "test": ["v_y", "v_z"]}, "full": {"test": ["i_x"]}})
    )
    assert read_split(path, "a", "train") == ["i_x"]
    assert read_split(path, "a", "test") == ["v_y", "v_z"]
    for split, part in (("full", "train"), ("b", "test"), ("a", "name")):
        with pytest.raises(
            InputError, match=rf"splits\.json: holds no list of sequences for the split {split}, {part}"
        ):
            read_split(path, split, part)
    path.write_text("{")
    with pytest.raises(InputError, match=r"splits\.json: is not JSON"):
        read_split(path, "a", "train")
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        read_split(tmp_path / "none.json", "a", "train")
