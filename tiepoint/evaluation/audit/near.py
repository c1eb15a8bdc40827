"""The search for near repeats as an audit runs it: by spectrum, on a sample where asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tiepoint.evaluation.audit.reading import Read
from tiepoint.evaluation.audit.repeats import near_repeats
from tiepoint.types import Rows

NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Near:
    """A search for correlations from `threshold` for at most `sample` patches of each set and spectrum."""

    threshold: float
    sample: int | None
    seed: int
    step: Callable[[int], None] | None = None  # called with how many more rows are done

    def within(self, one: Read, rows: Rows) -> tuple[Rows, Rows, int]:
        """Rows among `rows` that repeat an earlier one of another point, these earlier ones, how many were compared."""
        parts = []
        for members in one.spectra.values():
            every = np.intersect1d(members, rows)
            chosen = self._drawn(every)
            parts.append((chosen, self._search(one, every, one, chosen, one.points)))
        return _joined(parts)

    def between(self, ours: Read, our_rows: Rows, theirs: Read, their_rows: Rows) -> tuple[Rows, Rows, int]:
        """Rows among `their_rows` that repeat one of `our_rows` in the spectrum of the same name, these, how many."""
        parts = []
        for spectrum, members in theirs.spectra.items():
            mine = np.intersect1d(ours.spectra.get(spectrum, NONE), our_rows)
            his = self._drawn(np.intersect1d(members, their_rows))
            parts.append((his, self._search(ours, mine, theirs, his, None)))
        return _joined(parts)

    def _search(self, ours: Read, mine: Rows, theirs: Read, his: Rows, points: Rows | None) -> Rows:
        done = 0

        def step(count: int) -> None:
            nonlocal done
            if self.step:
                self.step(count - done)
            done = count

        return near_repeats(ours.patches, mine, theirs.patches, his, self.threshold, points=points, step=step)

    def _drawn(self, rows: Rows) -> Rows:
        if self.sample is None or len(rows) <= self.sample:
            return rows
        return np.sort(np.random.default_rng(self.seed).choice(rows, self.sample, replace=False))


def _joined(parts: list[tuple[Rows, Rows]]) -> tuple[Rows, Rows, int]:
    searched, of = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    order = np.argsort(searched)
    searched, of = searched[order], of[order]
    return searched[of >= 0], of[of >= 0], len(searched)
