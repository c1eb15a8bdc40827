"""Published cross-spectral patch sets to a PatchSet with their pairs: one table of layouts.

The images are the user's to get: EPFL's nirscene1 for the VIS-NIR patches, the OS dataset, SEN1-2. Where an index holds
coordinates, a patch is the rows y - 32 to y + 31 and the columns x - 32 to x + 31 of its keypoint.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tiepoint.data.published.crop import HALF, Files, cutter, locate, numbered
from tiepoint.data.published.index import OS, SEN12, VISLWIR, VISNIR, Columns, read_index
from tiepoint.data.published.npy import read_arrays
from tiepoint.data.published.plan import plan, write_planned
from tiepoint.data.published.sets import find_index_files, find_lists, provenance
from tiepoint.errors import InputError
from tiepoint.patches import PatchSet
from tiepoint.types import Progress

_ENDING = re.compile(r"_(rgb|vis|nir|ir)\Z")


@dataclass(frozen=True)
class IndexLayout:
    """A published set of index files and images."""

    columns: Columns
    spectra: tuple[str, str]
    find: Callable[[Path, Sequence[str]], dict[str, Path]]
    """(root, sets) -> the index files by the names of their sets"""
    scene: Callable[[str, int, str], str]
    """(set, side, image name) -> the scene's name, the same for both images of a pair"""
    images: Callable[[Path, str, int, str], list[Path]] | None = None
    """(root, set, side, image name) -> paths where the image may lie; None where patches are numbered"""


def _os_images(root: Path, _: str, side: int, name: str) -> list[Path]:
    path, spectrum = root / name, ("opt", "sar")[side]
    return [path.with_name(f"{spectrum}{path.name}"), path.parent / spectrum / path.name,
            path.with_name(f"{path.name}_{spectrum}")]  # fmt: skip


INDEX_LAYOUTS = {
    # Aguilera et al., CVPRW 2016: root/country.csv beside root/country/0001_rgb.tiff and 0001_nir.tiff, and so on. The
    # sets are the categories. The published protocol trains on country and tests on the other eight.
    "visnir-csv": IndexLayout(
        VISNIR, ("vis", "nir"), find_lists,
        lambda category, _, name: category + "/" + _ENDING.sub("", Path(name).stem),
        lambda root, category, _, name: [root / category / name, root / name],
    ),
    # EFR-Net, 2023: root/finally_train.txt and finally_test.txt. A line names a folder and a number; the image is
    # root/train/opt175.png, or else opt/175.png or 175_opt.png in that folder; SAR images are named in the same way.
    "os": IndexLayout(OS, ("opt", "sar"), find_index_files, lambda _, side, name: f"os/{name}", _os_images),
    # The same files beside the folders of SEN1-2, such as ROIs1970_fall/s1_25/ROIs1970_fall_s1_25_p621.png.
    "sen12": IndexLayout(
        SEN12, ("opt", "sar"), find_index_files,
        lambda _, side, name: f"sen12/{Path(name).stem.replace(('_s2_', '_s1_')[side], '_', 1)}",
        lambda root, _, side, name: [root / name],
    ),
    # FIL-Net, 2023. The index says nothing of files, so this is our assumption: root/finally_train.txt and
    # finally_test.txt, and a folder for each image. Patches 7 of image 9 are root/9/lwir/7.png and
    # root/9/optical/7.png, or root/9/lwir.npy and root/9/optical.npy hold all patches of a spectrum, (n, 64, 64). How
    # the patches were numbered is not published. A point is all patches that matches connect, and has no position.
    "vislwir": IndexLayout(VISLWIR, ("vis", "lwir"), find_index_files, lambda _, side, name: f"vislwir/{name}"),
}  # fmt: skip


def read_indexed(
    layout: str,
    root: str | Path,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    first_number: int = 0,
    color: bool = False,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Write the patches that index files name.

    `layout` is a key of INDEX_LAYOUTS, and `root` the folder of the index files and of the images' folders; `out` must
    not exist. `sets` are names of the index files to read. If empty: all categories of visnir-csv, else the only file
    there is, since pairs of one PatchSet are not told apart. `first_number` is what the index of vislwir calls the
    first patch of an array, 0 or 1. `color` stores RGB instead of grey (BT.601). `progress` is called with (patches
    done, patches in all).

    Raises InputError that names the file, and the line where there is one: what `read_index`, `locate`, `plan` and the
    readers of patches refuse, no index files, a set that is not there.
    """
    if first_number not in (0, 1):
        raise InputError(f"first_number is {first_number}, must be 0 or 1")
    root, kind = Path(root), INDEX_LAYOUTS[layout]
    paths = kind.find(root, sets)
    indices, scenes, images = [], [], Files()
    for name, path in paths.items():
        index = read_index(path, kind.columns)
        sides = enumerate((index.first, index.second))
        indices.append(index)
        scenes.append([[kind.scene(name, side, image) for image in part.names] for side, part in sides])
        if kind.images:
            locate(index, scenes[-1], partial(kind.images, root, name), images)
    planned = plan(indices, scenes)
    if kind.images:
        read = cutter(planned, images, color)
        how: dict[str, Any] = {"crop": f"rows y - {HALF} to y + {HALF - 1}, columns x alike"}
    else:
        read, how = numbered(planned, root, color, first_number), {"first_number": first_number}
    return write_planned(
        planned, read, out, color=color, progress=progress, spectra=kind.spectra, licence=licence,
        provenance={**provenance(layout, root, paths), **how, "color": color},
    )  # fmt: skip


LAYOUTS: dict[str, Callable[..., PatchSet]] = {
    **{name: partial(read_indexed, name) for name in INDEX_LAYOUTS},
    **{name: partial(read_arrays, name) for name in ("rrlnet-npy", "kglnet-npy")},
}
