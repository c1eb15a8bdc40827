"""`data aligned`, and what `data info` says and shows of a set across two spectra."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from aligned_images import SIMILARITY, write_pair
from cross_set import cross_set

from tiepoint.cli import main
from tiepoint.data.sheet import contact_sheet
from tiepoint.patches import PatchSet

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pair(tmp_path / "in" / "field", "1", 1)
    write_pair(tmp_path / "in" / "urban", "2", 2, SIMILARITY)
    for spectrum in ("vis", "nir"):
        cv2.imwrite(str(tmp_path / "in" / f"0_{spectrum}.png"), np.zeros((99, 99), np.uint8))
    return tmp_path


def test_it_writes_and_prints_one_object(root: Path, capsys: Capture) -> None:
    out = root / "out"
    assert main(["data", "aligned", str(root / "in"), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    assert (said.out.count("\n"), said.err) == (1, "")
    data = PatchSet.open(out, verify=True)
    counts = {"patches": len(data), "points": len(data) // 2, "images": 2}
    assert json.loads(said.out) == {"directory": str(out), **counts, "without_keypoints": 1}
    assert data.image_names == ["field/1", "urban/2"]


def test_options_reach_the_builder(root: Path, capsys: Capture) -> None:
    words = ["data", "aligned", str(root / "in"), "--out", str(root / "out"), "--spectra", "nir", "vis", "--keypoints"]
    words += ["second", "--max-keypoints", "3", "--contrast", "0.03", "--min-distance", "9.5", "--border", "45"]
    assert main([*words, "--color", "--stretch", "--licence", "CC0"]) == 0
    assert "without keypoints" in capsys.readouterr().out
    data = PatchSet.open(root / "out")
    assert (data.patches.shape, data.patches.dtype) == ((12, 3, 64, 64), np.uint16)
    assert (data.manifest["spectra"], data.manifest["licence"]) == (["nir", "vis"], "CC0")
    said = data.manifest["provenance"]
    expected = {"keypoints": "second", "max_keypoints": 3, "contrast": 0.03, "min_distance": 9.5, "border": 45}
    assert {key: said[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{}/none"], "none: no such folder or table"),
        (["{}/in", "--spectra", "opt", "sar"], "holds no images named ID_opt.* and ID_sar.*"),
        (["{}/in", "--border", "3"], "border is 3, must be from 32"),
        (["{}/in", "--keypoints", "both"], "both"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(root: Path, capsys: Capture, words: list[str], message: str) -> None:
    before = sorted(root.rglob("*"))
    assert main(["data", "aligned", *(word.format(root) for word in words), "--out", str(root / "out")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert message in said.err
    assert sorted(root.rglob("*")) == before


def test_info_tells_what_lies_across_the_spectra(tmp_path: Path, capsys: Capture) -> None:
    data = cross_set(tmp_path / "set", ("field/0", "urban/0", "urban/1"), points=4, pairs=[(0, 1, 1), (0, 3, 0)])
    assert main(["data", "info", str(data.directory), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["spectra"] == {"vis": 12, "nir": 12}
    assert said["positions"] is True
    assert said["points_per_category"] == {"field": 4, "urban": 8}
    assert said["pairs"] == {"matches": 1, "non_matches": 1}
    assert main(["data", "info", str(data.directory)]) == 0
    text = capsys.readouterr().out
    for words in ("vis: 12, nir: 12", "yes", "field 4, urban 8", "matches 1, non_matches 1"):
        assert words in text
    drawn = cross_set(tmp_path / "drawn", ("field/0",), points=4)
    assert main(["data", "info", str(drawn.directory), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] is None
    assert main(["data", "info", str(drawn.directory)]) == 0
    assert "none of its own" in capsys.readouterr().out


def constant_set(directory: Path, spectra: list[int], points: list[int], dtype: type = np.uint8) -> PatchSet:
    """Patch k is k + 1 everywhere."""
    with PatchSet.create(directory, len(points), dtype=dtype, spectra=("vis", "nir")) as writer:
        writer.patches[:] = (np.arange(len(points)) + 1)[:, None, None, None]
        writer.points[:], writer.spectra[:], writer.images[:] = points, spectra, 0
        writer.image_names.append("a")
    return PatchSet.open(directory)


def test_a_sheet_of_two_spectra_shows_pairs_side_by_side(tmp_path: Path) -> None:
    data = constant_set(tmp_path / "set", [1, 0, 0, 1, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2, 3, 3, 4])
    sheet = contact_sheet(data, rows=2, columns=4)
    assert sheet.shape == (2 + 2 * 66, 2 + 4 * 66 + 12)
    middle = sheet[34::66][:, [34, 100, 178, 244]].reshape(4, 2).tolist()
    assert sorted(middle) == [[2, 1], [3, 4], [5, 6], [7, 8]]
    assert (sheet[:, 2 + 2 * 66 - 2 : 2 + 2 * 66 + 12] == 255).all()  # the gap between pairs
    assert (sheet != contact_sheet(data, rows=2, columns=4, seed=1)).any()
    assert contact_sheet(data, rows=1, columns=2).shape == (68, 2 + 2 * 66)


def test_spectra_of_16_bits_are_stretched_each_by_itself(tmp_path: Path) -> None:
    data = constant_set(tmp_path / "set", [0] * 3 + [1] * 3, [0, 1, 2] * 2, np.uint16)
    cells = contact_sheet(data, rows=3, columns=2)[34::66, 34::66]
    assert sorted(cells.tolist()) == [[0, 0], [128, 128], [255, 255]]


def test_a_set_whose_points_lie_in_one_spectrum_is_drawn_as_any_other(tmp_path: Path) -> None:
    data = constant_set(tmp_path / "set", [0, 0, 1], [0, 0, 1])
    assert contact_sheet(data).shape == (2 + 2 * 66, 2 + 2 * 66)
