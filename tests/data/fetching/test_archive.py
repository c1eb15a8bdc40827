from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic import smooth_texture

from tiepoint.data.fetching import archive as archive_lib
from tiepoint.data.fetching.archive import Archive
from tiepoint.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "inner").mkdir(parents=True)
    grey = smooth_texture(64, seed=1)
    cv2.imwrite(str(folder / "inner" / "grey.png"), grey)
    cv2.imwrite(str(folder / "same.bmp"), np.dstack([grey, grey, grey]))
    cv2.imwrite(str(folder / "deep.png"), grey.astype(np.uint16) * 256)
    cv2.imwrite(str(folder / "float.tif"), grey.astype(np.float32))
    (folder / "text.txt").write_text("hello\n")
    (folder / ".hidden").write_text("x")
    return folder


def pack(folder: Path, **options: int) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[arg-type]
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
        archive.writestr("__MACOSX/._text.txt", "resource fork")
    return path


@pytest.mark.parametrize("method", [None, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_reads_as_its_folder(folder: Path, method: int | None) -> None:
    archive = Archive(folder if method is None else pack(folder, compression=method))
    assert archive.names == ["deep.png", "float.tif", "inner/grey.png", "same.bmp", "text.txt"]
    assert archive.read("text.txt") == b"hello\n"
    assert archive.read("text.txt", 3) == b"hel"
    grey = smooth_texture(64, seed=1)
    np.testing.assert_array_equal(archive.read_grey("inner/grey.png"), grey)
    np.testing.assert_array_equal(archive.read_grey("same.bmp"), grey)  # luma of equal channels is their value
    np.testing.assert_array_equal(archive.read_grey("deep.png"), grey.astype(np.uint16) * 256)
    with pytest.raises(InputError, match=r"float\.tif: grey values are float32"):
        archive.read_grey("float.tif")
    with pytest.raises(InputError, match=r"text\.txt: truncated or not an image"):
        archive.read_grey("text.txt")


def test_what_is_no_archive_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"missing: no such file or folder"):
        Archive(folder / "missing")
    with pytest.raises(InputError, match=r"text\.txt: truncated or not a zip"):
        Archive(folder / "text.txt")
    path = pack(folder)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"set\.zip: truncated or not a zip"):
        Archive(path)


def test_a_changed_byte_in_a_zip_is_found(folder: Path) -> None:
    path = pack(folder)
    content = bytearray(path.read_bytes())
    content[content.index(b"hello")] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"set\.zip/text\.txt: cannot be read \(Bad CRC"):
        Archive(path).read("text.txt")


def test_a_file_that_vanished_is_named(folder: Path) -> None:
    archive = Archive(folder)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"text\.txt: cannot be read \(No such file"):
        archive.read("text.txt")


@pytest.mark.parametrize("zipped", [False, True])
def test_a_member_that_inflates_to_too_much_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.setattr(archive_lib, "MAX_MEMBER_BYTES", 50_000)
    (folder / "long.txt").write_bytes(b"0 0\n" * 20_000)
    archive = Archive(pack(folder, compression=zipfile.ZIP_DEFLATED) if zipped else folder)
    with pytest.raises(InputError, match=r"long\.txt: has 80,000 bytes, more than the 50,000"):
        archive.read("long.txt")
    assert archive.read("long.txt", 3) == b"0 0"
    monkeypatch.setattr(archive_lib, "MAX_MEMBERS", 3)
    if zipped:
        with pytest.raises(InputError, match="holds more than 3 files"):
            Archive(folder.with_suffix(".zip"))
