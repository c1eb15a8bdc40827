"""Checks of two splits: what the one shows that the other shows, too."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from tiepoint.evaluation.audit.finding import Finding, finding
from tiepoint.evaluation.audit.reading import Read
from tiepoint.evaluation.audit.repeats import Near, first_equal
from tiepoint.types import Rows

CHANCE_SHARE = 0.01  # of the patches: smooth, unrelated patches make up to this share of near repeats, see docs/data.md
Locations = NDArray[np.float64]


def of_content(ours: Read, theirs: Read, near: Near) -> Iterator[Finding]:
    """Scenes, patches and pairs of `theirs` that `ours` holds, too."""
    names = (ours.name, theirs.name)
    used = [{one.scenes[image] for image in np.unique(one.images).tolist()} for one in (ours, theirs)]
    yield finding(
        "shared-scenes", "leak", names, f"Scenes of {theirs.name} that {ours.name} has, too, by name", len(used[1]),
        sorted(used[0] & used[1]), remark="The split does not measure how a network does on scenes that it never saw.",
    )  # fmt: skip
    mine, his = (np.flatnonzero(one.textured) for one in (ours, theirs))
    equal = first_equal(ours.digests[mine], theirs.digests[his])
    repeats, of = his[equal >= 0], mine[equal[equal >= 0]]
    shown = ([one.scenes[k] for k in one.images[rows].tolist()] for one, rows in ((theirs, repeats), (ours, of)))
    renamed = Counter((b, a) for b, a in zip(*shown, strict=True) if a != b)
    yield finding(
        "shared-content", "leak", names,
        f"Scenes of {theirs.name} that share patches with a scene of {ours.name} of another name", len(used[1]),
        [f"{b} = {a} ({renamed[b, a]:,} patches)" for b, a in sorted(renamed, key=lambda pair: pair[::-1])],
        count=len({b for b, _ in renamed}),
    )  # fmt: skip
    by_spectrum = {
        spectrum: {"count": len(np.intersect1d(members, repeats)), "of": len(np.intersect1d(members, his))}
        for spectrum, members in theirs.spectra.items()
    }
    yield finding(
        "repeated-patches", "leak", names, f"Patches of {theirs.name} that {ours.name} has, too, to the byte",
        len(his), np.column_stack((of, repeats)), details={"spectra": by_spectrum},
    )  # fmt: skip
    near_repeats, of, compared = near.find(ours, mine, theirs, np.setdiff1d(his, repeats))
    leaks = len(near_repeats) > CHANCE_SHARE * compared
    yield finding(
        "near-repeats", "leak" if leaks else "warning", names,
        f"Further patches of {theirs.name} that correlate by {near.options.near:g} or more with one of {ours.name}",
        compared, np.column_stack((of, near_repeats)), details={"near": near.options.near},
        remark="" if leaks else "So few may be alike by chance, being smooth: see the examples.",
    )  # fmt: skip
    if ours.pairs is not None and theirs.pairs is not None:
        again = first_equal(ours.pair_keys(), theirs.pair_keys())
        varied = theirs.textured[theirs.pairs[:, :2]].any(axis=1)
        chosen = np.flatnonzero((again >= 0) & varied)
        yield finding(
            "shared-pairs", "leak", names, f"Pairs of {theirs.name} that {ours.name} lists, too", len(theirs.pairs),
            np.column_stack((again[chosen], chosen)),
        )  # fmt: skip


def of_locations(ours: Read, theirs: Read, closer_than: float) -> Iterator[Finding]:
    """Locations of `theirs` near those of `ours` in the scenes of the same name; nothing without positions."""
    if ours.positions is None or theirs.positions is None:
        return
    number = {name: k for k, name in enumerate(sorted({*ours.scenes, *theirs.scenes}))}

    def recurring(mine: Rows, his: Rows) -> tuple[dict[str, int], Rows]:
        """How many distinct locations of the rows `his` lie near one of `mine`, and these pairs of rows (K, 2)."""
        mine, my_scenes, my_places = _distinct(ours, mine, number)
        his, his_scenes, his_places = _distinct(theirs, his, number)
        distances, index = nearest_locations(my_scenes, my_places, his_scenes, his_places, closer_than)
        close = np.flatnonzero(index >= 0)
        counts = {"count": len(close), "of": len(his), "at_same_place": int((distances == 0).sum())}
        return counts, np.column_stack((mine[index[close]], his[close]))

    def by_spectrum(mine: Rows, his: Rows) -> dict[str, dict[str, int]]:
        return {
            name: recurring(np.intersect1d(ours.spectra[name], mine), np.intersect1d(members, his))[0]
            for name, members in theirs.spectra.items()
            if name in ours.spectra
        }

    def shared(kind: str, what: str, mine: Rows, his: Rows, more: dict[str, Any]) -> Finding:
        counts, found = recurring(mine, his)
        return finding(
            kind, "leak", (ours.name, theirs.name), what, counts["of"], found,
            remark=f"At the very same pixel: {counts['at_same_place']:,}.",
            details={"closer_than": closer_than, "at_same_place": counts["at_same_place"], **more},
        )  # fmt: skip

    paired = ours.pairs is not None and theirs.pairs is not None
    mine, his = np.arange(len(ours.points)), np.arange(len(theirs.points))
    more = {"spectra": by_spectrum(mine, his)}
    if paired:  # a set may hold patches that no pair uses
        more["spectra_in_pairs"] = by_spectrum(ours.in_pairs(), theirs.in_pairs())
    near = f"less than {closer_than:g} px from one of {ours.name}"
    what = f"Locations of {theirs.name} that lie {near} in the same scene"
    yield shared("shared-locations", what, mine, his, more)
    if paired:
        what = f"Matching locations of {theirs.name} that lie {near} that matches, too"
        yield shared("shared-matches", what, ours.in_pairs((1,)), theirs.in_pairs((1,)), {})


def nearest_locations(
    our_scenes: Rows, ours: Locations, their_scenes: Rows, theirs: Locations, closer_than: float
) -> tuple[Locations, Rows]:
    """For each of their locations (M, 2) the nearest of ours (N, 2), px, in its scene, of which (N,) and (M,) are ids.

    Returns (M,) distances, infinite where none is closer than `closer_than` px, and (M,) the index of ours, or -1.
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


def _distinct(one: Read, chosen: Rows, number: dict[str, int]) -> tuple[Rows, Rows, Locations]:
    """Of the rows with a known position, the first at each location: rows, numbers of the scenes, positions."""
    assert one.positions is not None
    chosen = chosen[np.isfinite(one.positions[chosen]).all(axis=1)]
    of_image = np.array([number[name] for name in one.scenes], dtype=np.int64)
    scenes = of_image[one.images[chosen]]
    _, first = np.unique(np.column_stack([scenes, one.positions[chosen]]), axis=0, return_index=True)
    first = np.sort(first)
    return chosen[first], scenes[first], one.positions[chosen[first]]
