"""Published cross-spectral patch sets to a PatchSet with their pairs: one table of layouts.

The images are the user's to get: EPFL's nirscene1 for the VIS-NIR patches, the OS dataset, SEN1-2. Every patch is the
rows y - 32 to y + 31 and the columns x - 32 to x + 31 of its keypoint. A point is a location in a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tiepoint.data.published.crop import cut_patch_set, locate
from tiepoint.data.published.index import OS, SEN12, VISNIR, Columns, read_index
from tiepoint.data.published.npy import read_arrays
from tiepoint.data.published.sets import find_index_files, find_lists, provenance
from tiepoint.data.published.vislwir import read_vislwir
from tiepoint.patches import PatchSet
from tiepoint.types import Progress

_ENDINGS = ("_rgb", "_vis", "_nir", "_ir")


@dataclass(frozen=True)
class ImageLayout:
    """A published set of index files and images.

    Attributes:
        columns: of its index files.
        spectra: names of the two.
        find: (root, sets) -> the index files by the names of their sets.
        scene: (set, side, image name) -> the scene's name, the same for both images of a pair.
        images: (root, set, side, image name) -> paths where the image may lie.
    """

    columns: Columns
    spectra: tuple[str, str]
    find: Callable[[Path, Sequence[str]], dict[str, Path]]
    scene: Callable[[str, int, str], str]
    images: Callable[[Path, str, int, str], list[Path]]


def _without_spectrum(name: str) -> str:
    stem = Path(name).stem
    return next((stem.removesuffix(ending) for ending in _ENDINGS if stem.endswith(ending)), stem)


def _os_images(root: Path, _: str, side: int, name: str) -> list[Path]:
    path, spectrum = root / name, ("opt", "sar")[side]
    return [path.with_name(f"{spectrum}{path.name}"), path.parent / spectrum / path.name,
            path.with_name(f"{path.name}_{spectrum}")]  # fmt: skip


IMAGE_LAYOUTS = {
    # Aguilera et al., CVPRW 2016: root/country.csv beside root/country/0001_rgb.tiff and 0001_nir.tiff, and so on. The
    # sets are the categories. The published protocol trains on country and tests on the other eight.
    "visnir-csv": ImageLayout(
        VISNIR, ("vis", "nir"), find_lists,
        lambda category, _, name: f"{category}/{_without_spectrum(name)}",
        lambda root, category, _, name: [root / category / name, root / name],
    ),
    # EFR-Net, 2023: root/finally_train.txt and finally_test.txt. A line names a folder and a number; the image is
    # root/train/opt175.png, or else opt/175.png or 175_opt.png in that folder; SAR images are named in the same way.
    "os": ImageLayout(OS, ("opt", "sar"), find_index_files, lambda _, side, name: f"os/{name}", _os_images),
    # The same files beside the folders of SEN1-2, such as ROIs1970_fall/s1_25/ROIs1970_fall_s1_25_p621.png.
    "sen12": ImageLayout(
        SEN12, ("opt", "sar"), find_index_files,
        lambda _, side, name: f"sen12/{Path(name).stem.replace(('_s2_', '_s1_')[side], '_', 1)}",
        lambda root, _, side, name: [root / name],
    ),
}  # fmt: skip


def read_images(
    layout: str,
    root: str | Path,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    color: bool = False,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Cut the patches that index files name from their images.

    Args:
        layout: a key of IMAGE_LAYOUTS.
        root: folder of the index files and of the images' folders.
        out: folder to write; must not exist.
        sets: names of the index files to read. If empty: all categories of visnir-csv, else the only file there is,
            since pairs of one PatchSet are not told apart.
        color: store RGB instead of grey (BT.601).
        licence: recorded in the manifest.
        progress: called with (patches done, patches in all).

    Raises:
        InputError: names the file, and the line where there is one: what `read_index`, `locate` and `cut_patch_set`
            refuse, no index files, a set that is not there.
    """
    root, kind = Path(root), IMAGE_LAYOUTS[layout]
    files = kind.find(root, sets)
    located = [
        locate(read_index(path, kind.columns), partial(kind.scene, name), partial(kind.images, root, name))
        for name, path in files.items()
    ]
    return cut_patch_set(
        located, out, kind.spectra, color=color, licence=licence, progress=progress,
        provenance=provenance(layout, root, files),
    )  # fmt: skip


LAYOUTS: dict[str, Callable[..., PatchSet]] = {
    **{name: partial(read_images, name) for name in IMAGE_LAYOUTS},
    "vislwir": read_vislwir,
    "rrlnet-npy": partial(read_arrays, "rrlnet-npy"),
    "kglnet-npy": partial(read_arrays, "kglnet-npy"),
}
