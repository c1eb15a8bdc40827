"""Published cross-spectral patch sets that are index files and images, to a PatchSet with their pairs.

The images are the user's to get: EPFL's nirscene1 for the VIS-NIR patches, the OS dataset, SEN1-2. Every patch is the
rows y - 32 to y + 31 and the columns x - 32 to x + 31 of its keypoint. A point is a place of a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tiepoint.data.published import index as cross_index
from tiepoint.data.published.crop import build, locate
from tiepoint.data.published.npy import read_kglnet_npy, read_rrlnet_npy
from tiepoint.data.published.sets import find_one, find_sets, provenance
from tiepoint.data.published.vislwir import read_vislwir
from tiepoint.patches import PatchSet
from tiepoint.types import Progress

_ENDINGS = ("_rgb", "_vis", "_nir", "_ir")


def read_visnir_csv(
    root: str | Path,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    color: bool = False,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Cut the VIS-NIR patches (Aguilera et al., CVPRW 2016): spectra vis and nir, categories as the lists' names.

    root/country.csv beside root/country/0001_rgb.tiff and 0001_nir.tiff, and so on. The published protocol trains on
    country and tests on the other eight.

    Args:
        root: folder of the lists and of the categories' folders.
        out: folder to write; must not exist.
        sets: categories to read; all there are if empty.
        color: store RGB instead of grey (BT.601).
        licence: recorded in the manifest.
        progress: called with (patches done, patches in all).

    Raises:
        InputError: names the file, and the line where there is one: what `cross_index` and `cross_crop` refuse, no
            lists, a set that is not there.
    """
    root = Path(root)
    lists = find_sets(root, ".csv", sets)
    located = []
    for category, path in lists.items():

        def candidates(side: int, name: str, folder: str = category) -> list[Path]:
            return [root / folder / name, root / name]

        def scene(side: int, name: str, folder: str = category) -> str:
            return f"{folder}/{_without_spectrum(Path(name))}"

        located.append(locate(cross_index.read_visnir(path), scene, candidates))
    return build(
        located, out, ("vis", "nir"), color=color, licence=licence, progress=progress,
        provenance=provenance("visnir-csv", root, lists),
    )  # fmt: skip


def read_os(
    root: str | Path,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    color: bool = False,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Cut the OS patches (EFR-Net, 2023): spectra opt and sar, one category, os.

    root/finally_train.txt and finally_test.txt beside the OS dataset's folders. The index names a folder and a number;
    the image is root/train/opt175.png, or else opt/175.png or 175_opt.png in that folder, and sar alike.

    Args:
        root: folder of the index files and of the images' folders.
        out: folder to write; must not exist.
        sets: "train", "test" or both. May be empty where there is one: pairs of one PatchSet are not told apart.
        color: store RGB instead of grey (BT.601).
        licence: recorded in the manifest.
        progress: called with (patches done, patches in all).

    Raises:
        InputError: as `read_visnir_csv`.
    """
    root = Path(root)
    files = find_one(root, sets)

    def candidates(side: int, name: str) -> list[Path]:
        path, spectrum = root / name, ("opt", "sar")[side]
        return [path.with_name(f"{spectrum}{path.name}"), path.parent / spectrum / path.name,
                path.with_name(f"{path.name}_{spectrum}")]  # fmt: skip

    located = [locate(cross_index.read_os(path), lambda _, name: f"os/{name}", candidates) for path in files.values()]
    return build(
        located, out, ("opt", "sar"), color=color, licence=licence, progress=progress,
        provenance=provenance("os", root, files),
    )  # fmt: skip


def read_sen12(
    root: str | Path,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    color: bool = False,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Cut the SEN1-2 patches: spectra opt and sar as in the OS patches, one category, sen12.

    root/finally_train.txt and finally_test.txt beside the folders of SEN1-2, as
    ROIs1970_fall/s1_25/ROIs1970_fall_s1_25_p621.png. Arguments and errors are those of `read_os`.
    """
    root = Path(root)
    files = find_one(root, sets)

    def scene(side: int, name: str) -> str:
        stem = Path(name).stem.replace(("_s2_", "_s1_")[side], "_", 1)
        return f"sen12/{stem}"

    located = [locate(cross_index.read_sen12(path), scene, lambda _, name: [root / name]) for path in files.values()]
    return build(
        located, out, ("opt", "sar"), color=color, licence=licence, progress=progress,
        provenance=provenance("sen12", root, files),
    )  # fmt: skip


def _without_spectrum(name: Path) -> str:
    stem = name.stem
    return next((stem.removesuffix(ending) for ending in _ENDINGS if stem.endswith(ending)), stem)


LAYOUTS: dict[str, Callable[..., PatchSet]] = {
    "visnir-csv": read_visnir_csv,
    "os": read_os,
    "sen12": read_sen12,
    "vislwir": read_vislwir,
    "rrlnet-npy": read_rrlnet_npy,
    "kglnet-npy": read_kglnet_npy,
}
