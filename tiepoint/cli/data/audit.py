"""`tiepoint data audit`: does a test set hold what a training set holds, and do labels mislead?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tiepoint.cli.output import Table, progress_bar, publish
from tiepoint.errors import InputError
from tiepoint.evaluation.options import AuditOptions

if TYPE_CHECKING:
    from tiepoint.evaluation.audit import Audit

EXAMPLES = {
    "train test": "Look for patches, points and images that two splits share.",
    "patches --near 0.95 --sample 5000": "Audit one set, with a lower bound for near repeats, on a sample.",
}


def main(
    data: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATA [DATA ...]")],
    /,
    *,
    json: bool = False,
    search: AuditOptions = AuditOptions(),
) -> int:
    """Audit PatchSets, each alone and as splits of one another.

    Exit code 0: no leak; 1: a leak; 2: an input that cannot be used.

    Args:
        data: Folders of PatchSets, such as train and test.
        search: What is looked for.
    """
    from tiepoint.evaluation.audit import audit
    from tiepoint.patches import PatchSet

    if not data:
        raise InputError("name at least one PatchSet to audit")
    names = _names(data)
    sets = {name: PatchSet.open(path) for name, path in zip(names, data, strict=True)}
    with progress_bar("auditing (patches)") as advance:
        found = audit(sets, search, progress=advance)
    publish(found.to_json(), json, [_table(found)])
    return 1 if found.leaks else 0


def _names(data: tuple[Path, ...]) -> list[str]:
    """A name for each set: that of its folder, or its path where two folders share a name."""
    resolved = [path.resolve() for path in data]
    if twice := next((path for path in data if resolved.count(path.resolve()) > 1), None):
        raise InputError(f"{twice} is given twice: a set is no split of itself")
    short = [path.name for path in resolved]
    return [str(path) if short.count(name) > 1 else name for path, name in zip(data, short, strict=True)]


def _table(found: Audit) -> Table:
    count = len(found.leaks)
    leaks = "no leak" if not count else f"{count} leak{'s' if count > 1 else ''}"
    rows: list[tuple[str, str, str]] = [
        (f.severity, f.text, ", ".join(map(_plain, f.examples))) for f in found.findings if f.count
    ]
    clean: dict[tuple[str, ...], dict[str, None]] = {}  # kinds in their order, each once, though asked of two spectra
    for finding in found.findings:
        if not finding.count:
            clean.setdefault(finding.sets, {})[finding.kind] = None
    rows += [("", f"Nothing found in {' and '.join(sets)}: {', '.join(kinds)}.", "") for sets, kinds in clean.items()]
    return f"Audit of {', '.join(found.patches)}: {leaks}", ("", "finding", "examples"), rows, 3


def _plain(example: Any) -> str:
    return " = ".join(map(str, example)) if isinstance(example, list) else str(example)
