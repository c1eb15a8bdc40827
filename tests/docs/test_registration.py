"""The commands and the Python of docs/registration.md run, with settings that take less time."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_code import ROOT, blocks, commands, run, run_python
from synthetic import smooth_texture

from tiepoint.batch.summary import COLUMNS

PAGE = ROOT / "docs" / "registration.md"
MATRIX = np.array([[0.99, 0.03, 3], [-0.03, 0.99, 6]])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """vis and nir with the images of the table on the page, and the table."""
    for name in ("vis", "nir"):
        (tmp_path / name).mkdir()
    for index in (1, 2):
        image = smooth_texture(200, seed=index)
        moved = cv2.warpAffine(image, MATRIX, (200, 200), borderMode=cv2.BORDER_REFLECT)
        cv2.imwrite(str(tmp_path / "vis" / f"000{index}.png"), image)
        cv2.imwrite(str(tmp_path / "nir" / f"000{index}.png"), moved)
    (tmp_path / "pairs.csv").write_text(blocks(PAGE, "csv")[0])
    return tmp_path


@pytest.mark.slow
def test_the_page_runs(folder: Path) -> None:
    found = commands(PAGE)
    assert len(found) == 4
    for command in found:
        run(folder, f"{command} --describer rootsift --no-global-search --no-refine")
    names = {path.name for path in (folder / "pair").iterdir()}
    assert {"result.json", "matches.png", "overlay.png", "tie_points.csv", "report.html"} <= names
    for out, names, files in [
        ("registered", ["field", "water"], ["result.json", "tie_points.csv"]),
        ("by-name", ["0001", "0002"], ["report.html", "result.json", "tie_points.csv"]),
    ]:
        summary = json.loads((folder / out / "summary.json").read_text(encoding="utf-8"))
        assert [row["name"] for row in summary["rows"]] == names
        assert summary["accepted"] == 2
        for name in names:
            assert sorted(path.name for path in (folder / out / name).iterdir()) == files
    code = "\n".join(blocks(PAGE, "python")).replace("2000", "100, global_search=False, refine=False")
    printed = run_python(folder, code)
    assert [line.split()[:2] for line in printed.splitlines()] == [["field", "accepted"], ["water", "accepted"]]


def test_the_columns_are_those_of_the_summary() -> None:
    assert f"`{', '.join(COLUMNS)}`" in PAGE.read_text(encoding="utf-8")
