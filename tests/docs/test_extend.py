"""docs/extend: what each page adds is found by its name, and its code and commands run."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_code import BASE, ROOT, blocks, commands
from synthetic import smooth_texture

from tiepoint import losses, nets
from tiepoint.cli import main
from tiepoint.data.fetching.sources import SOURCES
from tiepoint.features.detectors import DETECTORS
from tiepoint.patches import PatchSet

PAGES = ROOT / "docs" / "extend"
pytestmark = pytest.mark.whole
REGISTRIES = (losses.LOSSES, nets.DESCRIBERS, DETECTORS, SOURCES)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reader's folder, and registries that are afterwards what they were."""
    monkeypatch.chdir(tmp_path)
    texture = smooth_texture(260, seed=1)
    cv2.imwrite("left.png", texture[:200, :240])
    cv2.imwrite("right.png", texture[5:205, 10:250])
    Path("hardnet.yaml").write_text(BASE.replace("{data", "{loss: {name: hardnet}, network: hardnet, data"))
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)  # type: ignore[call-overload]


def write_patches(points: int) -> None:
    rng = np.random.default_rng(0)
    with PatchSet.create("patches", 2 * points) as writer:
        writer.patches[:] = rng.integers(0, 255, (2 * points, 1, 64, 64))
        writer.points[:] = np.repeat(np.arange(points), 2)
        writer.images[:], writer.spectra[:] = 0, 0
        writer.image_names = ["scene"]


def execute(page: str) -> dict[str, object]:
    """Run the Python and the commands of a page in its order; what is its own command is `tiepoint` here."""
    names: dict[str, object] = {}
    text = (PAGES / page).read_text(encoding="utf-8")
    pieces = [(text.index(block), block) for block in blocks(PAGES / page, "python") if "import main" not in block]
    pieces += [(text.index(command.split(" --")[0]), command) for command in commands(PAGES / page)]
    for _, piece in sorted(pieces):
        if piece.startswith(("python my_tiepoint.py ", "tiepoint ")):
            assert main(shlex.split(piece.replace("python my_tiepoint.py", "tiepoint"))[1:]) == 0, piece
        else:
            exec(piece, names)
    return names


def test_a_loss() -> None:
    write_patches(40)
    execute("loss.md")
    assert {"logistic", "logistic-steep"} <= set(losses.names())
    recipe = Path("runs/logistic/recipe.yaml").read_text(encoding="utf-8")
    assert "scale: 32.0" in recipe


def test_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    write_patches(40)
    execute("network.md")
    assert "strided" in nets.describers()
    assert capsys.readouterr().out.endswith("64 torch.Size([3, 64])\n")


def test_a_detector(capsys: pytest.CaptureFixture[str]) -> None:
    execute("detector.md")
    share = float(capsys.readouterr().out.split()[0])
    assert share > 0.7


def test_a_data_set() -> None:
    names = execute("dataset.md")
    assert names["SOURCES"] is SOURCES
    assert "tiles" in SOURCES


@pytest.mark.parametrize("page", ["loss", "network", "detector"])
def test_the_script_of_a_page_imports_what_the_page_saves(page: str) -> None:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    (script,) = [block for block in blocks(PAGES / f"{page}.md", "python") if "import main" in block]
    module = script.split()[1]
    assert f"`{module}.py`" in text
    assert module not in sys.modules
