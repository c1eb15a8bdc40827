"""Files of a folder or of a zip, read without unpacking; images among them as grey."""

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.data.fetching.unpack import DAMAGE, MAX_MEMBERS
from tiepoint.errors import InputError
from tiepoint.images.pixels import decode

MAX_MEMBER_BYTES = 1 << 28  # of a file that is read whole: the largest of published sets have 20 MB
MAX_DEPTH = 3  # of folders that are searched: deeper than in published data sets


class Archive:
    """The files of `path`, a folder or a zip, whose `names` are sorted, with "/" between folders.

    Hidden files and those that macOS adds to zips are left out. Raises InputError for what is neither folder nor zip.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        if self.path.is_dir():
            paths = [path for depth in range(MAX_DEPTH) for path in self.path.glob("*/" * depth + "*")]
            names = [path.relative_to(self.path).as_posix() for path in paths if path.is_file()]
        else:
            self._zip = _open_zip(self.path)
            if len(self._zip.namelist()) > MAX_MEMBERS:
                raise InputError(f"{self.path}: holds more than {MAX_MEMBERS} files: give a folder or a smaller zip")
            names = [name for name in self._zip.namelist() if name and not name.endswith("/")]
        self.names = sorted(name for name in names if not any(p.startswith((".", "__MACOSX")) for p in name.split("/")))

    def label(self, name: str) -> Path:
        """What errors call a file of the archive."""
        return self.path / name

    def read(self, name: str, size: int = -1) -> bytes:
        """The file's bytes, or its first `size` ones. Raises InputError if it is damaged, too large or not readable."""
        try:
            stated = self._zip.getinfo(name).file_size if self._zip else self.label(name).stat().st_size
            if size < 0 and stated > MAX_MEMBER_BYTES:
                fault = f"has {stated:,} bytes, more than the {MAX_MEMBER_BYTES:,} that are read at once"
                raise InputError(f"{self.label(name)}: {fault}: copy it again or divide it")
            # A zip's member has no more bytes than it states, see zipfile.
            with self._zip.open(name) if self._zip else self.label(name).open("rb") as file:
                return file.read(size if size >= 0 else stated + 1)
        except InputError:
            raise
        except OSError as error:
            raise InputError(f"{self.label(name)}: cannot be read ({error.strerror or error})") from None
        except DAMAGE as error:
            raise InputError(f"{self.label(name)}: cannot be read ({error}): copy the zip again") from None

    def read_grey(self, name: str) -> NDArray[Any]:
        """An image of the archive as grey (H, W), uint8 or uint16; colour becomes luma. Raises InputError."""
        image = decode(np.frombuffer(self.read(name), dtype=np.uint8), self.label(name))
        if image.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{self.label(name)}: grey values are {image.dtype}: give uint8 or uint16")
        if image.ndim < 3:
            return image
        if image.shape[2] not in (3, 4):
            raise InputError(f"{self.label(name)}: has {image.shape[2]} bands: give a grey or a colour image")
        return np.asarray(cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2GRAY))


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except DAMAGE as error:
        remedy = "copy it again, or unpack it and give the folder"
        raise InputError(f"{path}: truncated or not a zip ({error}): {remedy}") from None
