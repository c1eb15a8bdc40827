"""Features kept in files, so that an image in many pairs, or in a second run, is described once."""

import hashlib
import json
import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tiepoint.features.describe import Features
from tiepoint.features.view import View
from tiepoint.files import atomic_file, named
from tiepoint.images.header import opened
from tiepoint.models.describer import Describer, sees_upright
from tiepoint.options import Band, Detection, Nodata

ARRAYS = ("frames", "descriptors", "responses")


class FeatureCache:
    """Describes image files, or reads what it described before from one file for each image.

    Images are known by what they hold: a copy under another name is the same image. The pixels are not kept, but read
    from the image again. Without a folder nothing is kept. The key holds plain values that say what the features depend
    on besides the image: the describer's weights, the options.
    """

    def __init__(self, folder: Path | None, model: Describer, detection: Detection, key: Any) -> None:
        self.folder, self.model, self.detection = folder, model, detection
        self.key = digest(json.dumps(key, sort_keys=True).encode())
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def view(self, path: Path, content: str, band: Band = None, nodata: Nodata = None) -> View:
        """The described image at `path`, whose file has the digest `content`. Raises InputError, as `describe`.

        For a describer of upright patches it is not described yet: how its patches are rotated depends on the other
        image of a pair, so that there is nothing to keep.
        """
        view = View.of(path, str(path), band, nodata)
        if sees_upright(self.model) or self.detection.detector == "dense":
            return view
        name = digest(json.dumps([self.key, content, band, nodata]).encode())[:32]
        with self._locks[name]:  # a second pair with this image waits until it is described
            kept = self._read(name)
            if kept is None:
                view = view.described(self.model, self.detection)
                self._write(name, view.known)
                return view
        assert view.raster is not None
        frames, descriptors, responses = kept
        features = Features(frames, descriptors, responses, view.size, self.model.name, view.raster.geo)
        return replace(view, features=features)

    def _read(self, name: str) -> tuple[Any, ...] | None:
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                return tuple(file[key] for key in ARRAYS)
        except Exception:  # a missing or damaged file is no loss, and a damaged one raises anything
            return None

    def _write(self, name: str, found: Features) -> None:
        if self.folder is None:
            return
        path = self.folder / f"{name}.npz"
        with named(path), atomic_file(path, replace=True) as temporary:
            np.savez(temporary, **{key: getattr(found, key) for key in ARRAYS})


def digest(data: bytes) -> str:
    """SHA-256 as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: str | Path) -> str:
    """SHA-256 of a file. Raises InputError for one that cannot be read."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
