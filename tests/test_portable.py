"""The package on systems without POSIX's modules: every module is imported, none of them present."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tiepoint import files
from tiepoint.files import atomic_directory, write_text

IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys
for name in ("fcntl", "termios", "resource", "pwd", "grp", "tty", "pty"):
    sys.modules[name] = None
import tiepoint
names = [m.name for m in pkgutil.walk_packages(tiepoint.__path__, "tiepoint.") if m.name != "tiepoint.__main__"]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.whole
def test_every_module_is_imported_without_modules_of_posix() -> None:
    finished = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    package = Path(files.__file__).parent
    modules = [path for path in package.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    folders = [path for path in package.rglob("__init__.py") if path.parent != package]
    assert int(finished.stdout) == len(modules) + len(folders)


@pytest.mark.parametrize("windows", [False, True])
def test_files_and_folders_are_written_where_folders_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: bool
) -> None:
    """Windows opens no folder and replaces none."""
    import os

    real, replace = os.open, Path.replace

    def no_folder(path: str, *arguments: int, **options: int) -> int:
        if windows and Path(path).is_dir() and arguments[0] in (os.O_RDONLY, os.O_RDWR):  # filelock tries other flags
            raise PermissionError(path)
        return real(path, *arguments, **options)

    def no_replacing(self: Path, target: Path) -> Path:
        if windows and self.is_dir() and target.exists():
            raise PermissionError(str(target))
        return replace(self, target)

    monkeypatch.setattr(files, "WINDOWS", windows)
    monkeypatch.setattr(os, "open", no_folder)
    monkeypatch.setattr(Path, "replace", no_replacing)
    write_text(tmp_path / "a.txt", "a")
    (tmp_path / "set").mkdir()
    with atomic_directory(tmp_path / "set") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "b.txt").write_text("b")
    assert (tmp_path / "a.txt").read_text() == "a"
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["b.txt", "inner"]
