"""Checks of two splits: what the one shows that the other shows, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from tiepoint.evaluation.audit.finding import Finding, Severity, finding, rows
from tiepoint.evaluation.audit.near import Near
from tiepoint.evaluation.audit.reading import Read
from tiepoint.evaluation.audit.repeats import first_equal
from tiepoint.types import Rows

Ids = NDArray[np.int64]
Locations = NDArray[np.float64]


def nearest_locations(
    our_scenes: Ids, ours: Locations, their_scenes: Ids, theirs: Locations, closer_than: float
) -> tuple[Locations, Ids]:
    """For each of their locations the nearest of ours in its scene.

    Args:
        our_scenes: (N,) ids of scenes, with `ours` (N, 2) their locations in px.
        their_scenes: (M,) ids of the same scenes, with `theirs` (M, 2).
        closer_than: px; farther ones do not count.

    Returns:
        (M,) distances in px, infinite where none is closer than `closer_than`; (M,) its index, or -1.
    """
    distances = np.full(len(theirs), np.inf)
    indices = np.full(len(theirs), -1, dtype=np.int64)
    for scene in np.intersect1d(our_scenes, their_scenes):
        mine, his = np.flatnonzero(our_scenes == scene), np.flatnonzero(their_scenes == scene)
        index = mine[KDTree(ours[mine]).query(theirs[his])[1]]
        gaps = np.linalg.norm(theirs[his] - ours[index], axis=1)
        close = gaps < closer_than
        distances[his[close]], indices[his[close]] = gaps[close], index[close]
    return distances, indices


CHANCE_SHARE = 0.01  # of the patches: smooth, unrelated patches make up to this share of near repeats, see docs/data.md


def of_content(ours: Read, theirs: Read, near: Near) -> Iterator[Finding]:
    """Scenes, patches and pairs of `theirs` that `ours` holds, too."""
    names = (ours.name, theirs.name)
    used = [sorted({one.scenes[image] for image in np.unique(one.images).tolist()}) for one in (ours, theirs)]
    shared = sorted(set(used[0]) & set(used[1]))
    yield finding(
        "shared-scenes", "leak", names, f"Scenes of {theirs.name} that {ours.name} has, too, by name", len(shared),
        len(used[1]), remark="The split does not measure how a network does on scenes that it never saw.",
        examples=shared,
    )  # fmt: skip
    mine, his = (np.flatnonzero(one.textured) for one in (ours, theirs))
    equal = first_equal(ours.looks.digests[mine], theirs.looks.digests[his])
    repeats, of = his[equal >= 0], mine[equal[equal >= 0]]
    yield _renamed(ours, of, theirs, repeats, len(used[1]))
    by_spectrum = {
        spectrum: {"count": len(np.intersect1d(members, repeats)), "of": len(np.intersect1d(members, his))}
        for spectrum, members in theirs.spectra.items()
    }
    yield finding(
        "repeated-patches", "leak", names, f"Patches of {theirs.name} that {ours.name} has, too, to the byte",
        len(repeats), len(his), examples=rows(of, repeats), details={"spectra": by_spectrum},
    )  # fmt: skip
    near_repeats, of, compared = near.between(ours, mine, theirs, np.setdiff1d(his, repeats))
    severity: Severity = "leak" if len(near_repeats) > CHANCE_SHARE * compared else "warning"
    yield finding(
        "near-repeats", severity, names,
        f"Further patches of {theirs.name} that correlate by {near.threshold:g} or more with one of {ours.name}",
        len(near_repeats), compared,
        remark="" if severity == "leak" else "So few may be alike by chance, being smooth: see the examples.",
        examples=rows(of, near_repeats), details={"near": near.threshold},
    )  # fmt: skip
    if ours.pairs is not None and theirs.pairs is not None:
        again = first_equal(ours.pair_keys(), theirs.pair_keys())
        varied = theirs.textured[theirs.pairs[:, :2]].any(axis=1)
        chosen = np.flatnonzero((again >= 0) & varied)
        yield finding(
            "shared-pairs", "leak", names, f"Pairs of {theirs.name} that {ours.name} lists, too", len(chosen),
            len(theirs.pairs), examples=rows(again[chosen], chosen),
        )  # fmt: skip


def of_locations(ours: Read, theirs: Read, closer_than: float) -> Iterator[Finding]:
    """Locations of `theirs` near those of `ours` in the scenes of the same name; nothing without positions."""
    if ours.positions is None or theirs.positions is None:
        return
    everywhere = _recurring(ours, _all(ours), theirs, _all(theirs), closer_than)
    spectra = {
        spectrum: _recurring(ours, ours.spectra[spectrum], theirs, members, closer_than)
        for spectrum, members in theirs.spectra.items()
        if spectrum in ours.spectra
    }
    details: dict[str, Any] = {"closer_than": closer_than, "at_same_place": everywhere["at_same_place"]}
    details["spectra"] = {name: _numbers(recurring) for name, recurring in spectra.items()}
    paired = [_in_pairs(one) for one in (ours, theirs)]
    if paired[0] is not None and paired[1] is not None:  # a set may hold patches that no pair uses
        details["spectra_in_pairs"] = {
            name: _numbers(
                _recurring(
                    ours, np.intersect1d(ours.spectra[name], paired[0]), theirs,
                    np.intersect1d(theirs.spectra[name], paired[1]), closer_than,
                )
            )
            for name in spectra
        }  # fmt: skip
    names = (ours.name, theirs.name)
    near = f"less than {closer_than:g} px from one of {ours.name}"
    yield finding(
        "shared-locations", "leak", names, f"Locations of {theirs.name} that lie {near} in the same scene",
        everywhere["count"], everywhere["of"], remark=f"At the very same pixel: {everywhere['at_same_place']:,}.",
        examples=everywhere["rows"], details=details,
    )  # fmt: skip
    matching = [_in_pairs(one, label=1) for one in (ours, theirs)]
    if matching[0] is not None and matching[1] is not None:
        shared = _recurring(ours, matching[0], theirs, matching[1], closer_than)
        yield finding(
            "shared-matches", "leak", names, f"Matching locations of {theirs.name} that lie {near} that matches, too",
            shared["count"], shared["of"], remark=f"At the very same pixel: {shared['at_same_place']:,}.",
            examples=shared["rows"], details={"closer_than": closer_than, "at_same_place": shared["at_same_place"]},
        )  # fmt: skip


def _renamed(ours: Read, our_rows: Rows, theirs: Read, their_rows: Rows, total: int) -> Finding:
    """Scenes that bear other names and yet share patches: `our_rows` equal `their_rows` to the byte."""
    pairs: dict[tuple[str, str], int] = {}
    for mine, his in zip(ours.images[our_rows].tolist(), theirs.images[their_rows].tolist(), strict=True):
        key = ours.scenes[mine], theirs.scenes[his]
        if key[0] != key[1]:
            pairs[key] = pairs.get(key, 0) + 1
    examples = [f"{his} = {mine} ({count:,} patches)" for (mine, his), count in sorted(pairs.items())]
    return finding(
        "shared-content", "leak", (ours.name, theirs.name),
        f"Scenes of {theirs.name} that share patches with a scene of {ours.name} of another name",
        len({his for _, his in pairs}), total, examples=examples,
    )  # fmt: skip


def _recurring(ours: Read, our_rows: Rows, theirs: Read, their_rows: Rows, closer_than: float) -> dict[str, Any]:
    """How many distinct locations of `their_rows` lie near one of `our_rows`: count, of, at_same_place, rows."""
    number = {name: k for k, name in enumerate(sorted({*ours.scenes, *theirs.scenes}))}
    (my_rows, my_scenes, mine), (his_rows, his_scenes, his) = (
        _distinct(one, chosen, number) for one, chosen in ((ours, our_rows), (theirs, their_rows))
    )
    distances, index = nearest_locations(my_scenes, mine, his_scenes, his, closer_than)
    close = np.flatnonzero(index >= 0)
    return {
        "count": len(close),
        "of": len(his),
        "at_same_place": int((distances == 0).sum()),
        "rows": rows(my_rows[index[close]], his_rows[close]),
    }


def _distinct(one: Read, chosen: Rows, number: dict[str, int]) -> tuple[Rows, NDArray[np.int64], NDArray[np.float64]]:
    """Of the rows with a known position, the first at each location: rows, numbers of the scenes, positions."""
    assert one.positions is not None
    chosen = chosen[np.isfinite(one.positions[chosen]).all(axis=1)]
    of_image = np.array([number[name] for name in one.scenes], dtype=np.int64)
    scenes = of_image[one.images[chosen]]
    _, first = np.unique(np.column_stack([scenes, one.positions[chosen]]), axis=0, return_index=True)
    first = np.sort(first)
    return chosen[first], scenes[first], one.positions[chosen[first]]


def _numbers(recurring: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recurring.items() if key != "rows"}


def _all(one: Read) -> Rows:
    return np.arange(len(one.points))


def _in_pairs(one: Read, label: int | None = None) -> Rows | None:
    """The rows that the set's pairs name, or those of the pairs of a label; None where it defines none."""
    if one.pairs is None:
        return None
    chosen = one.pairs if label is None else one.pairs[one.pairs[:, 2] == label]
    return np.unique(chosen[:, :2])
