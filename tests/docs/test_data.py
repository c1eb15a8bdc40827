"""The commands and the Python of docs/data.md run, on small stand-ins for what a reader has."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from aligned_images import write_pair
from page_code import ROOT, blocks, commands, run, run_python
from synthetic import colmap_project, smooth_texture

PAGE = ROOT / "docs" / "data.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    abbey = tmp_path / "abbey"
    abbey.mkdir()
    cv2.imwrite(str(abbey / "patches0000.bmp"), smooth_texture(192, seed=1)[:128])
    (abbey / "info.txt").write_text("".join(f"{k // 2} 0\n" for k in range(6)))
    (abbey / "m50_100000_100000_0.txt").write_text("0 0 0 1 0 0 0\n2 1 0 5 2 0 0\n")
    for seed, (kind, name) in enumerate((("v", "wall"), ("i", "lamp"))):
        strips, images = tmp_path / "strips" / f"{kind}_{name}", tmp_path / "sequences" / name
        strips.mkdir(parents=True)
        images.mkdir(parents=True)
        for strip in ("ref", *(f"{noise}{k}" for noise in "eht" for k in range(1, 6))):
            cv2.imwrite(str(strips / f"{strip}.png"), smooth_texture(130, seed)[:, :65])
        for number in range(1, 7):
            cv2.imwrite(str(images / f"{number}.png"), smooth_texture(160, seed))
            np.savetxt(images / f"H_1_{number}", np.eye(3))
    for seed in range(2):
        write_pair(tmp_path / "aligned" / "field", f"000{seed}", seed)
    colmap_project(tmp_path / "my-project", points=40, cameras=3)
    return tmp_path


@pytest.mark.whole
def test_the_page_runs(folder: Path) -> None:
    found = commands(PAGE)
    assert {" ".join(command.split()[:3]) for command in found} == {
        f"tiepoint data {verb}"
        for verb in ("fetch", "phototour", "info", "hpatches", "homography", "aligned", "colmap", "audit")
    }
    for command in found:
        run(folder, command)
    assert run_python(folder, "\n".join(blocks(PAGE, "python"))) == "0.5\n"
