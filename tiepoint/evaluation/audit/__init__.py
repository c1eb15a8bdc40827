"""Audit of a data set and its splits: what would make a number that is measured on them better than it is.

Published cross-spectral sets are split at random over pairs, so that the scenes, and often the patches, of the test
occur in training; some of their non-matches lie one pixel apart. `audit` finds that before a network is trained on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tiepoint.errors import InputError
from tiepoint.evaluation.audit.between import of_content, of_locations
from tiepoint.evaluation.audit.finding import SEVERITIES, Finding, Severity
from tiepoint.evaluation.audit.labels import of_pairs, of_patches, of_points
from tiepoint.evaluation.audit.reading import read
from tiepoint.evaluation.audit.repeats import Near
from tiepoint.evaluation.options import AuditOptions
from tiepoint.options import override
from tiepoint.patches import PatchSet
from tiepoint.types import Progress

__all__ = ["Audit", "Finding", "Severity", "audit"]


@dataclass(frozen=True)
class Audit:
    """What an audit found: leaks first, then warnings, then notes; `patches` of each set by its name."""

    patches: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """The findings by which the sets are no splits of each other."""
        return tuple(finding for finding in self.findings if finding.severity == "leak")

    def to_json(self) -> dict[str, Any]:
        """Sets, number of leaks and findings as a dict ready for JSON."""
        findings = [finding.to_json() for finding in self.findings]
        return {"sets": self.patches, "leaks": len(self.leaks), "findings": findings}


def audit(
    sets: Mapping[str, PatchSet], options: AuditOptions | None = None, *, progress: Progress | None = None, **flat: Any
) -> Audit:
    """Check each set by itself and every two of them against each other.

    All patches are read once; the search for near repeats compares those of a spectrum with each other, O(N^2) products
    of 65 numbers (see `tiepoint.evaluation.audit.repeats`), in about 150 MB and 260 bytes a patch. Patches that deviate
    by less than one grey level count as flat and not as repeats: they coincide by chance.

    `sets` maps names, such as train and test, to PatchSets; findings about two count what the later one shares with the
    earlier one. `flat` are fields that win over `options`. `progress` is called with (patches done, patches in all).
    Raises InputError for no set, or a number out of range.
    """
    how = override(options or AuditOptions(), flat)
    if not sets:
        raise InputError("give at least one PatchSet to audit")
    sizes = {name: len(patch_set) for name, patch_set in sets.items()}
    counter = _Counter(progress, 2 * sum(sizes.values()) + sum(sizes[later] for _, later in combinations(sizes, 2)))
    search = Near(how, counter.more)
    reads = []
    for name, patch_set in sets.items():
        counter.stage(len(patch_set))
        reads.append(read(name, patch_set, counter.more))
    findings: list[Finding] = []
    for ours, theirs in combinations(reads, 2):
        counter.stage(len(theirs.points))
        findings += [*of_content(ours, theirs, search), *of_locations(ours, theirs, how.closer_than)]
    for one in reads:
        counter.stage(len(one.points))
        findings += [*of_pairs(one, how.closer_than), *of_patches(one, search), *of_points(one)]
        if one.positions is None and (len(reads) > 1 or one.pairs is not None):
            lacks = "holds no positions, so neither shared locations nor close non-matches could be looked for."
            rows = len(one.points)
            findings.append(Finding("no-positions", "note", (one.name,), rows, rows, f"{one.name} {lacks}"))
    counter.stage(0)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Audit(sizes, tuple(findings))


class _Counter:
    """Progress over stages of known lengths, some of which end early."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total = progress, total
        self.planned = self.done = 0

    def stage(self, length: int) -> None:
        """Begin the next stage, the one before being over."""
        self.done = self.planned
        self.planned += length
        self.more(0)

    def more(self, count: int) -> None:
        """`count` more are done."""
        self.done += count
        if self.progress:
            self.progress(self.done, self.total)
