"""The Python of docs/imaging.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import pytest
from page_code import ROOT, blocks
from synthetic import smooth_texture

from tiepoint.features.detectors import DETECTORS

PAGE = ROOT / "docs" / "imaging.md"


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "left.png"), smooth_texture(200, seed=1))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(PAGE, "python"):
        exec(block, names)
    assert names["patches"].shape[1:] == (1, 64, 64)  # type: ignore[attr-defined]
    assert capsys.readouterr().out


def test_every_detector_is_in_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(DETECTORS)
