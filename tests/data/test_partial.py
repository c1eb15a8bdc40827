from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from flaky_server import FlakyServer, content
from tiny_set import DATA, OTHER, names, source

import tiepoint
from tiepoint.data.fetch import fetch
from tiepoint.data.partial import claim
from tiepoint.errors import InputError

pytestmark = pytest.mark.usefixtures("offline")


def test_an_interrupt_leaves_what_there_is(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source(url), tmp_path, progress=interrupt)
    there = (tmp_path / "tiny.zip.part").stat().st_size
    assert there > 0
    assert not (tmp_path / "tiny.zip").exists()
    if there < len(DATA):
        fetch(source(url), tmp_path)
        assert server.asked("Range") == [None, f"bytes={there}-"]


@pytest.mark.parametrize("note", ["{", "[]", '{"url": 3}', None])
def test_a_part_of_unknown_origin_starts_again(server: FlakyServer, tmp_path: Path, note: str | None) -> None:
    (tmp_path / "tiny.zip.part").write_bytes(OTHER[:10_000])
    if note:
        (tmp_path / "tiny.zip.part.json").write_text(note)
    url = server.at("/tiny.zip", content(DATA))
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None]
    assert names(tmp_path) == ["tiny.zip", "tiny.zip.json"]


def test_two_processes_do_not_write_one_file(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))
    with claim(tmp_path / "tiny.zip"), pytest.raises(InputError, match=r"tiny\.zip\.part is being written by another"):
        fetch(source(url), tmp_path)
    assert names(tmp_path) == []
    assert fetch(source(url), tmp_path).read_bytes() == DATA


def test_a_file_that_another_process_has_just_finished_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = tmp_path / "tiny.zip.part", tmp_path / "tiny.zip"
    part.write_bytes(DATA)
    monkeypatch.setattr("tiepoint.data.partial.fcntl.flock", lambda *_: part.rename(target))
    with pytest.raises(InputError, match="another process"), claim(target):
        pytest.fail("the block must not run")
    assert target.read_bytes() == DATA


def test_a_disk_without_room_is_said_before_the_first_byte(
    server: FlakyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")(len(DATA) - 1)
    monkeypatch.setattr("tiepoint.data.partial.shutil", SimpleNamespace(disk_usage=lambda _: usage))
    url = server.at("/tiny.zip", content(DATA))
    with pytest.raises(OSError, match="No space left on device") as caught:
        fetch(source(url), tmp_path)
    assert caught.value.filename == str(tmp_path / "tiny.zip.part")
    assert names(tmp_path) == []


FULL = """
import resource, sys
from pathlib import Path
from tiepoint.data.fetch import fetch
from tiepoint.data.sources import Mirror, Source
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
try:
    fetch(Source("tiny", "tiny.zip", "", (Mirror(sys.argv[1]),), (), ""), sys.argv[2])
except OSError as error:
    print(type(error).__name__, error.strerror, error.filename)
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""


def test_a_disk_that_fills_up_names_the_file_and_keeps_the_part(server: FlakyServer, tmp_path: Path) -> None:
    url = server.at("/tiny.zip", content(DATA))
    done = subprocess.run(
        [sys.executable, "-c", FULL, url, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=True, cwd=Path(tiepoint.__file__).parents[1],
    )  # fmt: skip
    assert done.stdout == f"OSError File too large {tmp_path / 'tiny.zip.part'}\n"
    assert done.stderr == ""
    assert (tmp_path / "tiny.zip.part").read_bytes() == DATA[:20_000]
    assert fetch(source(url), tmp_path).read_bytes() == DATA
    assert server.asked("Range") == [None, "bytes=20000-"]
