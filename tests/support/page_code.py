"""The code of a page of Markdown, and how the tests run its commands."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

from tiepoint.cli import main

ROOT = Path(__file__).parents[2]
SHORTER = {
    "python benchmarks/describe.py": " --rounds 1 --patches 8",
    "python benchmarks/training_step.py": " --pairs 8 --worker eager",
    "python benchmarks/mining.py": " --rounds 1 --pairs 64",
    "python benchmarks/hpatches.py": " --small",
    "python benchmarks/registration.py ../shared/data": " --sets visnir --max-keypoints 500",
}
FEW = (
    "--steps 2 --minutes None --batch 4 --compile off --precision fp32 --validation.fraction 0.2 --validation.pairs 20"
)
BASE = "{data: runs/scenes-train, steps: 2, batch: 8, compile: off, validation: {fraction: 0.2, pairs: 50}}"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = [line.strip() for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def run(folder: Path, command: str) -> None:
    """Run a command of a page in a folder; those of tiepoint in this process, which has torch loaded already."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if command.startswith("tiepoint train"):
        command += f" {FEW}"
    if command.startswith("tiepoint compare"):
        command = re.sub(r"\{.*?\}", "{hardnet,sdgmnet}", command, count=1)  # of all systems two
        command = re.sub(r"scenes/sdgmnet-without-\S+| --seeds \d+", "", command) + " --base short.yaml"
    command += SHORTER.get(command, "")
    if command.startswith("tiepoint ") and not re.search(r"[|;&<>]", command):
        words = shell(f"printf '%s\\0' {command}", folder, environment).split("\0")[1:-1]
        with contextlib.chdir(folder):
            assert main(words) == 0, command
    else:
        shell(command, folder, environment)


def run_python(folder: Path, code: str) -> str:
    """What the code, run in this process, prints."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(code, {})
    return printed.getvalue()


def shell(command: str, folder: Path, environment: dict[str, str]) -> str:
    """The output of a command, which has to succeed."""
    finished = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout
