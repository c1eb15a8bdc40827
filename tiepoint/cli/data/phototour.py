"""`tiepoint data phototour`: UBC PhotoTour, or patches in its layout, to a PatchSet."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar

EXAMPLES = {
    "data/liberty --out phototour-liberty": "Read a published set.",
    "my-patches --out patches --name mine": "Read patches of one's own in the same layout.",
}


def main(
    source: Positional[Path], /, *, out: Path, name: str | None = None, licence: str = "unknown", json: bool = False
) -> None:
    """Write a set of UBC PhotoTour, or one that others publish in its layout, as a PatchSet with its lists of pairs.

    Args:
        source: The zip as distributed, a folder of pages and info.txt, or the cache of torchvision (.pt).
        name: Name of the set (default: that of the source). A set of one of the six published names must be complete.
    """
    from tiepoint.data.readers.phototour import build_phototour

    with progress_bar("reading patches") as advance:
        patch_set = build_phototour(source, out, name=name, licence=licence, progress=advance)
    counts = {**patch_set.manifest["counts"], "pairs": patch_set.manifest["provenance"]["pairs"]}
    if not json:
        counts["pairs"] = ", ".join(f"{key}: {number:,}" for key, number in counts["pairs"].items()) or "none"
    emit({"directory": str(out), **counts}, json, title=f"PatchSet {out}")
    note(out, then=f"tiepoint data info {out} --sheet {out}.png")
