"""The wheel, installed outside the checkout: it imports at once, its types hold in a user's code, and it trains."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from page_code import ROOT, blocks
from synthetic import small_patch_set

pytestmark = pytest.mark.slow
pytest.importorskip("hatchling", reason="needs hatchling: pip install 'tiepoint[dev]'")
MAX_MODULES = 60  # that `import tiepoint` loads beside those of Python's own start


def call(command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that has to succeed, without the path of the checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, and sees what is installed here but for the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], ROOT)
    (wheel,) = folder.glob("tiepoint-*.whl")
    venv.create(folder / "venv", symlinks=os.name != "nt")
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    call([*pip, "install", "--no-deps", "--no-index", wheel], folder)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    # A path in a .pth file is searched, but .pth files there, as of an editable tiepoint, are not read.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def imported(python: Path, code: str) -> set[str]:
    lines = call([python, "-X", "importtime", "-c", code], python.parent).stderr.splitlines()
    return {line.split("|")[-1].strip() for line in lines if line.startswith("import time:")}


def test_the_import_is_light(python: Path) -> None:
    where = call([python, "-c", "import tiepoint; print(tiepoint.__file__)"], python.parent).stdout
    assert Path(where.strip()).is_relative_to(python.parents[1])
    modules = imported(python, "import tiepoint") - imported(python, "pass")
    assert not {name.split(".")[0] for name in modules} & {"torch", "numpy", "cv2", "scipy", "rich", "tyro"}
    assert len(modules) < MAX_MODULES, sorted(modules)


def test_types_hold_in_the_readmes_code(python: Path, tmp_path: Path) -> None:
    (tmp_path / "readme.py").write_text("\n".join(blocks(ROOT / "README.md", "python")), encoding="utf-8")
    call([sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "readme.py"], tmp_path)


def test_a_recipe_of_the_wheel_trains(python: Path, tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set", points=30)
    options = ["--steps", "3", "--batch", "6", "--validation.fraction", "0.2", "--out", "run"]
    call([python.with_name("tiepoint"), "train", "hardnet", "--data", str(data.directory), *options], tmp_path)
    assert (tmp_path / "run" / "model.safetensors").stat().st_size > 0
