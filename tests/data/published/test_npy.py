"""The arrays of RRL-Net's and KGL-Net's layouts to PatchSets: pixels, points, pairs, and arrays that are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiepoint.data.labelled_pairs import cross_points, draw_nonmatches, labelled_pairs, split_scenes
from tiepoint.data.published import npy as cross_npy
from tiepoint.data.published.layouts import LAYOUTS
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet

read_rrlnet_npy, read_kglnet_npy = LAYOUTS["rrlnet-npy"], LAYOUTS["kglnet-npy"]
LABELS = np.array([1, 0, 1, 1, 0])


def noise(seed: int, count: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 2, 64, 64), dtype=np.uint8)


def rrlnet(root: Path, name: str, pairs: NDArray[Any], labels: NDArray[Any], label_name: str = "") -> Path:
    root.mkdir(exist_ok=True)
    np.save(root / f"{name}.npy", pairs)
    np.save(root / f"{label_name or name}_label.npy", labels)
    return root


def kglnet(root: Path, name: str, pairs: NDArray[Any], ids: list[Any]) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}_sos.npy", pairs.reshape(-1, 1, 64, 64))
    (folder / f"{name}_info.txt").write_text("".join(f"{i}\n" for i in ids))
    return root


def check(data: PatchSet, pairs: NDArray[Any], labels: NDArray[Any]) -> None:
    data.verify()
    assert data.pairs is not None
    assert data.positions is None
    np.testing.assert_array_equal(data.pairs[:, 2], labels)
    for side in (0, 1):
        np.testing.assert_array_equal(data.patches[data.pairs[:, side], 0], pairs[:, side])
        assert (data.spectra[data.pairs[:, side]] == side).all()
    number = np.arange(len(labels))
    np.testing.assert_array_equal(data.points[data.pairs[:, 0]], 2 * number)
    np.testing.assert_array_equal(data.points[data.pairs[:, 1]], 2 * number + 1 - labels)
    assert len(data) == 2 * len(labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64, np.uint16])
def test_rrlnet(tmp_path: Path, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross_npy, "_BLOCK", 2)
    root = rrlnet(tmp_path / "npy", "country", noise(0).astype(dtype), LABELS.astype(dtype))
    steps: list[tuple[int, int]] = []
    data = read_rrlnet_npy(root, tmp_path / "out", progress=lambda *step: steps.append(step))
    check(data, noise(0), LABELS)
    assert (data.manifest["spectra"], data.patches.dtype) == (["vis", "nir"], np.uint8)
    assert data.image_names == [f"country/{k}" for k in range(5)]
    assert steps == [(2, 5), (4, 5), (5, 5)]


def test_rrlnet_sets_are_categories(tmp_path: Path) -> None:
    root = rrlnet(tmp_path / "npy", "field", noise(0), LABELS)
    rrlnet(root, "country", noise(1), 1 - LABELS)
    rrlnet(root, "val_data", noise(2), LABELS, "val")
    data = read_rrlnet_npy(root, tmp_path / "all")
    check(data, np.concatenate([noise(1), noise(0), noise(2)]), np.concatenate([1 - LABELS, LABELS, LABELS]))
    assert labelled_pairs(data).names == ["country", "field", "val"]
    chosen = read_rrlnet_npy(root, tmp_path / "two", sets=["field", "country"])
    check(chosen, np.concatenate([noise(0), noise(1)]), np.concatenate([LABELS, 1 - LABELS]))
    # Every pair is a scene, so that training can split and draw non-matches.
    training, validation = split_scenes(chosen, 0.5, seed=0)
    assert len(training) == len(validation) == 10
    index = cross_points(chosen)
    drawn = draw_nonmatches(index, np.arange(len(index)), np.random.default_rng(0), same_category=True)
    assert (drawn >= 0).all()
    assert (index.categories[drawn] == index.categories).all()


@pytest.mark.parametrize(
    ("file", "name", "spectra"),
    [("os_train_image", "os_train", ["opt", "sar"]), ("sne_test_image", "sne_test", ["opt", "sar"])],
)
def test_rrlnet_names_of_other_sets(tmp_path: Path, file: str, name: str, spectra: list[str]) -> None:
    root = rrlnet(tmp_path / "npy", file, noise(0), LABELS, name)
    data = read_rrlnet_npy(root, tmp_path / "out", sets=[name])
    check(data, noise(0), LABELS)
    assert (data.manifest["spectra"], data.image_names[3]) == (spectra, f"{name}/3")
    other = read_rrlnet_npy(root, tmp_path / "other", spectra=["sar", "opt"])
    assert other.manifest["spectra"] == ["sar", "opt"]
    with pytest.raises(InputError, match="name two different ones"):
        read_rrlnet_npy(root, tmp_path / "same", spectra=["sar", "sar"])


@pytest.mark.parametrize("ids", [[7, 7, 3, 4, 9, 9, 0, 0, 5, 1], ["7.000e+00", "7.000e+00", 3, 4, 1, 1, 2, 2, 5, 6]])
def test_kglnet(tmp_path: Path, ids: list[Any]) -> None:
    root = kglnet(tmp_path / "mydata", "country", noise(0), ids)
    data = read_kglnet_npy(root, tmp_path / "out")
    check(data, noise(0), LABELS)
    assert (data.manifest["spectra"], data.image_names[4]) == (["vis", "nir"], "country/4")
    check(read_kglnet_npy(root / "country", tmp_path / "own"), noise(0), LABELS)
    kglnet(root, "lwir_test", noise(1), ids)
    lwir = read_kglnet_npy(root, tmp_path / "lwir", sets=["lwir_test"])
    check(lwir, noise(1), LABELS)
    assert lwir.manifest["spectra"] == ["vis", "lwir"]
    with pytest.raises(InputError, match="country, lwir_test have several pairs of spectra"):
        read_kglnet_npy(root, tmp_path / "both")


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=9), st.integers(1, 4))
def test_any_labels_in_any_blocks(tmp_path_factory: pytest.TempPathFactory, labels: list[int], block: int) -> None:
    folder = tmp_path_factory.mktemp("npy")
    pairs = noise(3, len(labels))
    root = rrlnet(folder / "npy", "field", pairs, np.array(labels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_npy, "_BLOCK", block)
        check(read_rrlnet_npy(root, folder / "out"), pairs, np.array(labels))
    shutil.rmtree(folder)


def spoiled(pair: int, value: float) -> NDArray[np.float32]:
    pairs = noise(0).astype(np.float32)
    pairs[pair, 1, 5, 6] = value
    return pairs


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("country.npy", spoiled(3, 256), r"country\.npy, pair 3: holds other values than whole numbers from 0 to 255"),
        ("country.npy", spoiled(2, -1), r"country\.npy, pair 2: "),
        ("country.npy", spoiled(0, np.nan), r"country\.npy, pair 0: "),
        ("country.npy", noise(0) / 255, r"country\.npy, pair 0: "),
        ("country.npy", noise(0).astype(np.uint16) * 257, r"country\.npy, pair 0: "),
        ("country.npy", noise(0)[:, :1], r"country\.npy: holds \(5, 1, 64, 64\): must be pairs"),
        ("country.npy", noise(0)[:0], r"country\.npy: holds \(0, 2, 64, 64\)"),
        ("country.npy", noise(0).transpose(0, 2, 3, 1), r"country\.npy: holds \(5, 64, 64, 2\)"),
        ("country.npy", np.array(["a"]), r"country\.npy: holds <U1: must be numbers"),
        ("country.npy", b"\x93NUMPY", r"country\.npy:? is truncated or not an array"),
        ("country_label.npy", LABELS[:4], r"country_label\.npy: holds \(4,\) labels, country\.npy 5 pairs"),
        ("country_label.npy", LABELS[:, None], r"country_label\.npy: holds \(5, 1\) labels"),
        ("country_label.npy", np.array([1, 0, 2, 1, 0]), r"country_label\.npy, row 2: label is 2: must be 0 or 1"),
        ("country_label.npy", np.array([1, 0.5, 1, 1, 0]), r"country_label\.npy, row 1: label is 0\.5"),
        ("country_label.npy", None, r"country_label\.npy is missing"),
        ("country.npy", None, r"npy: holds no country\.npy"),
    ],
)
def test_rrlnet_refused(tmp_path: Path, file: str, content: Any, message: str) -> None:
    root = rrlnet(tmp_path / "npy", "country", noise(0), LABELS)
    if content is None:
        (root / file).unlink()
    elif isinstance(content, bytes):
        (root / file).write_bytes(content)
    else:
        np.save(root / file, content)
    with pytest.raises(InputError, match=message):
        read_rrlnet_npy(root, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["npy"]


def test_truncated_array(tmp_path: Path) -> None:
    root = rrlnet(tmp_path / "npy", "country", noise(0), LABELS)
    content = (root / "country.npy").read_bytes()
    (root / "country.npy").write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"country\.npy:? is truncated or not an array"):
        read_rrlnet_npy(root, tmp_path / "out")


Spoil = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "field_info.txt").write_text("1\n" * 9), r"field_info\.txt: has 9 lines, field_sos\.npy 10"),
        (lambda f: (f / "field_info.txt").write_text("1\n2 3\n"), r"field_info\.txt, line 2: '2 3': must be one whole"),
        (lambda f: (f / "field_info.txt").write_text("1\n\n1\n"), r"field_info\.txt, line 2: '': must be one whole"),
        (lambda f: (f / "field_info.txt").write_text("1.5\n"), r"field_info\.txt, line 1: '1\.5'"),
        (lambda f: (f / "field_info.txt").write_text("nan\n"), r"field_info\.txt, line 1: 'nan'"),
        (lambda f: (f / "field_info.txt").write_text("inf\n"), r"field_info\.txt, line 1: 'inf'"),
        (lambda f: (f / "field_info.txt").write_text("1e300\n"), r"field_info\.txt, line 1: '1e300'"),
        (lambda f: (f / "field_info.txt").write_bytes(b"\xff"), r"field_info\.txt: cannot be read"),
        (lambda f: (f / "field_info.txt").unlink(), r"field_info\.txt: no such file"),
        (lambda f: (f / "field_sos.npy").unlink(), r"holds no country/country_sos\.npy"),
        (lambda f: np.save(f / "field_sos.npy", noise(0)), r"field_sos\.npy: holds \(5, 2, 64, 64\): must be two pat"),
        (lambda f: np.save(f / "field_sos.npy", noise(0)[:, :1]), r"field_sos\.npy: holds \(5, 1, 64, 64\)"),
        (lambda f: np.save(f / "field_sos.npy", spoiled(4, 300).reshape(10, 1, 64, 64)), r"field_sos\.npy, pair 4: "),
    ],
)
def test_kglnet_refused(tmp_path: Path, spoil: Spoil, message: str) -> None:
    root = kglnet(tmp_path / "mydata", "field", noise(0), [1, 1, 2, 3, 4, 4, 5, 5, 6, 7])
    spoil(root / "field")
    with pytest.raises(InputError, match=message):
        read_kglnet_npy(root, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mydata"]
