from __future__ import annotations

import gzip
import io
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest
from archives import FILES, PACKERS, Pack, every_packer, refusal, tarred, tree, unpacked, written, zipped
from hypothesis import given, settings
from hypothesis import strategies as st

from tiepoint.data.members import is_archive
from tiepoint.data.unpack import unpack

pytestmark = pytest.mark.usefixtures("offline")


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


def test_a_zip_inside_a_tar_is_a_file(tmp_path: Path) -> None:
    files = {"inner.zip": zipped({"no": b"1"}, zipfile.ZIP_STORED)}
    unpack(written(tmp_path, tarred(files)), tmp_path / "out")
    assert tree(tmp_path / "out") == files


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
