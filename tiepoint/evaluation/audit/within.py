"""Checks of one set by itself: flat and repeated patches, spectra, partners."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiepoint.evaluation.audit.finding import Finding, finding, rows
from tiepoint.evaluation.audit.near import Near
from tiepoint.evaluation.audit.reading import FLAT, Read
from tiepoint.evaluation.audit.repeats import first_equal_of_other_point


def of_patches(one: Read, near: Near) -> Iterator[Finding]:
    """Constant, nearly constant and repeated patches."""
    name = (one.name,)
    for spectrum, members in one.spectra.items():
        if not len(members):
            continue
        deviations = one.deviations[members]
        details = {"spectrum": spectrum}
        constant, flat = members[deviations == 0], members[(deviations > 0) & (deviations < FLAT)]
        yield finding(
            "constant-patches", "warning", name, f"{spectrum} patches of {one.name} whose pixels are all equal",
            len(constant), len(members), remark="No network can tell them apart.", examples=rows(constant),
            details=details,
        )  # fmt: skip
        yield finding(
            "flat-patches", "note", name,
            f"{spectrum} patches of {one.name} that deviate by less than {FLAT:g} grey level", len(flat), len(members),
            examples=rows(flat), details=details,
        )  # fmt: skip
    textured = np.flatnonzero(one.textured)
    place = first_equal_of_other_point(one.looks.digests[textured], one.points[textured])
    repeats, of = textured[place >= 0], textured[place[place >= 0]]
    yield finding(
        "repeated-patches", "warning", name,
        f"Patches of {one.name} that repeat an earlier one to the byte under another point id",
        len(repeats), len(textured), remark="A non-match of the two would be the same picture twice.",
        examples=rows(of, repeats),
    )  # fmt: skip
    fresh = np.setdiff1d(textured, repeats)
    found, of, compared = near.within(one, fresh)
    yield finding(
        "near-repeats", "warning", name,
        f"Further patches of {one.name} that correlate by {near.threshold:g} or more with an earlier one of another "
        "point id", len(found), compared, examples=rows(of, found), details={"near": near.threshold},
    )  # fmt: skip


def of_points(one: Read) -> Iterator[Finding]:
    """Spectra with unequal numbers, and points that nothing matches."""
    if len(one.spectra) > 1:
        counts = {spectrum: len(members) for spectrum, members in one.spectra.items()}
        said = ", ".join(f"{count:,} {spectrum}" for spectrum, count in counts.items())
        yield finding(
            "unequal-spectra", "note", (one.name,), f"Patches of {one.name} that one spectrum has more than another",
            max(counts.values()) - min(counts.values()), len(one.points), remark=f"{said}.", details=counts,
        )  # fmt: skip
        shown = [np.unique(one.points[members]) for members in one.spectra.values()]
        points, times = np.unique(np.concatenate(shown), return_counts=True)
        alone, what = points[times < len(shown)], "are not shown in every spectrum"
    else:
        points, times = np.unique(one.points, return_counts=True)
        alone, what = points[times == 1], "have one patch alone"
    yield finding(
        "points-without-partner", "note", (one.name,), f"Points of {one.name} that {what}", len(alone), len(points),
        remark="They take part in no match.", examples=rows(alone),
    )  # fmt: skip
