"""UBC PhotoTour (Brown, Hua & Winder, PAMI 2011), and what others publish in its layout, to a PatchSet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tiepoint.data.readers.brown import Ids, read_cache, read_folder
from tiepoint.errors import InputError
from tiepoint.patches import REBUILD, PatchSet, map_npy
from tiepoint.types import Progress

# The patches of the published sets.
SETS = {
    "liberty": 450_092,
    "notredame": 468_159,
    "yosemite": 633_587,
    "liberty_harris": 379_587,
    "notredame_harris": 325_295,
    "yosemite_harris": 450_912,
}


def build_phototour(
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Write a set as a PatchSet, its files of pairs beside the patches; see `read_pairs`.

    Point ids stay as published. Patches are kept as they are; the whole of each is a network's input, so the margin
    is 1. How many sigmas they show is not published, so the manifest's support has its default.

    Args:
        source: the zip as distributed, a folder of pages and text files, or torchvision's cache (.pt).
        out: folder to write; must not exist.
        name: of the set; the source's own if None. One of `SETS` has to be complete.
        licence: recorded in the manifest.
        progress: called with (patches done, patches in all).

    Raises:
        InputError: see `tiepoint.data.readers.brown`; or a set of `SETS` that is not complete.
    """
    source = Path(source)
    name = name or (source.resolve().name if source.is_dir() else source.stem)
    published = read_cache(source) if source.suffix in (".pt", ".pth") else read_folder(source)
    count = len(published.points)
    if count != SETS.get(name, count):
        raise InputError(
            f"{source}: has {count} patches, the published {name} {SETS[name]}: "
            "copy it again, or give a part of it another name"
        )
    provenance: dict[str, Any] = {
        "builder": "tiepoint data phototour",
        "name": name,
        "source": source.name,
        "support": "not published; the whole patch is the network's input",
        "images": "not known, taken as one" if published.sources is None else "interest.txt",
        "pairs": {key: len(rows) for key, rows in published.pairs.items()},
    }
    with PatchSet.create(out, count, dtype=published.dtype, provenance=provenance, licence=licence) as writer:
        for key, rows in published.pairs.items():
            np.save(writer.directory / _file_name(key), rows)
        for block in published.blocks():
            done = writer.append(block[:, None])
            if progress:
                progress(done, count)
        writer.points[:] = published.points
        if published.sources is None:
            writer.image_names.append(name)
        else:
            ids, writer.images[:] = np.unique(published.sources, return_inverse=True)
            writer.image_names += [f"{name}/{number}" for number in ids]
    return PatchSet.open(out)


def read_pairs(directory: str | Path, name: str = "m50_100000_100000_0") -> Ids:
    """Rows (M, 2) int64 of a published list of pairs, in its order. They match where their point ids are equal.

    The default is the list of the published protocol: 50,000 matches and as many non-matches.

    Raises:
        InputError: the PatchSet has no such list, or one that does not fit its patches.
    """
    patch_set = PatchSet.open(directory)
    path = patch_set.directory / _file_name(name)
    if not path.is_file():
        present = sorted(file.stem.removeprefix("pairs-") for file in patch_set.directory.glob("pairs-*.npy"))
        raise InputError(f"{path} is missing: the PatchSet has {', '.join(present) or 'no lists of pairs'}")
    rows = np.asarray(map_npy(path, REBUILD))
    fits = rows.ndim == 2 and rows.shape[1] == 2 and rows.dtype == np.int64 and len(rows) > 0
    if not fits or rows.min() < 0 or rows.max() >= len(patch_set):
        raise InputError(f"{path}: holds no rows of the PatchSet: build it again")
    return rows


def _file_name(name: str) -> str:
    return f"pairs-{name}.npy"
