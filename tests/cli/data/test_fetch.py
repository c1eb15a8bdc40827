from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flaky_server import FlakyServer, content, flaky_server, status
from tiny_set import zipped

from tiepoint import cli
from tiepoint.data.fetching import download
from tiepoint.data.fetching.sources import SOURCES, Source

Capture = pytest.CaptureFixture[str]


DATA = zipped({"info.txt": b"0 0\n" * 500, "patches0000.bmp": bytes(3000)})
MD5 = hashlib.md5(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of this machine's, and no waiting."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def server() -> Iterator[FlakyServer]:
    with flaky_server() as running:
        yield running


@pytest.fixture
def tiny(server: FlakyServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a data set `tiny`."""
    url = server.at("/tiny.zip", content(DATA))
    then = "tiepoint data phototour {folder} --out {folder}-patches"
    monkeypatch.setitem(SOURCES, "tiny", Source("tiny", "a test", "tiny.zip", (url,), then, MD5))
    return url


def complaint(words: list[str], capsys: Capture) -> str:
    assert cli.main(["data", "fetch", *words]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("tiepoint: error: ")
    return said.err


def test_fetch_in_json_twice(tiny: str, server: FlakyServer, tmp_path: Path, capsys: Capture) -> None:
    expected: dict[str, Any] = {
        "name": "tiny",
        "directory": str(tmp_path / "tiny"),
        "files": 2,
        "bytes": 5000,
        "fetched": True,
        "archive": None,
        "url": tiny,
        "md5": MD5,
        "sha256": SHA256,
        "checked": True,
        "next": f"tiepoint data phototour {tmp_path / 'tiny'} --out {tmp_path / 'tiny'}-patches",
    }
    for fetched in (True, False):
        assert cli.main(["data", "fetch", "tiny", "--out", str(tmp_path), "--json"]) == 0
        said = capsys.readouterr()
        assert (said.out.count("\n"), said.err) == (1, "")
        assert json.loads(said.out) == expected | {"fetched": fetched}
    assert len(server.requests) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]
    assert (tmp_path / "tiny" / "info.txt").read_bytes() == b"0 0\n" * 500


def test_fetch_says_the_same_to_people(tiny: str, tmp_path: Path, capsys: Capture) -> None:
    words = ["data", "fetch", "tiny", "--out", str(tmp_path), "--keep-archive"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'tiny'}: unpacked, 2 files, 5,000 bytes",
        f"From {tiny}, MD5 {MD5}, SHA-256 {SHA256}",
        "The archive is the published one.",
        f"Next: tiepoint data phototour {tmp_path / 'tiny'} --out {tmp_path / 'tiny'}-patches",
    ]
    assert (tmp_path / "tiny.zip").read_bytes() == DATA
    assert cli.main(words) == 0
    assert f"{tmp_path / 'tiny'}: complete already, nothing to do, 2 files" in capsys.readouterr().out


def test_what_cannot_be_checked_is_said(
    tiny: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "tiny", Source("tiny", "a test", "tiny.zip", (tiny,), "next"))
    assert cli.main(["data", "fetch", "tiny", "--out", str(tmp_path)]) == 0
    assert "could not be compared with a published hash" in capsys.readouterr().out
    assert cli.main(["data", "fetch", "tiny", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checked"] is False


@pytest.mark.parametrize("json_words", [[], ["--json"]])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["libert"], "no data set 'libert': did you mean liberty?"),
        ([], "name a data set: liberty, "),
        (["tiny", "--timeout", "0"], "timeout is 0.0 s"),
        (["tiny", "--timeout", "soon"], "--timeout"),
        (
            ["liberty_harris"],
            "liberty_harris.zip cannot be fetched (no mirror is known): put the file with MD5 ",
        ),
    ],
)
def test_bad_input_is_one_line(
    tiny: str, tmp_path: Path, capsys: Capture, words: list[str], message: str, json_words: list[str]
) -> None:
    assert message in complaint([*words, "--out", str(tmp_path), *json_words], capsys)
    assert list(tmp_path.iterdir()) == []


def test_no_mirror_is_one_line(tiny: str, server: FlakyServer, tmp_path: Path, capsys: Capture) -> None:
    server.at("/tiny.zip", status(404))
    said = complaint(["tiny", "--out", str(tmp_path)], capsys)
    assert f"({tiny}: HTTP 404 Not Found): put the file with MD5 {MD5} at {tmp_path / 'tiny.zip'} and run again" in said


def test_a_path_that_is_no_folder_is_named(tiny: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in complaint(["tiny", "--out", str(tmp_path / "file")], capsys)


def test_list(capsys: Capture) -> None:
    assert cli.main(["data", "fetch", "--list"]) == 0
    text = capsys.readouterr().out
    for words in (*SOURCES, "huggingface.co", "cmp.felk.cvut.cz", "4.2 GB", "by hand"):
        assert words in text
    assert cli.main(["data", "fetch", "--list", "--json"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    sets = {entry["name"]: entry for entry in json.loads(said)["data_sets"]}
    assert list(sets) == list(SOURCES)
    assert sets["liberty"]["md5"] == "fdd9152f138ea5ef2091746689176414"
    assert sets["liberty_harris"]["urls"] == []
    assert sets["hpatches"]["about_bytes"] == 4_200_000_000


def test_help_names_every_option(capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["data", "fetch", "--help"])
    text = capsys.readouterr().out
    for option in ("--out", "--keep-archive", "--timeout", "--list", "--json", "NAME"):
        assert option in text
