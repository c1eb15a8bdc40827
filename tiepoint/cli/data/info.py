"""`tiepoint data info`: what a PatchSet holds, and whether it is whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from tiepoint.cli.output import note, publish

if TYPE_CHECKING:
    from tiepoint.patches import PatchSet

EXAMPLES = {
    "patches": "Show what a PatchSet holds and verify it.",
    "patches --sheet sheet.png": "Draw some of its patches, too.",
}


def main(data: Positional[Path], /, *, sheet: Path | None = None, seed: int = 0, json: bool = False) -> None:
    """Show what a PatchSet holds, and verify its hashes.

    Args:
        data: Folder of the PatchSet.
        sheet: File (.png or .jpg) for a contact sheet: in each row 8 patches of a point, or a pair of two spectra.
        seed: Seed of the points that the sheet shows.
    """
    from tiepoint.data.sheet import contact_sheet
    from tiepoint.errors import InputError
    from tiepoint.images.pixels import write_image
    from tiepoint.patches import PatchSet

    if seed < 0:
        raise InputError(f"seed is {seed}, must not be negative")
    patch_set = PatchSet.open(data, verify=True)
    result = _describe(patch_set)
    if sheet:
        write_image(sheet, contact_sheet(patch_set, seed=seed))
        result["sheet"] = str(sheet)
    publish(result, json, [(f"PatchSet {data}", ("", ""), [(key, _plain(value)) for key, value in _flat(result)])])
    note(sheet)


def _describe(patch_set: PatchSet) -> dict[str, Any]:
    import numpy as np

    from tiepoint.data.labelled_pairs import is_cross

    manifest = patch_set.manifest
    spectra = np.bincount(patch_set.spectra, minlength=len(manifest["spectra"])).tolist()
    _, counts = np.unique(patch_set.points, return_counts=True)
    lengths, points = np.unique(counts, return_counts=True)
    return {
        "directory": str(patch_set.directory),
        "patches": len(patch_set),
        "points": len(counts),
        "images": len(patch_set.image_names),
        "shape": list(patch_set.patches.shape),
        "dtype": str(patch_set.patches.dtype),
        "spectra": dict(zip(manifest["spectra"], spectra, strict=True)),
        "positions": patch_set.positions is not None,
        **(_across(patch_set) if is_cross(patch_set) else {}),
        "support": patch_set.support,
        "margin": patch_set.margin,
        "patches_per_point": {
            "median": float(np.median(counts)),
            "max": int(counts.max()),
            "once": int((counts == 1).sum()),
            "histogram": dict(zip(map(str, lengths.tolist()), points.tolist(), strict=True)),
        },
        "bytes": sum(file.stat().st_size for file in patch_set.directory.iterdir() if file.is_file()),
        "hashes": "ok",
        "provenance": manifest.get("provenance", {}),
        "licence": manifest.get("licence", "unknown"),
    }


def _across(patch_set: PatchSet) -> dict[str, Any]:
    """What only sets across two spectra have: categories with their points, and the pairs that the set defines."""
    import numpy as np

    from tiepoint.data.labelled_pairs import category

    scenes = patch_set.images[np.unique(patch_set.points, return_index=True)[1]]
    points = Counter(category(patch_set.image_names[scene]) for scene in scenes.tolist())
    found: dict[str, Any] = {"points_per_category": dict(sorted(points.items())), "pairs": None}
    if patch_set.pairs is not None:
        matches = int(patch_set.pairs[:, 2].sum())
        found["pairs"] = {"matches": matches, "non_matches": len(patch_set.pairs) - matches}
    return found


def _flat(result: dict[str, Any]) -> list[tuple[str, Any]]:
    """The table's rows: the same facts in words."""
    lengths = result["patches_per_point"]
    words = {
        "shape": " x ".join(map(str, result["shape"])),
        "spectra": ", ".join(f"{name}: {count:,}" for name, count in result["spectra"].items()),
        "positions": "yes" if result["positions"] else "no",
        "support": f"{result['support']:g} sigma",
        "patches_per_point": f"median {lengths['median']:g}, max {lengths['max']:,}, once {lengths['once']:,}",
        "bytes": f"{result['bytes']:,}",
    }
    if "pairs" in result:
        words["pairs"] = "none of its own" if result["pairs"] is None else _plain(result["pairs"])
    rows: list[tuple[str, Any]] = []
    for key, value in (result | words).items():
        if key == "provenance" and isinstance(value, dict):
            rows += [(f"provenance: {name}", part) for name, part in value.items()]
        elif key != "directory":  # the table's title
            rows.append((key.replace("_", " "), value))
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    return "\n".join(str(_plain(part)) for part in value) if isinstance(value, list) else value
