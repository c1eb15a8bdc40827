from __future__ import annotations

import random
from pathlib import Path

import pytest
from flaky_server import FlakyServer, content
from tiny_set import DATA, names, source

from tiepoint.data.obtain import obtain
from tiepoint.data.unpack import Contents
from tiepoint.errors import InputError

pytestmark = pytest.mark.usefixtures("offline")


def test_obtain_unpacks_and_does_nothing_the_second_time(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    seen: list[tuple[int, int]] = []
    first = obtain(wanted, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert first.fresh
    assert (first.folder, first.archive) == (tmp_path / "tiny", None)
    assert first.contents == first.record.contents == Contents(files=2, bytes=50_000)
    assert seen[-1] == (50_000, 50_000)
    assert (len(DATA), len(DATA)) in seen
    assert (tmp_path / "tiny" / "strip" / "0.bin").read_bytes() == random.Random(30_000).randbytes(30_000)
    assert names(tmp_path) == ["tiny", "tiny.zip.json"]
    second = obtain(wanted, tmp_path)
    assert not second.fresh
    assert (second.record, second.contents, second.folder) == (first.record, first.contents, first.folder)
    assert len(server.requests) == 1


def test_obtain_keeps_the_archive_if_asked_or_if_it_is_somebody_elses(server: FlakyServer, tmp_path: Path) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    assert obtain(wanted, tmp_path / "a", keep_archive=True).archive == tmp_path / "a" / "tiny.zip"
    assert names(tmp_path / "a") == ["tiny", "tiny.zip", "tiny.zip.json"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "tiny.zip").write_bytes(DATA)
    assert obtain(wanted, tmp_path / "b").archive == tmp_path / "b" / "tiny.zip"
    assert names(tmp_path / "b") == ["tiny", "tiny.zip", "tiny.zip.json"]


def test_a_folder_that_is_something_else_is_named_before_anything_is_fetched(
    server: FlakyServer, tmp_path: Path
) -> None:
    wanted = source(server.at("/tiny.zip", content(DATA)))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine").write_text("1")
    with pytest.raises(InputError, match=r"tiny is there, but .*tiny\.zip\.json does not say"):
        obtain(wanted, tmp_path)
    assert server.requests == []
    obtain(wanted, tmp_path / "new")
    (tmp_path / "new" / "tiny" / "strip" / "0.bin").unlink()
    with pytest.raises(InputError, match="remove it, or name another folder"):
        obtain(wanted, tmp_path / "new")


def test_a_damaged_member_is_named_and_nothing_is_unpacked(server: FlakyServer, tmp_path: Path) -> None:
    broken = bytearray(DATA)
    broken[1000] ^= 1
    wanted = source(server.at("/tiny.zip", content(bytes(broken))), hashes=())
    with pytest.raises(InputError, match=r"tiny\.zip: member 'strip/0\.bin' is damaged"):
        obtain(wanted, tmp_path)
    assert names(tmp_path) == ["tiny.zip", "tiny.zip.json"]
