from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny_set import tree, zipped

import tiepoint
from tiepoint.data.fetching import unpack as unpack_lib
from tiepoint.data.fetching.unpack import ArchiveError, unpack

FILES = {"a.txt": b"alpha", "sub/b.bin": bytes(range(256)) * 9, "sub/deep/c": b"", "d d.txt": b"spaced"}
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
every_method = pytest.mark.parametrize("method", METHODS)


def written(folder: Path, data: bytes) -> tuple[Path, Path]:
    """The archive, and an empty folder beside it."""
    (folder / "archive").write_bytes(data)
    (folder / "out").mkdir()
    return folder / "archive", folder / "out"


def refusal(folder: Path, data: bytes) -> str:
    """What unpacking says that must fail."""
    with pytest.raises(ArchiveError) as caught:
        unpack(*written(folder, data))
    assert str(caught.value).isprintable()
    return str(caught.value)


@every_method
def test_what_was_packed_comes_out(tmp_path: Path, method: int) -> None:
    seen: list[tuple[int, int]] = []
    archive, out = written(tmp_path, zipped(FILES, method))
    total = sum(map(len, FILES.values()))
    assert unpack(archive, out, lambda *numbers: seen.append(numbers)) == (4, total)
    assert tree(out) == FILES
    assert (len(seen), seen[-1]) == (4, (total, total))
    plain = tmp_path / "plain"
    plain.write_text("")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()}
    assert modes == {stat.S_IMODE(plain.stat().st_mode)}


def test_folders_and_dots_are_understood(tmp_path: Path) -> None:
    archive, out = written(tmp_path, zipped({"./x/./y//z": b"1", "x/": b"", "é/b": b"2"}))
    assert unpack(archive, out) == (2, 2)
    assert tree(out) == {"x/y/z": b"1", "é/b": b"2"}


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a/..",
        "C:/up",
        "a\\..\\up",
        "a:b",
        "a\nb",
        "a\x1b[2Jb",
        "good\0b",
        ".",
        "\0",
    ],
)
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, zipped({"good": b"1", name: b"2"})) == f"holds the unsafe name {name!r}"
    assert {path.name for path in tmp_path.rglob("*")} <= {"archive", "out", "good"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("pair", [("a", "./a"), ("a", "a/b"), ("a", "a/b/c"), ("a/b", "a")])
def test_two_members_with_one_name_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    assert refusal(tmp_path, zipped(dict.fromkeys(pair, b"1"))).startswith(f"holds the name {pair[1]!r} twice")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo("bad")
        info.external_attr = (kind | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    assert refusal(tmp_path, buffer.getvalue()) == "holds 'bad', a link or a device"


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    """Overwrite bytes of the first entry of the central directory."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (8, b"\x01\0", "encrypted"),
        (10, b"\x63\0", "compression"),  # a method that nobody knows
        (24, struct.pack("<I", 4), "CRC"),  # shorter than the member is
        (24, struct.pack("<I", 6), "shorter than the stated 6 bytes"),
    ],
)
def test_members_that_cannot_be_read_are_named(tmp_path: Path, offset: int, value: bytes, reason: str) -> None:
    message = refusal(tmp_path, patched(zipped({"a.txt": b"alpha"}), offset, value))
    assert message.startswith("is damaged at 'a.txt' (")
    assert reason in message


@pytest.mark.parametrize("length", [0, 1, 100, 300, -300, -1])
def test_cut_archives_are_refused(tmp_path: Path, length: int) -> None:
    assert refusal(tmp_path, zipped(FILES)[:length]).startswith("is not a whole zip")


@every_method
def test_a_flipped_bit_is_found(tmp_path: Path, method: int) -> None:
    data = bytearray(zipped({"a": os.urandom(5000)}, method))
    data[3000] ^= 16
    assert refusal(tmp_path, bytes(data)).startswith("is damaged at 'a'")


@pytest.mark.parametrize("data", [b"PK", b"<html>moved</html>", b"\x1f\x8b"])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refusal(tmp_path, data) == "is not a whole zip (File is not a zip file)"


@pytest.mark.parametrize("files", [{}, {"folder/": b""}])
def test_an_archive_of_nothing_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert refusal(tmp_path, zipped(files)) == "holds no file"


def test_more_than_the_disk_has_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_lib, "shutil", SimpleNamespace(disk_usage=lambda _: namedtuple("usage", "free")(999)))
    archive, out = written(tmp_path, zipped({"a": bytes(500), "b": bytes(500)}))
    with pytest.raises(OSError, match="No space left on device"):
        unpack(archive, out)
    assert not list(out.iterdir())


FULL = """
import resource, sys
from pathlib import Path
from tiepoint.data.fetching.unpack import unpack
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
except OSError as error:
    print(error.strerror, error.filename.endswith("/sub/big"))
"""


@pytest.mark.whole
def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    archive, out = written(tmp_path, zipped({"sub/small": b"1", "sub/big": os.urandom(200_000)}))
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(archive), str(out)],
        capture_output=True, text=True, timeout=60, check=True, cwd=Path(tiepoint.__file__).parents[2],
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("File too large True\n", "")


def unpacked(archive: Path, out: Path) -> bool:
    """Whether it was unpacked; if not, an ArchiveError said why in one line."""
    said = ""
    try:
        unpack(archive, out)
    except ArchiveError as error:
        said = str(error)
    assert said.isprintable()
    return not said


@settings(max_examples=60, deadline=None)
@given(data=st.data(), method=st.sampled_from(METHODS))
def test_damage_is_refused_or_does_no_harm(data: st.DataObject, method: int) -> None:
    """Whatever happens to an archive's bytes: no other exception, and what comes out has the right check sum."""
    broken = bytearray(zipped(FILES, method))
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    del broken[data.draw(st.integers(len(broken) // 2, len(broken))) :]
    with tempfile.TemporaryDirectory() as root:
        archive, out = written(Path(root), bytes(broken))
        if unpacked(archive, out):
            assert set(tree(out).values()) <= set(FILES.values())


PARTS = ["..", ".", "", "a", "A", "b", "a.", "C:", "nul", "~", "-", "$HOME", "é", "*", " ", "\\", "a\\..", "\0"]
PART = st.one_of(st.sampled_from(PARTS), st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=4))
NAME = st.builds(
    lambda root, parts: root + "/".join(parts), st.sampled_from(["", "/", "//"]), st.lists(PART, max_size=4)
).filter(lambda name: name and not name.endswith("/"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60, deadline=None)
@example(files={"a/b": b"", "a/../../c": b""})
@given(files=st.dictionaries(NAME, st.binary(max_size=9), max_size=4))
def test_nothing_is_ever_written_outside(files: dict[str, bytes]) -> None:
    expected = {"/".join(p for p in name.split("/") if p not in ("", ".")): data for name, data in files.items()}
    with tempfile.TemporaryDirectory() as root:
        inner = Path(root) / "1" / "2" / "3"
        inner.mkdir(parents=True)
        archive, out = written(inner, zipped(files))
        if unpacked(archive, out):
            assert tree(out) == expected
        assert set(tree(Path(root))) == {"1/2/3/archive"} | {f"1/2/3/out/{name}" for name in tree(out)}


def test_what_inflates_beyond_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_lib, "MIN_TOTAL_BYTES", 1000)
    assert refusal(tmp_path, zipped({"a": bytes(1 << 20)})).startswith("claims 1 files of 1,048,576 bytes, more than")
    assert list((tmp_path / "out").iterdir()) == []
