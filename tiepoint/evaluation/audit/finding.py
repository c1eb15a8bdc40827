"""What the audit says: one finding a check, with a number, a sentence and examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from numpy.typing import NDArray

Severity = Literal["leak", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """The result of one check. A check that ran and found nothing is a note whose count is 0.

    Attributes:
        kind: of the check, such as "shared-scenes".
        severity: "leak" (a split is not one), "warning" (numbers measured on this mislead) or "note".
        sets: names of the sets that it concerns, one or two.
        count: how many were found.
        total: of how many.
        text: the same in words.
        examples: MAX_EXAMPLES at most: scene names, rows, or rows of the first and of the second set.
        details: further numbers, ready for JSON.
    """

    kind: str
    severity: Severity
    sets: tuple[str, ...]
    count: int
    total: int
    text: str
    examples: tuple[Any, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The finding as a dict ready for JSON."""
        return {**asdict(self), "sets": list(self.sets), "examples": list(self.examples)}


def finding(
    kind: str,
    severity: Severity,
    sets: tuple[str, ...],
    what: str,
    count: int,
    total: int,
    *,
    remark: str = "",
    examples: Iterable[Any] = (),
    details: dict[str, Any] | None = None,
) -> Finding:
    """A finding whose sentence is "`what`: count of total"; `remark` follows where something was found."""
    text = f"{what}: {count:,} of {total:,}." + (f" {remark}" if count and remark else "")
    shown = tuple(example for example, _ in zip(examples, range(MAX_EXAMPLES), strict=False))
    return Finding(kind, severity if count else "note", sets, int(count), int(total), text, shown, details or {})


def rows(*columns: NDArray[Any]) -> list[Any]:
    """The first MAX_EXAMPLES rows, each a number or a list of numbers, for a finding's examples."""
    shown = [column[:MAX_EXAMPLES].tolist() for column in columns]
    return shown[0] if len(shown) == 1 else [list(row) for row in zip(*shown, strict=True)]
