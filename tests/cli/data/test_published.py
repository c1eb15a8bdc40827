"""`data import`: from the files of a published layout to what is printed and left behind."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import smooth_texture

from tiepoint.cli import main
from tiepoint.data.published.layouts import LAYOUTS
from tiepoint.patches import PatchSet

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two categories of the VIS-NIR patches, and an array of RRL-Net's layout."""
    folder = tmp_path / "nirscene1"
    for seed, category in enumerate(("country", "field")):
        (folder / category).mkdir(parents=True)
        for spectrum in ("rgb", "nir"):
            cv2.imwrite(str(folder / category / f"0001_{spectrum}.tiff"), smooth_texture(128, seed))
        lines = ("positive,0001_rgb.tiff,40,50,0001_nir.tiff,40,50", "negative,0001_rgb.tiff,40,50,0001_nir.tiff,90,50")
        (folder / f"{category}.csv").write_text("\n".join(lines))
    (tmp_path / "npy").mkdir()
    np.save(tmp_path / "npy" / "field.npy", np.zeros((3, 2, 64, 64), np.uint8))
    np.save(tmp_path / "npy" / "field_label.npy", np.array([1, 0, 1]))
    return tmp_path


def test_it_writes_and_prints_one_object(root: Path, capsys: Capture) -> None:
    out = root / "out"
    assert main(["data", "import", "visnir-csv", str(root / "nirscene1"), "--out", str(out), "--json"]) == 0
    said = capsys.readouterr()
    assert (said.out.count("\n"), said.err) == (1, "")
    assert json.loads(said.out) == {
        "directory": str(out), "patches": 6, "points": 4, "images": 2, "pairs": 4, "matches": 2,
    }  # fmt: skip
    assert PatchSet.open(out, verify=True).image_names == ["country/0001", "field/0001"]


def test_options_reach_the_reader(root: Path, capsys: Capture) -> None:
    words = ["data", "import", "visnir-csv", str(root / "nirscene1"), "--out", str(root / "out")]
    assert main([*words, "--sets", "field", "--color", "--licence", "CC0"]) == 0
    data = PatchSet.open(root / "out")
    assert (data.patches.shape, data.image_names) == ((3, 3, 64, 64), ["field/0001"])
    assert data.manifest["licence"] == "CC0"
    words = ["data", "import", "rrlnet-npy", str(root / "npy"), "--out", str(root / "npy-out")]
    assert main([*words, "--spectra", "sar", "opt"]) == 0
    assert PatchSet.open(root / "npy-out").manifest["spectra"] == ["sar", "opt"]
    assert "matches" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["visnir-csv", "{}/none"], "none: no such folder"),
        (["visnir-csv", "{}/nirscene1", "--sets", "water"], "holds no set water: there are country, field"),
        (["visnir-csv", "{}/nirscene1", "--spectra", "a", "b"], "--spectra does not go with visnir-csv"),
        (["rrlnet-npy", "{}/npy", "--color"], "--color does not go with rrlnet-npy: the patches of arrays are grey"),
        (["os", "{}/nirscene1", "--first-number", "1"], "--first-number does not go with os"),
        (["cvc", "{}/nirscene1"], "cvc"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(root: Path, capsys: Capture, words: list[str], message: str) -> None:
    before = sorted(root.rglob("*"))
    assert main(["data", "import", *(word.format(root) for word in words), "--out", str(root / "out")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert message in said.err
    assert sorted(root.rglob("*")) == before


def test_help_names_every_layout_and_option(capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["data", "import", "--help"])
    text = capsys.readouterr().out
    for word in (*LAYOUTS, "--out", "--sets", "--color", "--spectra", "--first-number", "--licence", "--json"):
        assert word in text
