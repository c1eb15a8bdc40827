"""The commands and the Python of docs/interop.md run, and it names every convention of the border."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from page_code import ROOT, blocks, commands, run, run_python
from synthetic import smooth_texture

PAGE = ROOT / "docs" / "interop.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    texture = smooth_texture(300, seed=1)
    matrix = np.array([[0.98, 0.05, 12], [-0.05, 0.98, 10], [0, 0, 1]])
    cv2.imwrite(str(tmp_path / "photos" / "left.png"), texture[:220, :260])
    cv2.imwrite(str(tmp_path / "photos" / "right.png"), cv2.warpPerspective(texture, matrix, (260, 220)))
    return tmp_path


@pytest.mark.slow
def test_the_page_runs(folder: Path) -> None:
    for module in ("onnxruntime", "kornia"):
        pytest.importorskip(module)
    found = [command for command in commands(PAGE) if not command.startswith("pip ")]
    assert [command.split()[2] for command in found] == ["colmap", "hloc", "onnx", "onnx", "weights"]
    for command in found:
        run(folder, command)
    code = "\n".join(blocks(PAGE, "python")) + "\nprint(descriptors.shape, len(matches) > 50, registration.accepted)"
    assert run_python(folder, code).splitlines() == ["2 128 2", "(7, 128)", "torch.Size([1, 200, 128]) True True"]
    written = {path.name for path in folder.iterdir()}
    assert {"database.db", "pair.db", "sdgmnet.onnx", "sdgmnet.onnx.json", "left.points", "points.csv"} <= written


@pytest.mark.parametrize("name", ["opencv", "colmap", "laf"])
def test_the_border_has_both_directions(name: str) -> None:
    from tiepoint.features import frames

    text = PAGE.read_text(encoding="utf-8")
    for function in (f"from_{name}", f"to_{name}"):
        assert callable(getattr(frames, function))
        assert f"`{function}`" in text
