"""Archives of small files, packed in every way, and what unpacking must say of bad ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tiepoint.data.unpack import unpack
from tiepoint.errors import InputError

FILES = {"a.txt": b"alpha", "sub/b.bin": bytes(range(256)) * 9, "sub/deep/c": b"", "d d.txt": b"spaced"}


Pack = Callable[[dict[str, bytes]], bytes]


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
