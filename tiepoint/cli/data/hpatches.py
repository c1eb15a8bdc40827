"""`tiepoint data hpatches`: HPatches, or a folder in its layout, to a PatchSet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from tiepoint.cli.output import emit, progress_bar

EXAMPLES = (
    ("tiepoint data hpatches data/hpatches --out patches", "Read all sequences."),
    (
        "tiepoint data hpatches data/hpatches --out patches --splits splits.json --split a --part test",
        "Read the test part of a split.",
    ),
)


def main(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    sequences: tuple[str, ...] = (),
    splits: Path | None = None,
    split: str = "a",
    part: Literal["train", "test"] = "train",
    licence: str = "unknown",
    json: bool = False,
) -> int:
    """Write the patches of HPatches as a PatchSet, for training or for checks of pairs.

    Args:
        source: the folder or zip with i_*/ and v_*/ref.png, e1.png ... t5.png
        out: folder to write; must not exist
        sequences: those to take, such as v_graf; default: all, or those of the split
        splits: splits.json of hpatches-benchmark, to take the sequences of a split
        split: a, b, c, view, illum or full; with splits alone
        part: of the split
        licence: recorded in the manifest
        json: print one JSON object
    """
    from tiepoint.data.readers.hpatches import HPatches, build_hpatches, read_split
    from tiepoint.errors import InputError

    if splits and sequences:
        raise InputError("give --sequences or --splits, not both")
    chosen = read_split(splits, split, part) if splits else sequences or None
    with progress_bar("reading strips", quiet=json) as advance:
        patch_set = build_hpatches(HPatches.open(source), out, chosen, licence=licence, progress=advance)
    counts = {"sequences": len(patch_set.manifest["provenance"]["sequences"]), **patch_set.manifest["counts"]}
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    return 0
