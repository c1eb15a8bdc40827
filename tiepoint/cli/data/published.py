"""`tiepoint data import`: a published cross-spectral patch set to a PatchSet with its pairs."""

from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar

Layout = Literal["visnir-csv", "os", "sen12", "vislwir", "rrlnet-npy", "kglnet-npy"]

EXAMPLES = {
    "visnir-csv nirscene1 --sets country --out visnir-country": "Read one category of the VIS-NIR patches.",
    "os OSdataset --sets test --out os-test": "Read the test part of the optical and radar set.",
}


def main(
    layout: Positional[Layout],
    root: Positional[Path],
    /,
    *,
    out: Path,
    sets: tuple[str, ...] = (),
    color: bool = False,
    spectra: tuple[str, str] | None = None,
    first_number: Literal[0, 1] = 0,
    licence: str = "unknown",
    json: bool = False,
) -> None:
    """Write a published cross-spectral patch set as a PatchSet with the pairs that it defines.

    Args:
        layout: How the set is published. visnir-csv, os, sen12 and vislwir are index files and images; rrlnet-npy and
            kglnet-npy are arrays as RRL-Net's and KGL-Net's code read them.
        root: Folder of the set.
        sets: Categories, arrays, or train and test (default: all, or the only index file).
        color: Store RGB instead of grey; not for arrays.
        spectra: Names of the two spectra of arrays, in their order.
        first_number: Number by which an index of vislwir calls the first patch of an array.
    """
    from tiepoint.data.published.layouts import LAYOUTS
    from tiepoint.errors import InputError

    arrays = layout.endswith("-npy")
    given: dict[str, Any] = {
        "color": (color, color and arrays, "the patches of arrays are grey"),
        "spectra": (spectra, spectra and not arrays, f"{layout} has its own"),
        "first_number": (first_number, first_number and layout != "vislwir", "only vislwir numbers its patches"),
    }
    for name, (_, wrong, reason) in given.items():
        if wrong:
            raise InputError(f"--{name.replace('_', '-')} does not go with {layout}: {reason}: leave it out")
    options = {name: value for name, (value, _, _) in given.items() if value}
    with progress_bar("reading patches") as advance:
        patch_set = LAYOUTS[layout](root, out, sets=sets, licence=licence, progress=advance, **options)
    assert patch_set.pairs is not None
    matches = int(patch_set.pairs[:, 2].sum())
    counts = {**patch_set.manifest["counts"], "pairs": len(patch_set.pairs), "matches": matches}
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    note(out, then=f"tiepoint data info {out} --sheet {out}.png")
