"""Checks of the pairs that a set defines: balance, contradictions, and non-matches that nearly match."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.labelled_pairs import category
from tiepoint.evaluation.audit.finding import MAX_EXAMPLES, Finding, finding
from tiepoint.evaluation.audit.reading import MIN_DEVIATION, Read
from tiepoint.evaluation.audit.repeats import Near, first_equal_of_other_point


def of_patches(one: Read, near: Near) -> Iterator[Finding]:
    """Constant, nearly constant and repeated patches."""
    name = (one.name,)
    for spectrum, members in one.spectra.items():
        if not len(members):
            continue
        deviations = one.deviations[members]
        details = {"spectrum": spectrum}
        constant, flat = members[deviations == 0], members[(deviations > 0) & (deviations < MIN_DEVIATION)]
        yield finding(
            "constant-patches", "warning", name, f"{spectrum} patches of {one.name} whose pixels are all equal",
            len(members), constant, remark="No network can tell them apart.", details=details,
        )  # fmt: skip
        yield finding(
            "flat-patches", "note", name,
            f"{spectrum} patches of {one.name} that deviate by less than {MIN_DEVIATION:g} grey level",
            len(members), flat, details=details,
        )  # fmt: skip
    textured = np.flatnonzero(one.textured)
    equal = first_equal_of_other_point(one.digests[textured], one.points[textured])
    repeats, of = textured[equal >= 0], textured[equal[equal >= 0]]
    yield finding(
        "repeated-patches", "warning", name,
        f"Patches of {one.name} that repeat an earlier one to the byte under another point id",
        len(textured), np.column_stack((of, repeats)),
        remark="A non-match of the two would be the same picture twice.",
    )  # fmt: skip
    fresh = np.setdiff1d(textured, repeats)
    near_repeats, of, compared = near.find(one, fresh, one, fresh)
    yield finding(
        "near-repeats", "warning", name,
        f"Further patches of {one.name} that correlate by {near.options.near:g} or more with an earlier one of another "
        "point id", compared, np.column_stack((of, near_repeats)), details={"near": near.options.near},
    )  # fmt: skip


def of_points(one: Read) -> Iterator[Finding]:
    """Spectra with unequal numbers, and points that nothing matches."""
    if len(one.spectra) > 1:
        counts = {spectrum: len(members) for spectrum, members in one.spectra.items()}
        said = ", ".join(f"{count:,} {spectrum}" for spectrum, count in counts.items())
        yield finding(
            "unequal-spectra", "note", (one.name,), f"Patches of {one.name} that one spectrum has more than another",
            len(one.points), count=max(counts.values()) - min(counts.values()), remark=f"{said}.", details=counts,
        )  # fmt: skip
        shown = [np.unique(one.points[members]) for members in one.spectra.values()]
        points, times = np.unique(np.concatenate(shown), return_counts=True)
        alone, what = points[times < len(shown)], "are not shown in every spectrum"
    else:
        points, times = np.unique(one.points, return_counts=True)
        alone, what = points[times == 1], "have one patch alone"
    yield finding(
        "points-without-partner", "note", (one.name,), f"Points of {one.name} that {what}", len(points), alone,
        remark="They take part in no match.",
    )  # fmt: skip


def of_pairs(one: Read, closer_than: float) -> Iterator[Finding]:
    """Everything about `one.pairs`; nothing where the set defines none."""
    if one.pairs is None:
        return
    first, second, labels = one.pairs[:, 0], one.pairs[:, 1], one.pairs[:, 2] == 1
    yield _balance(one, first, labels)
    yield from _twice(one, labels)
    same = one.points[first] == one.points[second]
    for label, wrong, what, remark in (
        (1, np.flatnonzero(labels & ~same), "matches", "whose point ids differ"),
        (0, np.flatnonzero(~labels & same), "non-matches", "of one point id"),
    ):
        yield finding(
            f"label-{label}-against-points", "warning", (one.name,), f"Pairs of {one.name} listed as {what} {remark}",
            (labels == label).sum(), wrong, remark="Labels and point ids contradict each other.",
        )  # fmt: skip
    if one.positions is not None:
        yield _close(one, closer_than)


def _balance(one: Read, first: NDArray[np.int64], labels: NDArray[np.bool_]) -> Finding:
    of_scene = np.array([category(name) for name in one.scenes])
    of_pair = of_scene[one.images[first]]
    counts = {
        str(name): {"matches": int(labels[of_pair == name].sum()), "non-matches": int((~labels[of_pair == name]).sum())}
        for name in np.unique(of_pair)
    }
    lacking = [name for name, count in counts.items() if not all(count.values())]
    text = f"Pairs of {one.name} that match: {labels.sum():,} of {len(labels):,}."
    if lacking:
        text += f" Only matches or only non-matches in {', '.join(lacking)}: no error rate exists there."
    return Finding(
        "pair-balance", "warning" if lacking else "note", (one.name,), int(labels.sum()), len(labels), text,
        tuple(lacking[:MAX_EXAMPLES]), {"categories": counts},
    )  # fmt: skip


def _twice(one: Read, labels: NDArray[np.bool_]) -> Iterator[Finding]:
    """Pairs whose two patches equal those of another pair to the byte, with the same label and with the other."""
    keys = one.pair_keys()
    _, number = np.unique(keys, return_inverse=True)
    _, earliest, of = np.unique(2 * number + labels, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(earliest[of] != np.arange(len(keys)))
    yield finding(
        "repeated-pairs", "warning", (one.name,), f"Pairs of {one.name} that show the patches of an earlier pair",
        len(keys), np.column_stack((earliest[of][repeats], repeats)), remark="They count more than once.",
    )  # fmt: skip
    listed = np.full((2, int(number.max()) + 1), -1)  # by label, the earliest pair that shows these patches
    for label in (0, 1):
        pairs = np.flatnonzero(labels == label)[::-1]
        listed[label, number[pairs]] = pairs
    both = listed[:, (listed >= 0).all(axis=0)]
    yield finding(
        "contradictory-pairs", "warning", (one.name,), f"Pairs of {one.name} that are listed with both labels",
        listed.shape[1], both[::-1].T, remark="One of the two labels is wrong.",
    )  # fmt: skip


def _close(one: Read, closer_than: float) -> Finding:
    """Non-matches whose two patches lie in one scene, nearer than `closer_than` px."""
    assert one.pairs is not None
    assert one.positions is not None
    first, second = one.pairs[:, 0], one.pairs[:, 1]
    gaps = np.linalg.norm(one.positions[first] - one.positions[second], axis=1)
    apart = np.flatnonzero((one.pairs[:, 2] == 0) & (one.images[first] == one.images[second]) & np.isfinite(gaps))
    close = apart[gaps[apart] < closer_than]
    known = gaps[apart]
    details = {
        "closer_than": closer_than,
        "least": float(known.min()) if len(known) else None,
        "median": float(np.median(known)) if len(known) else None,
    }
    said = f"The least distance is {known.min():g} px, the median {np.median(known):.4g} px." if len(known) else ""
    return finding(
        "close-nonmatches", "warning", (one.name,),
        f"Non-matches of {one.name} within one scene that lie less than {closer_than:g} px apart", len(apart),
        close[np.argsort(gaps[close], kind="stable")], details=details,
        remark=f"{said} They show nearly the same and count as errors.",
    )  # fmt: skip
