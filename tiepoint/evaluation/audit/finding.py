"""What the audit says: one finding a check, with a number, a sentence and examples."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np
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
    total: int,
    found: Sequence[Any] | NDArray[Any] = (),
    *,
    count: int | None = None,
    remark: str = "",
    details: dict[str, Any] | None = None,
) -> Finding:
    """A finding whose sentence is "`what`: count of total"; `remark` follows where something was found.

    The count is the length of `found`, which gives the examples, unless `count` says otherwise.
    """
    number = len(found) if count is None else count
    text = f"{what}: {number:,} of {total:,}." + (f" {remark}" if number and remark else "")
    shown = found[:MAX_EXAMPLES]
    examples = tuple(shown.tolist() if isinstance(shown, np.ndarray) else shown)
    return Finding(kind, severity if number else "note", sets, number, int(total), text, examples, details or {})
