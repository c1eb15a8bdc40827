"""Completion: a real bash completes verbs, options and recipes; the scripts of zsh and fish are well formed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tiepoint.cli import GROUPS, VERBS, main
from tiepoint.cli.completion import write_script

BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_tiepoint
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "tiepoint.bash"
    path.write_text(write_script("bash"), encoding="utf-8")
    return path


def completed(script: Path, *words: str) -> list[str]:
    command = ["bash", "-c", BASH, "bash", str(script), "tiepoint", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_verbs(bash_script: Path) -> None:
    firsts = {verb.split()[0] for verb in VERBS}
    assert {*completed(bash_script, "")} == firsts | {"help", "-h", "--help", "-V", "--version"}
    assert completed(bash_script, "reg") == ["register"]
    assert {*completed(bash_script, "help", "")} >= firsts
    for group in GROUPS:
        seconds = [verb.split()[1] for verb in VERBS if verb.split()[0] == group]
        assert completed(bash_script, group, "") == [*seconds, "-h", "--help"]
        assert completed(bash_script, "help", group, seconds[0]) == [seconds[0]]


def test_bash_completes_options_of_the_verb_and_files_elsewhere(bash_script: Path) -> None:
    assert completed(bash_script, "register", "a.png", "b.png", "--max-k") == ["--max-keypoints"]
    assert completed(bash_script, "data", "info", "--she") == ["--sheet"]
    assert completed(bash_script, "match", "--she") == []
    assert "--quiet" in completed(bash_script, "data", "info", "patches", "-")
    assert completed(bash_script, "data", "info", "") == []  # bash then completes files
    assert completed(bash_script, "train", "hardnet", "--loss.mem") == ["--loss.memory"]


def test_bash_completes_names_of_recipes_and_shells(bash_script: Path) -> None:
    assert completed(bash_script, "train", "scenes/hard") == ["scenes/hardnet"]
    assert completed(bash_script, "compare", "hardnet", "sosn") == ["sosnet"]
    assert completed(bash_script, "completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_the_script_of_each_shell_is_well_formed(
    shell: str, check: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(f"{verb}" in script for verb in VERBS)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    path = tmp_path / "script"
    path.write_text(script, encoding="utf-8")
    finished = subprocess.run([shell, check, str(path)], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
