"""Every command and every line of Python in README.md and docs/ runs.

They run in a folder that holds what a reader is asked to have: a COLMAP project, a pair of images, and small stand-ins
for the real images. Two things are changed: trainings and benchmarks of speed are made short, and `make` targets are
replaced by the command that they run, since the environment is there already.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_code import BASE, ROOT, blocks, commands, run, run_python
from synthetic import colmap_project, smooth_texture

pytestmark = pytest.mark.whole
PAGES = [
    ROOT / "README.md",
    *(pytest.param(ROOT / "docs" / name, marks=pytest.mark.slow) for name in ("comparison.md", "results.md")),
]  # the other pages have tests of their own
MAKE = ("make demo", "make test", "make test-fast", "make check-data", "make figures")
DEMO = "tiepoint demo --out out/demo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("reader")
    folder = base / "tiepoint"
    folder.mkdir()
    for name in ("benchmarks", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    colmap_project(folder / "my-project", points=80, cameras=4)
    for name in ("train/scene", "test/scene"):
        colmap_project(base / "shared" / "data" / "scenes" / name, points=80, cameras=4)
    texture = smooth_texture(600, seed=1)
    matrix = np.array([[0.98, 0.05, 12], [-0.05, 0.98, 20], [0, 0, 1]])
    warped = cv2.warpPerspective(texture, matrix, (300, 240))
    cv2.imwrite(str(folder / "left.png"), texture[:240, :300])
    cv2.imwrite(str(folder / "right.png"), warped)
    pair = base / "shared" / "data" / "visnir" / "test" / "water"
    pair.mkdir(parents=True)
    cv2.imwrite(str(pair / "0001_vis.jpg"), texture[:180, :220])
    cv2.imwrite(str(pair / "0001_nir.jpg"), warped[:180, :220])
    np.savetxt(pair / "0001_vis_to_nir.txt", matrix)
    country = base / "shared" / "data" / "visnir" / "train" / "country"
    country.mkdir(parents=True)
    for k in range(5):
        scene = smooth_texture(400, seed=10 + k)
        cv2.imwrite(str(country / f"{k:04d}_vis.jpg"), scene)
        cv2.imwrite(str(country / f"{k:04d}_nir.jpg"), 255 - scene)
    for name in ("graf", "leuven"):
        sequence = base / "shared" / "data" / "homography" / name
        sequence.mkdir(parents=True)
        for k in range(1, 7):
            moved = np.array([[1, 0.01 * k, k - 1.0], [-0.01 * k, 1, 2.0 * k], [0, 0, 1]]) if k > 1 else np.eye(3)
            cv2.imwrite(str(sequence / f"{k}.jpg"), cv2.warpPerspective(texture, moved, (300, 240)))
            if k > 1:
                np.savetxt(sequence / f"H_1_{k}", moved)
    (folder / "short.yaml").write_text(BASE)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_of_a_page_runs(page: Path, folder: Path) -> None:
    found = commands(page)
    assert found
    shutil.rmtree(folder / "runs", ignore_errors=True)
    for command in found:
        if command not in MAKE:
            run(folder, command)


@pytest.mark.slow
def test_make_demo_runs(folder: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"demo: .venv/demo\n\t$(BIN)/{DEMO}\n" in makefile
    run(folder, DEMO)
    assert any((folder / "out" / "demo").iterdir())


@pytest.mark.slow
def test_the_python_of_the_readme_runs(folder: Path) -> None:
    code = "\n".join(blocks(ROOT / "README.md", "python"))
    assert "tiepoint.register" in code
    assert run_python(folder, code).startswith("True")
