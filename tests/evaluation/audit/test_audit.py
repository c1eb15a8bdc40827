"""The audit finds every leak of the published sets, counted by brute force, and none in a split by scenes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_sets import SIDE, Pair, Place, grid, images, random_over_pairs, used, write
from numpy.typing import NDArray

from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.evaluation.audit import Audit, Finding, audit
from tiepoint.patches import PatchSet

SCENES = [f"{kind}/{k}" for kind in ("field", "urban") for k in range(3)]


def one(found: Audit, kind: str, *sets: str) -> Finding:
    (finding,) = [f for f in found.findings if f.kind == kind and (not sets or f.sets == sets)]
    return finding


def gap(a: Place, b: Place) -> float:
    return float(np.hypot(a[1] - b[1], a[2] - b[2])) if a[0] == b[0] else np.inf


def recurring(ours: set[Place], theirs: set[Place], closer_than: float = 8.0) -> dict[str, int]:
    least = [min((gap(a, b) for a in ours), default=np.inf) for b in theirs]
    return {
        "count": sum(d < closer_than for d in least),
        "of": len(theirs),
        "at_same_place": sum(d == 0 for d in least),
    }


def test_a_split_by_scenes_has_no_leak(tmp_path: Path) -> None:
    train = write(tmp_path / "train", grid(SCENES[:4], 30), [(p, p, 1) for p in grid(SCENES[:4], 30)])
    test = write(tmp_path / "test", grid(SCENES[4:], 30))
    found = audit({"train": train, "test": test})
    assert not found.leaks
    counts = {f.kind: f.count for f in found.findings if len(f.sets) == 2}
    assert counts == dict.fromkeys(
        ("shared-scenes", "shared-content", "repeated-patches", "near-repeats", "shared-locations"), 0
    )
    assert main(["data", "audit", str(tmp_path / "train"), str(tmp_path / "test")]) == 0


def test_a_random_split_over_pairs(tmp_path: Path) -> None:
    """As the optical-radar set: scenes shared, single keypoints recur in each spectrum, matching keypoints do not."""
    train, test = random_over_pairs(SCENES, 12, seed=1)
    sets = {"train": write(tmp_path / "a", used(train), train), "test": write(tmp_path / "b", used(test), test)}
    found = audit(sets)
    assert {place[0] for place in used(test)} == set(SCENES)
    scenes = one(found, "shared-scenes")
    assert (scenes.severity, scenes.count, scenes.total) == ("leak", 6, 6)
    assert set(scenes.examples) < set(SCENES)
    assert len(scenes.examples) == 5
    locations = one(found, "shared-locations")
    expected = recurring(set(used(train)), set(used(test)))
    assert (locations.severity, locations.count, locations.total) == ("leak", expected["count"], expected["of"])
    assert 0 < expected["count"] < expected["of"]
    for side, spectrum in enumerate(("vis", "nir")):
        ours, theirs = ({pair[side] for pair in pairs} for pairs in (train, test))
        assert locations.details["spectra_in_pairs"][spectrum] == recurring(ours, theirs)  # type: ignore[arg-type]
    matching = one(found, "shared-matches")
    of_matches = [{pair[0] for pair in pairs if pair[2]} for pairs in (train, test)]
    assert (matching.severity, matching.count) == ("note", 0)
    assert recurring(*of_matches)["count"] == 0
    assert matching.total >= len(of_matches[1]) > 0
    same = set(used(train)) & set(used(test))
    repeated = one(found, "repeated-patches", "train", "test")
    assert (repeated.count, repeated.total) == (2 * len(same), 2 * len(used(test)))
    for mine, his in repeated.examples:
        np.testing.assert_array_equal(sets["train"].patches[mine], sets["test"].patches[his])
    assert one(found, "shared-content").count == 0
    assert one(found, "shared-pairs").count == 0


def test_patches_and_pairs_of_the_test_in_training(tmp_path: Path) -> None:
    """As the visible-thermal set: every scene in both, half of the patches too; here under new names of the scenes."""
    train = grid(SCENES[:2], 30)
    test = [(f"new{k % 2}@{scene}", x, y) for k, (scene, x, y) in enumerate(train) if (x + y) // 30 % 2]
    fresh = grid(SCENES[4:], 40)
    ours = write(tmp_path / "train", train, [(p, p, 1) for p in train])
    theirs = write(tmp_path / "test", test + fresh, [(p, p, 1) for p in test + fresh])
    found = audit({"train": ours, "test": theirs})
    repeated = one(found, "repeated-patches", "train", "test")
    assert (repeated.severity, repeated.count, repeated.total) == ("leak", 2 * len(test), 2 * len(test + fresh))
    numbers = {"count": len(test), "of": len(test) + len(fresh)}
    assert repeated.details["spectra"] == {"vis": numbers, "nir": numbers}
    content = one(found, "shared-content")
    names = {place[0] for place in test}
    assert (content.severity, content.count, content.total) == ("leak", len(names), len(names) + 2)
    assert (one(found, "shared-scenes").count, one(found, "shared-locations").count) == (0, 0)
    assert one(found, "shared-pairs").count == len(test)
    assert one(found, "near-repeats", "train", "test").count == 0  # the repeats to the byte are not counted again


def test_nonmatches_one_pixel_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    places = sorted({(s, int(x), int(y)) for s in SCENES[:2] for x, y in random.integers(32, SIDE - 32, (40, 2))})
    places += [(places[0][0], places[0][1] + 1, places[0][2])]
    pairs: list[Pair] = [(places[0], places[-1], 0), (places[0], places[0], 1)]
    pairs += [(places[a], places[b], 0) for a, b in random.integers(len(places), size=(150, 2)) if a != b]
    found = one(audit({"train": write(tmp_path / "a", places, pairs)}, closer_than=10), "close-nonmatches")
    gaps = [gap(a, b) for a, b, label in pairs if not label and a[0] == b[0]]
    assert (found.severity, found.count, found.total) == ("warning", sum(g < 10 for g in gaps), len(gaps))
    assert found.details["least"] == 1
    assert found.details["median"] == pytest.approx(np.median(gaps))
    assert found.examples[0] == 0


def test_pairs_that_contradict_each_other_or_their_points(tmp_path: Path) -> None:
    a, b, c = grid(["field/0", "urban/0"], 100)[:3]
    d = ("urban/0", 32, 32)
    pairs: list[Pair] = [
        (a, a, 1), (a, b, 0), (a, b, 0), (a, b, 1), (b, b, 0), (c, a, 0), (c, a, 0), (c, a, 0), (d, d, 1),
    ]  # fmt: skip
    found = audit({"x": write(tmp_path / "x", [a, b, c, d], pairs)})
    assert (one(found, "repeated-pairs").count, one(found, "repeated-pairs").total) == (3, 9)
    assert one(found, "repeated-pairs").examples == ([1, 2], [5, 6], [5, 7])
    assert (one(found, "contradictory-pairs").count, one(found, "contradictory-pairs").total) == (1, 5)
    assert one(found, "contradictory-pairs").examples == ([3, 1],)
    assert (one(found, "label-1-against-points").count, one(found, "label-1-against-points").examples) == (1, (3,))
    assert (one(found, "label-0-against-points").count, one(found, "label-0-against-points").examples) == (1, (4,))
    balance = one(found, "pair-balance")
    assert (balance.severity, balance.count, balance.total, balance.examples) == ("warning", 3, 9, ("urban",))
    assert balance.details["categories"] == {
        "field": {"matches": 2, "non-matches": 6},
        "urban": {"matches": 1, "non-matches": 0},
    }
    assert not found.leaks


def plain(directory: Path, patches: NDArray[Any], points: list[int], spectra: list[int], names: str = "a") -> PatchSet:
    with PatchSet.create(directory, len(patches), channels=patches.shape[1], dtype=patches.dtype,
                         spectra=("vis", "nir")) as writer:  # fmt: skip
        writer.patches[:], writer.points[:], writer.spectra[:] = patches, points, spectra
        writer.images[:] = 0
        writer.image_names.append(names)
    return PatchSet.open(directory)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_flat_patches_spectra_and_partners(tmp_path: Path, dtype: str) -> None:
    patches = np.random.default_rng(0).integers(0, 255, (7, 3, 64, 64)).astype(dtype)
    patches[0] = np.array([9, 80, 200])[:, None, None]  # constant, though of a colour
    patches[1] = 40
    patches[1, 2, 5, 5] = 41
    patches[2, :2] = 7  # one channel still says something
    patches[5] = patches[4]
    found = audit({"x": plain(tmp_path / "x", patches, [0, 0, 1, 1, 2, 3, 4], [0, 1, 0, 1, 0, 0, 0])})
    flat = {(f.kind, f.details["spectrum"]): (f.count, f.total, f.examples) for f in found.findings
            if f.kind in ("constant-patches", "flat-patches")}  # fmt: skip
    assert flat == {
        ("constant-patches", "vis"): (1, 5, (0,)), ("constant-patches", "nir"): (0, 2, ()),
        ("flat-patches", "vis"): (0, 5, ()), ("flat-patches", "nir"): (1, 2, (1,)),
    }  # fmt: skip
    assert (one(found, "unequal-spectra").count, one(found, "unequal-spectra").details) == (3, {"vis": 5, "nir": 2})
    assert (one(found, "points-without-partner").count, one(found, "points-without-partner").examples) == (3, (2, 3, 4))
    repeated = one(found, "repeated-patches")
    assert (repeated.severity, repeated.count, repeated.total, repeated.examples) == ("warning", 1, 5, ([4, 5],))


def test_near_repeats_between_depths(tmp_path: Path) -> None:
    """A test patch of 16 bits that shows a training patch with other brightness, contrast and noise is found."""
    random = np.random.default_rng(1)
    ours = np.stack([images(f"s/{k}")[0][None, :64, :64] for k in range(30)])
    theirs = np.stack([images(f"s/{k}")[0][None, :64, :64] for k in range(25, 35)]) * 120.0 + 9000
    theirs += 200 * random.standard_normal(theirs.shape)
    sets = {
        "train": plain(tmp_path / "a", ours, list(range(30)), [0] * 30),
        "test": plain(tmp_path / "b", theirs.astype(np.uint16), list(range(10)), [0] * 10, names="b"),
    }
    found = audit(sets)
    near = one(found, "near-repeats", "train", "test")
    assert (near.severity, near.count, near.total) == ("leak", 5, 10)
    assert near.examples == tuple([25 + k, k] for k in range(5))
    assert len(found.leaks) == 1
    assert one(audit(sets, near=1), "near-repeats", "train", "test").count == 0
    for seed in range(4):  # each of the drawn is sought among all of training
        drawn = np.random.default_rng(seed).choice(10, 4, replace=False)
        few = one(audit(sets, sample=4, seed=seed), "near-repeats", "train", "test")
        assert (few.count, few.total) == ((drawn < 5).sum(), 4)


def test_few_near_repeats_are_no_proof(tmp_path: Path) -> None:
    patches = np.random.default_rng(2).integers(0, 200, (300, 1, 64, 64)).astype(np.uint8)
    patches[100] = patches[7] + 20
    patches[200:202] = patches[7:9] + 20
    sets = {name: plain(tmp_path / name, patches[100 * k : 100 * k + 100], list(range(100)), [0] * 100, name)
            for k, name in enumerate("abc")}  # fmt: skip
    found = audit(sets)
    severities = {f.sets: (f.severity, f.count) for f in found.findings if f.kind == "near-repeats"}
    assert severities[("a", "b")] == ("warning", 1)  # 1 in 100
    assert severities[("a", "c")] == ("leak", 2)
    assert severities[("b", "c")] == ("note", 0)  # that one is equal to the byte
    assert severities[("a",)] == ("note", 0)


def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    patches = np.random.default_rng(0).integers(0, 255, (4, 1, 64, 64)).astype(np.uint8)
    sets = {
        name: plain(tmp_path / name, patches[2 * k : 2 * k + 2], [0, 0], [0, 1], name) for k, name in enumerate("ab")
    }
    found = audit(sets)
    assert [f.sets for f in found.findings if f.kind == "no-positions"] == [("a",), ("b",)]
    assert not [f for f in found.findings if f.kind in ("shared-locations", "close-nonmatches")]
    assert not [f for f in audit({"a": sets["a"]}).findings if f.kind == "no-positions"]


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    sets = {name: write(tmp_path / name, grid([name], 60)) for name in ("a", "b", "c")}
    said: list[tuple[int, int]] = []
    audit(sets, progress=lambda done, total: said.append((done, total)))
    dones, totals = zip(*said, strict=True)
    assert list(dones) == sorted(dones)
    assert dones[-1] == totals[-1] == sum(len(s) for s in sets.values()) * 2 + 2 * len(sets["c"]) + len(sets["b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"near": 0.0}, "near is 0"),
        ({"near": 1.1}, "near is 1.1"),
        ({"near": float("nan")}, "near is nan"),
        ({"closer_than": 0.0}, "closer_than is 0"),
        ({"sample": 0}, "sample is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_thresholds_that_are_none(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        audit({"a": write(tmp_path / "a", grid(["a"], 100))}, **options)


def test_no_set() -> None:
    with pytest.raises(InputError, match="at least one"):
        audit({})


class TestCommand:
    def test_json_says_what_the_function_says(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        train, test = random_over_pairs(SCENES[:2], 30, seed=2)
        sets = {
            "train": write(tmp_path / "train", used(train), train),
            "test": write(tmp_path / "test", used(test), test),
        }
        assert main(["data", "audit", str(tmp_path / "train"), str(tmp_path / "test"), "--json"]) == 1
        said = capsys.readouterr()
        assert (said.out.count("\n"), said.err) == (1, "")
        assert json.loads(said.out) == json.loads(json.dumps(audit(sets).to_json()))
        assert json.loads(said.out)["leaks"] == len(audit(sets).leaks) > 0

    def test_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("one/x", "two/x"):
            (tmp_path / name).parent.mkdir()
            write(tmp_path / name, grid(["field/0"], 50))
        assert main(["data", "audit", str(tmp_path / "one/x"), str(tmp_path / "two/x")]) == 1
        words = " ".join(capsys.readouterr().out.split())
        assert "leaks" in words
        assert words.index(" leak ") < words.index(" Nothing found in ")

    def test_refusals(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(tmp_path / "a", grid(["field/0"], 100))
        for words, message in (
            ([], "at least one PatchSet"),
            ([str(tmp_path / "a"), str(tmp_path / "b/../a")], "given twice"),
            ([str(tmp_path / "none")], "not a PatchSet"),
            ([str(tmp_path / "a"), "--near", "2"], "near is 2"),
        ):
            assert main(["data", "audit", *words]) == 2
            assert message in capsys.readouterr().err
