from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tiepoint
from tiepoint.data import unpack as unpack_lib
from tiepoint.data.member_names import MemberNames, split
from tiepoint.data.members import is_archive
from tiepoint.data.unpack import Contents, contents, unpack
from tiepoint.errors import InputError

FILES = {"a.txt": b"alpha", "sub/b.bin": bytes(range(256)) * 9, "sub/deep/c": b"", "d d.txt": b"spaced"}
Pack = Callable[[dict[str, bytes]], bytes]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in files.items():
            info = zipfile.ZipInfo()  # its constructor would already clean the name
            info.filename, info.compress_type = name, method
            info.external_attr = 0o600 << 16
            file.writestr(info, data)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o777
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


PACKERS: dict[str, Pack] = {
    "zip": zipped,
    "zip stored": lambda files: zipped(files, zipfile.ZIP_STORED),
    "zip lzma": lambda files: zipped(files, zipfile.ZIP_LZMA),
    "tar": tarred,
    "tar gnu": lambda files: tarred(files, tarfile.GNU_FORMAT),
    "tar.gz": lambda files: gzip.compress(tarred(files), mtime=0),
    "tar.bz2": lambda files: bz2.compress(tarred(files)),
    "tar.xz": lambda files: lzma.compress(tarred(files)),
}
every_packer = pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
both_packers = pytest.mark.parametrize("pack", [zipped, tarred])


def written(folder: Path, data: bytes) -> Path:
    path = folder / "archive"  # without a suffix: what it is, its content says
    path.write_bytes(data)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refusal(folder: Path, data: bytes) -> str:
    """What unpacking says that must fail; that it leaves nothing is checked."""
    archive = written(folder, data)
    with pytest.raises(InputError) as caught:
        unpack(archive, folder / "out")
    assert [path.name for path in folder.iterdir()] == ["archive"]
    message = str(caught.value)
    assert message.startswith(f"{archive}: ")
    assert message.isprintable()
    return message.removeprefix(f"{archive}: ")


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


NAMES = [
    ("/etc/passwd", "absolute"),
    ("../up", "leaves the folder"),
    ("a/../../up", "leaves the folder"),
    ("a/..", "leaves the folder"),
    ("C:/up", "not allowed in names everywhere"),
    ("C:up", "not allowed in names everywhere"),
    ("a\\..\\..\\up", "not allowed in names everywhere"),
    ("\\\\host\\share", "not allowed in names everywhere"),
    ("file:stream", "not allowed in names everywhere"),
    ("a\nb", "not allowed in names everywhere"),
    ("a\x1b[2Jb", "not allowed in names everywhere"),
    ("a/.. /up", "ends in a dot or space"),
    ("a/.../up", "ends in a dot or space"),
    ("a./b", "ends in a dot or space"),
    ("nul", "device on Windows"),
    ("a/AUX.txt", "device on Windows"),
    ("com1 .txt/b", "device on Windows"),
    ("x" * 256, "is too long"),
    ("é" * 128, "is too long"),
]


@both_packers
@pytest.mark.parametrize(("name", "reason"), NAMES)
def test_unsafe_names_are_refused(tmp_path: Path, pack: Pack, name: str, reason: str) -> None:
    message = refusal(tmp_path, pack({"good": b"1", name: b"2"}))
    assert f"member {name!r}" in message
    assert reason in message


def test_a_name_is_judged_as_it_is_stored(tmp_path: Path) -> None:
    data = zipped({"good_name": b"1"}).replace(b"good_name", b"good\0name")
    assert r"member 'good\x00name' has a character" in refusal(tmp_path, data)


def test_a_file_needs_a_name() -> None:
    for name in ("", ".", "./"):
        assert split(name) == []
        with pytest.raises(ValueError, match="has no name"):
            MemberNames().add(name, is_folder=False)
        assert MemberNames().add(name, is_folder=True) == []


@both_packers
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "pair",
    [("a", "A"), ("a", "./a"), ("a", "a/b"), ("a/b", "a"), ("é", "e\u0301"), ("straße", "STRASSE"), ("d/X", "D/x")],
)
def test_two_members_with_one_name_are_refused(tmp_path: Path, pack: Pack, pair: tuple[str, str]) -> None:
    message = refusal(tmp_path, pack(dict.fromkeys(pair, b"1")))
    assert message.startswith(f"member {pair[1]!r} has the name of another member")


def with_tar_member(**fields: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        info = tarfile.TarInfo("bad")
        for key, value in fields.items():
            setattr(info, key, value)
        file.addfile(info)
        inside = tarfile.TarInfo("bad/passwd")
        inside.size = 1
        file.addfile(inside, io.BytesIO(b"1"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    message = refusal(tmp_path, with_tar_member(type=kind, linkname="/etc"))
    assert message.startswith("member 'bad' is a link or a device")


def test_a_header_that_gives_another_name_is_heeded(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_tar_member(pax_headers={"path": "/tmp/x"}))
    assert message.startswith("member '/tmp/x' is an absolute path")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo("bad")
        info.external_attr = (kind | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    assert refusal(tmp_path, buffer.getvalue()).startswith("member 'bad' is a link or a device")


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Overwrite bytes of the first header that begins with `signature`."""
    at = data.index(signature) + offset
    return data[:at] + value + data[at + len(value) :]


CENTRAL = b"PK\x01\x02"


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    data = patched(zipped(FILES), CENTRAL, 8, struct.pack("<H", 1))
    assert refusal(tmp_path, data).startswith("member 'a.txt' is encrypted")


def test_methods_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    data = patched(patched(zipped(FILES), CENTRAL, 10, b"\x63\0"), b"PK\x03\x04", 8, b"\x63\0")
    assert "member 'a.txt' is damaged" in refusal(tmp_path, data)


@pytest.mark.parametrize(("stated", "reason"), [(4, "damaged"), (6, "not as long as stated (6 bytes)")])
def test_members_are_as_long_as_stated(tmp_path: Path, stated: int, reason: str) -> None:
    data = patched(zipped({"a.txt": b"alpha"}), CENTRAL, 24, struct.pack("<I", stated))
    message = refusal(tmp_path, data)
    assert "member 'a.txt' is" in message
    assert reason in message


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
    start, end = data.index(CENTRAL), data.index(b"PK\x05\x06")
    entry = data[start:end]
    many = b"".join(entry.replace(b"aaa", f"{index:03d}".encode()) for index in range(300))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 300, 300, len(many), start, 0)
    monkeypatch.setattr(unpack_lib, "FLOOR", 0)
    assert refusal(tmp_path, data[:start] + many + tail).startswith("unpacks to 30,000,000 bytes, more than 200 times")


@every_packer
def test_cut_archives_are_refused(tmp_path: Path, pack: Pack) -> None:
    data = pack(FILES)
    whole = len(data.rstrip(b"\0"))  # a plain tar ends in zeros, of which the last ones are not missed
    for length in (0, 1, 100, 512, 1024, whole // 2, whole - 300, whole - 1):
        if length < whole:
            assert "damaged" in refusal(tmp_path, data[:length]), length


def test_a_tar_that_ends_between_two_members_is_cut(tmp_path: Path) -> None:
    one, two = tarred({"a": b"1"}), tarred({"a": b"1", "b": b"2"})
    assert "cut off or damaged between two members" in refusal(tmp_path, two[:1024])
    damaged = bytearray(two)
    damaged[1024] ^= 1  # the second header; tarfile alone would take it for the end
    assert "cut off or damaged between two members" in refusal(tmp_path, bytes(damaged))
    assert unpack(written(tmp_path, one), tmp_path / "out").files == 1


@pytest.mark.parametrize("packer", ["zip", "zip stored", "zip lzma", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_flipped_bit_is_found(tmp_path: Path, packer: str) -> None:
    content = os.urandom(5000)
    data = bytearray(PACKERS[packer]({"a": content}))
    data[3000] ^= 16
    assert "damaged" in refusal(tmp_path, bytes(data))


@pytest.mark.parametrize("data", [b"", b"PK", b"<html>moved</html>", gzip.compress(b"hello"), b"BZh9junk"])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "damaged" in refusal(tmp_path, data)
    assert not is_archive(tmp_path / "archive")


@pytest.mark.parametrize("data", [zipped({}), tarred({}), zipped({"folder/": b""})])
def test_an_archive_of_nothing_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refusal(tmp_path, data).startswith("holds no file")


def test_a_zip_inside_a_tar_is_a_file(tmp_path: Path) -> None:
    files = {"inner.zip": zipped({"no": b"1"}, zipfile.ZIP_STORED)}
    unpack(written(tmp_path, tarred(files)), tmp_path / "out")
    assert tree(tmp_path / "out") == files


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


PART = st.one_of(
    st.sampled_from(
        ["..", ".", "", "a", "A", "b", "a.", "C:", "nul", "~", "-", "$HOME", "é", "*", " ", "\\", "a\\..", "\0"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="/"), max_size=4),
)
NAME = st.builds(
    lambda root, parts: root + "/".join(parts), st.sampled_from(["", "/", "//"]), st.lists(PART, max_size=4)
)


def unpacked(archive: Path, out: Path) -> bool:
    """Whether it was unpacked. If not, an InputError said why in one line, and there is nothing."""
    said = ""
    try:
        unpack(archive, out)
    except InputError as error:
        said = str(error)
    assert said.isprintable()
    assert out.exists() == (not said)
    return not said


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60, deadline=None)
@example(files={"a/b": b"", "a/../../c": b""})
@example(files={"\0": b""})
@given(
    files=st.dictionaries(NAME.filter(lambda name: name and not name.endswith("/")), st.binary(max_size=9), max_size=4)
)
def test_nothing_is_ever_written_outside(files: dict[str, bytes]) -> None:
    expected = {"/".join(p for p in name.split("/") if p not in ("", ".")): data for name, data in files.items()}
    for pack in (zipped, tarred):
        if pack is tarred and any("\0" in name for name in files):
            continue  # a tar's header cuts it there
        with tempfile.TemporaryDirectory() as root:
            inner = Path(root) / "1" / "2" / "3"
            inner.mkdir(parents=True)
            archive = written(inner, pack(files))
            if unpacked(archive, inner / "out"):
                assert tree(inner / "out") == expected
            assert set(tree(Path(root))) == {"1/2/3/archive"} | {f"1/2/3/out/{name}" for name in tree(inner / "out")}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), packer=st.sampled_from(sorted(PACKERS)))
def test_damage_is_refused_or_does_no_harm(data: st.DataObject, packer: str) -> None:
    """Whatever happens to an archive's bytes: no other exception, and what has check sums is refused or right."""
    broken = bytearray(PACKERS[packer](FILES))
    for _ in range(data.draw(st.integers(1, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    del broken[data.draw(st.integers(len(broken) // 2, len(broken))) :]
    with tempfile.TemporaryDirectory() as root:
        archive = written(Path(root), bytes(broken))
        is_archive(archive)
        if unpacked(archive, Path(root) / "out") and packer.startswith("tar."):
            assert tree(Path(root) / "out") == FILES
