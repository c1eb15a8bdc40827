"""`tiepoint data hpatches`: HPatches, or a folder in its layout, to a PatchSet."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar

EXAMPLES = {
    "data/hpatches --out patches": "Read all sequences.",
    "data/hpatches --out patches --splits splits.json --split a --part test": "Read the test part of a split.",
}


def main(
    source: Positional[Path],
    /,
    *,
    out: Path,
    sequences: tuple[str, ...] = (),
    splits: Path | None = None,
    split: str = "a",
    part: Literal["train", "test"] = "train",
    licence: str = "unknown",
    json: bool = False,
) -> None:
    """Write the patches of HPatches as a PatchSet, for training or for checks of pairs.

    Args:
        source: HPatches: a folder, or the zip, with ref.png and e1.png to t5.png in each of i_*/ and v_*/.
        sequences: Sequences to take, such as v_graf (default: all, or those of the split).
        splits: The file splits.json of hpatches-benchmark, to take the sequences of a split.
        split: Split to take: a, b, c, view, illum or full. It needs --splits.
        part: Part of the split to take.
    """
    from tiepoint.data.readers.hpatches import HPatches, build_hpatches, read_split
    from tiepoint.errors import InputError

    if splits and sequences:
        raise InputError("give --sequences or --splits, not both")
    chosen = read_split(splits, split, part) if splits else sequences or None
    with progress_bar("reading strips") as advance:
        patch_set = build_hpatches(HPatches.open(source), out, chosen, licence=licence, progress=advance)
    counts = {"sequences": len(patch_set.manifest["provenance"]["sequences"]), **patch_set.manifest["counts"]}
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    note(out, then=f"tiepoint data info {out} --sheet {out}.png")
