from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from archives import FILES, PACKERS, Pack, both_packers, every_packer, refusal, tarred, tree, written, zipped

import tiepoint
from tiepoint.data import unpack as unpack_lib
from tiepoint.data.members import is_archive
from tiepoint.data.unpack import Contents, contents, unpack
from tiepoint.errors import InputError

pytestmark = pytest.mark.usefixtures("offline")


@every_packer
def test_what_was_packed_comes_out(tmp_path: Path, pack: Pack) -> None:
    seen: list[tuple[int, int]] = []
    archive = written(tmp_path, pack(FILES))
    total = sum(map(len, FILES.values()))
    done = unpack(archive, tmp_path / "out", lambda *numbers: seen.append(numbers))
    assert done == contents(tmp_path / "out") == Contents(files=4, bytes=total)
    assert tree(tmp_path / "out") == FILES
    assert seen[-1] == (total, total if pack(FILES)[:2] == b"PK" else 0)
    assert is_archive(archive)
    plain = tmp_path / "plain"
    plain.write_text("")
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").rglob("*") if p.is_file()} == {
        stat.S_IMODE(plain.stat().st_mode)
    }


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_folders_and_dots_are_understood(tmp_path: Path, pack: Pack) -> None:
    archive = written(tmp_path, pack({"./x/./y//z": b"1"}))
    assert unpack(archive, tmp_path / "out").files == 1
    assert tree(tmp_path / "out") == {"x/y/z": b"1"}
    with tarfile.open(tmp_path / "folders.tar", "w") as file, zipfile.ZipFile(tmp_path / "folders.zip", "w") as other:
        for name in (".", "empty", "empty", "x"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            file.addfile(info)
        file.addfile(tarfile.TarInfo("x/file"))
        other.writestr("empty/", "")
        other.writestr("x/file", "")
    for name in ("folders.tar", "folders.zip"):
        assert unpack(tmp_path / name, tmp_path / "new" / name) == Contents(files=1, bytes=0)
        assert sorted(p.name for p in (tmp_path / "new" / name).rglob("*")) == ["empty", "file", "x"]


@both_packers
def test_more_than_the_disk_has_is_refused_before_it_is_written(
    tmp_path: Path, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")(999)
    monkeypatch.setattr(unpack_lib, "shutil", SimpleNamespace(disk_usage=lambda _: usage))
    written_bytes: list[int] = []
    monkeypatch.setattr(unpack_lib, "_write", lambda member, target: written_bytes.append(member.size))
    message = refusal(tmp_path, pack({"a": bytes(500), "b": bytes(500)}))
    assert message.startswith("unpacks to 1,000 bytes, 999 are free")
    assert sum(written_bytes) <= 500


@pytest.mark.parametrize("packer", ["zip", "tar.gz", "tar.xz"])
def test_bombs_are_refused(tmp_path: Path, packer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PACKERS[packer]({"zeros": bytes(1_000_000)})
    monkeypatch.setattr(unpack_lib, "FLOOR", 999_999)
    assert refusal(tmp_path, data).startswith("unpacks to 1,000,000 bytes, more than 200 times its size")
    monkeypatch.setattr(unpack_lib, "FLOOR", 1_000_000)
    assert unpack(tmp_path / "archive", tmp_path / "out").bytes == 1_000_000


def test_members_that_share_bytes_count_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bomb of overlapping members: a central directory that names one member many times."""
    data = zipped({"aaa": bytes(100_000)})
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    entry = data[start:end]
    many = b"".join(entry.replace(b"aaa", f"{index:03d}".encode()) for index in range(300))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 300, 300, len(many), start, 0)
    monkeypatch.setattr(unpack_lib, "FLOOR", 0)
    assert refusal(tmp_path, data[:start] + many + tail).startswith("unpacks to 30,000,000 bytes, more than 200 times")


@pytest.mark.parametrize("data", [zipped({}), tarred({}), zipped({"folder/": b""})])
def test_an_archive_of_nothing_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refusal(tmp_path, data).startswith("holds no file")


def test_a_folder_that_holds_something_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("1")
    with pytest.raises(InputError, match="out exists already"):
        unpack(written(tmp_path, zipped(FILES)), tmp_path / "out")
    assert tree(tmp_path / "out") == {"mine": b"1"}


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        unpack(tmp_path / "missing", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
from tiepoint.data.unpack import unpack
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))
try:
    unpack(sys.argv[1], sys.argv[2])
except OSError as error:
    print(error.strerror, error.filename.endswith("/sub/big"))
"""


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    archive = written(tmp_path, zipped({"sub/small": b"1", "sub/big": os.urandom(200_000)}))
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(archive), str(tmp_path / "out")],
        capture_output=True, text=True, timeout=60, check=True, cwd=Path(tiepoint.__file__).parents[1],
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("File too large True\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
