"""Published cross-spectral layouts to PatchSets: pixels against slices, points, pairs, and inputs that are refused.

The arrays' layouts are in test_npy.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tiepoint.data.labelled_pairs import cross_points, labelled_pairs
from tiepoint.data.published import plan as cross_plan
from tiepoint.data.published.layouts import LAYOUTS
from tiepoint.data.published.plan import point_ids
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet

read_visnir_csv, read_os, read_sen12, read_vislwir = (LAYOUTS[n] for n in ("visnir-csv", "os", "sen12", "vislwir"))
HEIGHT, WIDTH = 100, 120  # keypoints lie at x 32 to 88 and y 32 to 68
Image = NDArray[Any]


def noise(seed: int, shape: tuple[int, ...] = (HEIGHT, WIDTH), dtype: type = np.uint8) -> Image:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def save(path: Path, image: Image) -> Image:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return image


def window(image: Image, x: int, y: int) -> Image:
    return image[y - 32 : y + 32, x - 32 : x + 32]


Row = tuple[int, str, int, int, str, int, int]  # label, first image, x, y, second image, x, y


def check(data: PatchSet, rows: list[Row], images: dict[tuple[int, str], Image]) -> None:
    """The pairs are `rows`, with the pixels of numpy slices, and keypoints are stored once and are points."""
    data.verify()
    assert data.pairs is not None
    assert data.positions is not None
    assert len(data.pairs) == len(rows)
    for (label, first, x, y, second, u, v), (one, two, stored) in zip(rows, data.pairs.tolist(), strict=True):
        assert stored == label
        assert (data.points[one] == data.points[two]) == bool(label)
        assert (data.spectra[one], data.spectra[two]) == (0, 1)
        for row, side, name, place in ((one, 0, first, (x, y)), (two, 1, second, (u, v))):
            np.testing.assert_array_equal(data.patches[row, 0], window(images[side, name], *place))
            assert tuple(data.positions[row]) == place
    keypoints = {(0, r[1], r[2], r[3]) for r in rows} | {(1, r[4], r[5], r[6]) for r in rows}
    assert len(data) == len(keypoints)
    keys = list(zip(data.images.tolist(), *data.positions.T.tolist(), strict=True))
    ids = dict(zip(keys, data.points.tolist(), strict=True))
    assert [ids[key] for key in keys] == data.points.tolist()
    assert len(set(ids.values())) == len(ids)


class VisNir:
    """Two categories, the first with two scenes, as csv lists and images."""

    rows = (
        (1, "0001", 40, 50, "0001", 40, 50),
        (0, "0001", 40, 50, "0002", 41, 51),
        (1, "0002", 41, 51, "0002", 41, 51),
        (0, "0002", 41, 51, "0002", 88, 68),
        (1, "0001", 40, 50, "0001", 40, 50),
        (0, "0001", 32, 32, "0001", 88, 32),
    )

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: dict[tuple[int, str], Image] = {}
        for seed, name in enumerate(("0001", "0002")):
            for side, spectrum in enumerate(("rgb", "nir")):
                path = root / "country" / f"{name}_{spectrum}.tiff"
                self.images[side, name] = save(path, noise(2 * seed + side))
        self.write("country", list(self.rows))

    def write(self, category: str, rows: list[Row]) -> None:
        lines = [f"{['negative', 'positive'][r[0]]},{r[1]}_rgb.tiff,{r[2]},{r[3]},{r[4]}_nir.tiff,{r[5]},{r[6]}"
                 for r in rows]  # fmt: skip
        (self.root / f"{category}.csv").write_text("\n".join(["type,rgb,rgb_x,rgb_y,nir,nir_x,nir_y", *lines]))


@pytest.fixture
def visnir(tmp_path: Path) -> VisNir:
    return VisNir(tmp_path / "nirscene1")


def test_visnir(visnir: VisNir, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    data = read_visnir_csv(
        visnir.root, tmp_path / "out", licence="CC0", progress=lambda done, total: steps.append((done, total))
    )
    check(data, list(visnir.rows), visnir.images)
    assert data.manifest["spectra"] == ["vis", "nir"]
    assert data.image_names == ["country/0001", "country/0002"]
    assert (data.manifest["licence"], data.manifest["provenance"]["sets"]) == ("CC0", ["country"])
    assert (data.patches.dtype, data.patches.shape[1]) == (np.uint8, 1)
    assert steps[-1] == (len(data), len(data))
    index = cross_points(data)  # the keypoints of matches are points of both spectra
    assert len(index) == 2
    assert labelled_pairs(data).labels.tolist() == [True, False] * 3


def test_many_pairs_in_blocks(visnir: VisNir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_plan, "_BLOCK", 7)
    random = np.random.default_rng(5)
    rows: list[Row] = []
    for k in range(120):
        name, other = (f"000{n}" for n in random.integers(1, 3, 2))
        x, y, u, v = (int(n) for n in random.integers([32, 32, 32, 32], [89, 69, 89, 69]))
        match = k % 2 == 0 or (name, x, y) == (other, u, v)
        rows.append((1, name, x, y, name, x, y) if match else (0, name, x, y, other, u, v))
    visnir.write("country", rows)
    check(read_visnir_csv(visnir.root, tmp_path / "out"), rows, visnir.images)


def test_categories_by_name_and_in_order(visnir: VisNir, tmp_path: Path) -> None:
    for spectrum in ("rgb", "nir"):
        save(visnir.root / "field" / f"0001_{spectrum}.png", noise(9))  # another suffix than the list's .tiff
    visnir.write("field", [(1, "0001", 33, 34, "0001", 33, 34)])
    both = read_visnir_csv(visnir.root, tmp_path / "both")
    assert both.image_names == ["country/0001", "country/0002", "field/0001"]
    assert labelled_pairs(both).names == ["country", "field"]
    one = read_visnir_csv(visnir.root, tmp_path / "one", sets=["field"])
    np.testing.assert_array_equal(one.patches[0, 0], window(noise(9), 33, 34))
    assert (one.image_names, len(one)) == (["field/0001"], 2)


def test_grey_is_luma_and_color_is_rgb(visnir: VisNir, tmp_path: Path) -> None:
    bgr = save(visnir.root / "country" / "0001_rgb.tiff", noise(7, (HEIGHT, WIDTH, 3)))
    visnir.write("country", [(1, "0001", 40, 50, "0001", 40, 50)])
    grey = read_visnir_csv(visnir.root, tmp_path / "grey")
    luma = bgr.astype(np.float64) @ [0.114, 0.587, 0.299]
    np.testing.assert_allclose(grey.patches[0, 0], window(luma, 40, 50), atol=1)
    color = read_visnir_csv(visnir.root, tmp_path / "color", color=True)
    np.testing.assert_array_equal(color.patches[0], window(bgr, 40, 50)[..., ::-1].transpose(2, 0, 1))
    np.testing.assert_array_equal(color.patches[1], [window(visnir.images[1, "0001"], 40, 50)] * 3)


def test_sixteen_bits_stay(visnir: VisNir, tmp_path: Path) -> None:
    for spectrum in ("rgb", "nir"):
        save(visnir.root / "country" / f"0001_{spectrum}.tiff", noise(7, dtype=np.uint16))
    visnir.write("country", [(1, "0001", 40, 50, "0001", 40, 50)])
    data = read_visnir_csv(visnir.root, tmp_path / "out")
    assert data.patches.dtype == np.uint16
    np.testing.assert_array_equal(data.patches[1, 0], window(noise(7, dtype=np.uint16), 40, 50))


@pytest.mark.parametrize("name", ["opt{}.png", "opt/{}.tif", "{}_opt.jpg"])
def test_os(tmp_path: Path, name: str) -> None:
    images = {}
    for number in ("175", "9"):
        for side, spectrum in enumerate(("opt", "sar")):
            path = tmp_path / "train" / name.format(number).replace("opt", spectrum)
            save(path, noise(int(number) + side))
            images[side, number] = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    rows: list[Row] = [
        (1, "175", 40, 50, "175", 40, 50),
        (0, "9", 40, 50, "9", 41, 50),
        (1, "9", 88, 68, "9", 88, 68),
    ]
    lines = [f"train, {r[1]}, {r[2]}, {r[3]}, {r[5]}, {r[6]}, {r[0]}\n" for r in rows]
    (tmp_path / "finally_train.txt").write_text("".join(lines))
    data = read_os(tmp_path, tmp_path / "out")
    check(data, rows, images)
    assert data.manifest["spectra"] == ["opt", "sar"]
    assert data.image_names == ["os/train/175", "os/train/9"]
    (tmp_path / "finally_test.txt").write_text(lines[1])
    with pytest.raises(InputError, match="holds the sets test, train: name those to read"):
        read_os(tmp_path, tmp_path / "again")
    check(read_os(tmp_path, tmp_path / "test", sets=["test"]), rows[1:2], images)
    check(read_os(tmp_path, tmp_path / "all", sets=["finally_train", "test"]), [*rows, rows[1]], images)


def test_sen12(tmp_path: Path) -> None:
    images = {}
    for number in ("p1", "p20"):
        for side, kind in enumerate(("s2", "s1")):
            path = tmp_path / "ROIs1970_fall" / f"{kind}_25" / f"ROIs1970_fall_{kind}_25_{number}.png"
            images[side, number] = save(path, noise(len(number) + 10 * side))
    rows: list[Row] = [
        (1, "p1", 40, 50, "p1", 40, 50),
        (0, "p20", 33, 66, "p20", 50, 40),
        (0, "p20", 33, 66, "p1", 50, 40),
    ]
    (tmp_path / "finally_test.txt").write_text(
        "".join(
            f"ROIs1970_fall,s1_25,ROIs1970_fall_s1_25_{r[4]}.png,{r[5]},{r[6]},"
            f"s2_25,ROIs1970_fall_s2_25_{r[1]}.png,{r[2]},{r[3]},{r[0]}\n"
            for r in rows
        )
    )
    data = read_sen12(tmp_path, tmp_path / "out")
    check(data, rows, images)
    assert data.manifest["spectra"] == ["opt", "sar"]
    assert data.image_names == ["sen12/ROIs1970_fall_25_p1", "sen12/ROIs1970_fall_25_p20"]


LWIR_LINES = "9,2,0,1\n9,1,0,0\n9,0,1,1\n12,0,0,1\n12,0,2,0\n9,2,0,1\n"


@pytest.fixture
def vislwir(tmp_path: Path) -> Path:
    """Image 9 as arrays, image 12 as files."""
    root = tmp_path / "lwir"
    for side, spectrum in enumerate(("optical", "lwir")):
        (root / "9").mkdir(parents=True, exist_ok=True)
        np.save(root / "9" / f"{spectrum}.npy", noise(side, (3, 64, 64)))
        for number in (0, 2):
            save(root / "12" / spectrum / f"{number}.png", noise(10 * side + number, (64, 64)))
    (root / "finally_train.txt").write_text(LWIR_LINES)
    return root


def test_vislwir(vislwir: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    data = read_vislwir(vislwir, tmp_path / "out", progress=lambda *step: steps.append(step))
    data.verify()
    assert data.pairs is not None
    assert (data.manifest["spectra"], data.image_names) == (["vis", "lwir"], ["vislwir/9", "vislwir/12"])
    assert data.positions is None
    assert data.pairs[:, 2].tolist() == [1, 0, 1, 1, 0, 1]
    np.testing.assert_array_equal(data.points[data.pairs[:, 0]] == data.points[data.pairs[:, 1]], data.pairs[:, 2])
    assert len(data) == 5 + 3
    for (one, two, _), (image, lwir, optical) in zip(
        data.pairs, [line.split(",")[:3] for line in LWIR_LINES.split()], strict=True
    ):
        for row, side, number in ((one, 0, int(optical)), (two, 1, int(lwir))):
            expected = noise(side, (3, 64, 64))[number] if image == "9" else noise(10 * side + number, (64, 64))
            np.testing.assert_array_equal(data.patches[row, 0], expected)
            assert data.spectra[row] == side
    assert steps == [(5, 8), (8, 8)]
    assert read_vislwir(vislwir, tmp_path / "color", color=True).patches.shape == (8, 3, 64, 64)


def test_vislwir_arrays_may_count_from_one(vislwir: Path, tmp_path: Path) -> None:
    (vislwir / "finally_train.txt").write_text("9,3,1,1\n")
    data = read_vislwir(vislwir, tmp_path / "out", first_number=1)
    np.testing.assert_array_equal(data.patches[:, 0], [noise(0, (3, 64, 64))[0], noise(1, (3, 64, 64))[2]])
    with pytest.raises(InputError, match=r"line 1: .*lwir\.npy: has no patch 3: it holds 0 to 2"):
        read_vislwir(vislwir, tmp_path / "zero")


def test_ties_are_components() -> None:
    ids = point_ids(7, np.array([[0, 1], [2, 1], [2, 5], [3, 4]]))
    assert ids.tolist() == [0, 0, 0, 1, 1, 0, 2]
    chain = np.column_stack([np.arange(1, 60), np.arange(59)])
    assert set(point_ids(60, np.random.default_rng(0).permutation(chain))) == {0}


Spoil = Callable[[VisNir], None]


def _images_of(visnir: VisNir, image: Image) -> None:
    save(visnir.root / "country" / "0002_nir.tiff", image)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: (s.root / "country/0002_nir.tiff").unlink(), r"country\.csv, line 3: its image .*0002_nir\.tiff"),
        (
            lambda s: (s.root / "country/0002_nir.tiff").write_bytes(b"II*\0"),
            r"0002_nir\.tiff: is truncated or damaged",
        ),
        (lambda s: _images_of(s, noise(1, dtype=np.uint16)), r"0002_nir\.tiff: is uint16, .*0001_rgb\.tiff is uint8"),
        (lambda s: _images_of(s, np.zeros((HEIGHT, WIDTH), np.float32)), r"0002_nir\.tiff: grey values are float32"),
        (
            lambda s: _images_of(s, noise(1, (99, WIDTH))),
            r"country\.csv, line 5: the patch at x = 88, y = 68 leaves .*0002_nir\.tiff, 120 x 99 pixels",
        ),
        (lambda s: s.write("country", [(1, "0001", 31, 40, "0001", 31, 40)]), r"line 2: the patch at x = 31, y = 40"),
        (lambda s: s.write("country", [(1, "0001", 40, 69, "0001", 40, 69)]), r"line 2: the patch at x = 40, y = 69"),
        (lambda s: s.write("country", [(1, "0001", 89, 50, "0001", 89, 50)]), r"line 2: the patch at x = 89, y = 50"),
        (
            lambda s: s.write("country", [*[(1, "0001", 40, 50, "0001", 41, 50)] * 3]),
            r"line 2: says that two patches match, but lie at two keypoints \(and 2 more lines like it\)",
        ),
        (
            lambda s: s.write("country", [(1, "0001", 40, 50, "0002", 40, 50)]),
            "line 2: says that two patches match, but lie at two keypoints: correct",
        ),
        (
            lambda s: s.write("country", [(0, "0001", 40, 50, "0001", 40, 50)]),
            "line 2: says that two patches do not match, but are of one point",
        ),
        (
            lambda s: (s.root / "country.csv").write_text("1,0001_rgb,40,50,0001_nir,40,50\n1,0001_rgb,4,5,0001_nir,4"),
            r"country\.csv, line 2: has 6 columns",
        ),
        (lambda s: (s.root / "country.csv").unlink(), r"holds no \*\.csv"),
    ],
)
def test_refused(visnir: VisNir, tmp_path: Path, spoil: Spoil, message: str) -> None:
    spoil(visnir)
    with pytest.raises(InputError, match=message):
        read_visnir_csv(visnir.root, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nirscene1"]


def test_two_names_of_one_scene_are_refused(visnir: VisNir, tmp_path: Path) -> None:
    save(visnir.root / "country" / "0001.tiff", noise(3))
    text = "1,0001_rgb.tiff,40,50,0001_nir.tiff,40,50\n0,0001.tiff,40,50,0001_nir.tiff,41,50\n"
    (visnir.root / "country.csv").write_text(text)
    with pytest.raises(InputError, match=r"0001_rgb\.tiff and 0001\.tiff are one scene, country/0001"):
        read_visnir_csv(visnir.root, tmp_path / "out")


def test_sets_that_are_not_there(visnir: VisNir, tmp_path: Path) -> None:
    for sets, message in ((["field"], "holds no set field: there are country"), (["country"] * 2, "named twice")):
        with pytest.raises(InputError, match=message):
            read_visnir_csv(visnir.root, tmp_path / "out", sets=sets)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_visnir_csv(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InputError, match=r"nirscene1: holds no finally_train\.txt"):
        read_os(visnir.root, tmp_path / "out")
    with pytest.raises(InputError, match="country exists already"):
        read_visnir_csv(visnir.root, visnir.root / "country")


@pytest.mark.parametrize(
    ("lines", "spoil", "message"),
    [
        ("12,2,0,1\n12,1,2,1\n", None, r"line 2: .*12/lwir/1\.png is missing, and so is .*12/lwir\.npy"),
        ("13,2,0,1\n", None, r"line 1: .*13/optical/0\.png is missing"),
        ("9,2,0,1\n9,2,3,1\n", None, r"line 2: .*9/optical\.npy: has no patch 3: it holds 0 to 2"),
        ("9,2,0,1\n9,2,0,0\n", None, "line 2: says that two patches do not match, but are of one point"),
        ("9,2,0,x\n", None, "line 1: label is 'x'"),
        (LWIR_LINES, ("12/lwir/0.png", noise(1, (64, 63))), r"line 4: .*0\.png: is 63 x 64 pixels"),
        (LWIR_LINES, ("12/lwir/0.png", noise(1, (64, 64), np.uint16)), "12/lwir: is uint16, the first patch uint8"),
        (LWIR_LINES, ("9/lwir.npy", noise(1, (3, 32, 32))), r"9/lwir\.npy: holds \(3, 32, 32\) uint8"),
        (LWIR_LINES, ("9/lwir.npy", np.zeros((3, 64, 64))), r"9/lwir\.npy: holds \(3, 64, 64\) float64"),
        (LWIR_LINES, ("9/lwir.npy", b"no array"), r"9/lwir\.npy:? is truncated or not an array"),
    ],
)
def test_vislwir_refused(vislwir: Path, tmp_path: Path, lines: str, spoil: Any, message: str) -> None:
    (vislwir / "finally_train.txt").write_text(lines)
    if spoil:
        path, content = vislwir / spoil[0], spoil[1]
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".npy":
            np.save(path, content)
        else:
            save(path, content)
    with pytest.raises(InputError, match=message):
        read_vislwir(vislwir, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="first_number is 2"):
        read_vislwir(vislwir, tmp_path / "out", first_number=2)
