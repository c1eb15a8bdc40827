from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import STRIPS
from tiepoint.errors import InputError
from tiepoint.evaluation.hpatches.descriptors import read_descriptors, same_dimension, stack, strip_index
from tiepoint.evaluation.hpatches.run import measured_sequences, training_sequences
from tiepoint.evaluation.hpatches.tasks import read_or_generate, read_retrieval, read_verification

COUNTS = {"i_a": 3, "v_b": 4}


def strips(count: int, dimension: int = 5, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((count, dimension), dtype=np.float32) for name in STRIPS}


def write_csv(folder: Path, separator: str = ",") -> dict[str, dict[str, NDArray[np.float32]]]:
    data = {name: strips(count, seed=count) for name, count in COUNTS.items()}
    for sequence, tables in data.items():
        (folder / sequence).mkdir(parents=True)
        for name, table in tables.items():
            np.savetxt(folder / sequence / f"{name}.csv", table, delimiter=separator, fmt="%.9g")
    return data


def test_strips_are_ordered_by_noise_and_image() -> None:
    assert [strip_index("e", 0), strip_index("h", 0), strip_index("t", 0)] == [0, 0, 0]
    assert [STRIPS[strip_index(noise, image)] for noise in "eht" for image in range(1, 6)] == list(STRIPS[1:])


def test_strips_are_joined_and_zero_rows_allowed() -> None:
    tables = strips(4)
    tables["h3"][2] = 0
    found = stack("v_b", tables)
    assert found.shape == (16, 4, 5)
    np.testing.assert_array_equal(found[strip_index("h", 3)], tables["h3"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("h4"), "v_b/h4: missing"),
        (lambda t: t.update(e2=t["e2"][:3]), "v_b/e2: 3 patches where ref has 4"),
        (lambda t: t.update(t5=t["t5"][:, :4]), "v_b/t5: 4 dimensions where ref has 5"),
        (lambda t: t.update(t1=t["t1"].astype(np.float64)), "v_b/t1: float64, must be float32"),
        (lambda t: t.update(ref=t["ref"].astype(np.uint8)), "v_b/ref: uint8"),
        (lambda t: t.update(e1=t["e1"].ravel()), r"v_b/e1: shape \(20,\)"),
        (lambda t: t.update(ref=t["ref"][:0]), r"v_b/ref: shape \(0, 5\)"),
        (lambda t: t["h1"].__setitem__((1, 2), np.nan), "v_b/h1: holds NaN"),
        (lambda t: t["h2"].__setitem__((1, 2), np.inf), "v_b/h2: holds NaN, infinity"),
        (lambda t: t["h2"].__setitem__((0, 0), 1e20), "v_b/h2: .* beyond 1e15"),
    ],
)
def test_unusable_strips_are_refused_by_name(change: Any, message: str) -> None:
    tables = strips(4)
    change(tables)
    with pytest.raises(InputError, match=message):
        stack("v_b", tables)


def test_sequences_of_other_dimensions_and_none_at_all_are_refused() -> None:
    with pytest.raises(InputError, match="v_b: 6 dimensions where i_a has 5"):
        same_dimension({"i_a": stack("i_a", strips(3)), "v_b": stack("v_b", strips(3, 6))})
    with pytest.raises(InputError, match="no sequence"):
        same_dimension({})


@pytest.mark.parametrize("separator", [",", ";"])
def test_official_folders_are_read(tmp_path: Path, separator: str) -> None:
    data = write_csv(tmp_path, separator)
    steps: list[tuple[int, int]] = []
    found = read_descriptors(tmp_path, COUNTS, progress=lambda *step: steps.append(step))
    assert steps == [(i, 32) for i in range(1, 33)]
    assert list(found) == list(COUNTS)
    for sequence, tables in data.items():
        np.testing.assert_array_equal(found[sequence], np.stack(list(tables.values())))
        assert found[sequence].dtype == np.float32
    assert read_descriptors(tmp_path, {"v_b": 4}, ("ref",))["v_b"].shape == (1, 4, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "e3.csv is missing"),
        ("", "holds no ',' or ';'"),
        ("1 2 3\n", "holds no ',' or ';'"),
        ("1,2,3,4,5\n1,2,3,x,5\n", "not a table of numbers .*'x'"),
        ("1,2,3,4,5\n1,2\n", "not a table of numbers"),
        ("1,2,3,4,5\n", "e3.csv: 1 descriptors where the data have 4 patches"),
        ("1,2,3,4,5\n" * 3 + "1,2,3,4,1e99\n", "v_b/e3: holds NaN, infinity"),
    ],
)
def test_unusable_descriptor_files_are_refused_by_name(tmp_path: Path, text: str | None, message: str) -> None:
    write_csv(tmp_path)
    path = tmp_path / "v_b" / "e3.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_descriptors(tmp_path, COUNTS)


PAIRS = {"pos": "v_b,4,1,v_b,3,1\ni_a,0,2,i_a,5,2\n", "neg_inter": "v_b,4,1,i_a,3,0\ni_a,0,2,i_a,5,1\n"}
PAIRS["neg_intra"] = "v_b,4,1,v_b,3,3\ni_a,0,2,i_a,5,0\n"


def write_tasks(folder: Path) -> None:
    for kind, lines in PAIRS.items():
        (folder / f"verif_{kind}_split-a.csv").write_text("s1,t1,idx1,s2,t2,idx2\n" + lines)
    (folder / "retr_queries_split-a.csv").write_text("s,idx\nv_b,3\n")
    (folder / "retr_distractors_split-a.csv").write_text("s,idx\r\ni_a,0\r\nv_b,1\r\n")


def test_official_tasks_are_read(tmp_path: Path) -> None:
    write_tasks(tmp_path)
    verification, retrieval = read_or_generate(tmp_path, "a", COUNTS, lambda name: pytest.fail("draws"))
    assert verification.origin == retrieval.origin == "official"
    assert verification.positive.tolist() == [[1, 4, 1, 1, 3, 1], [0, 0, 2, 0, 5, 2]]
    assert verification.inter.tolist() == [[1, 4, 1, 0, 3, 0], [0, 0, 2, 0, 5, 1]]
    assert verification.intra[:, 5].tolist() == [3, 0]
    assert retrieval.queries.tolist() == [[1, 3]]
    assert retrieval.distractors.tolist() == [[0, 0], [1, 1]]


def test_a_task_without_files_is_drawn_and_says_so(tmp_path: Path) -> None:
    write_tasks(tmp_path)
    for kind in ("queries", "distractors"):
        (tmp_path / f"retr_{kind}_split-a.csv").unlink()
    counts = {"i_a": 30, "v_b": 40}
    patches = np.random.default_rng(0).integers(0, 255, (40, 9, 9)).astype(np.uint8)
    verification, retrieval = read_or_generate(tmp_path, "a", counts, lambda name: patches[: counts[name]])
    assert (verification.origin, retrieval.origin) == ("official", "generated")
    with pytest.raises(InputError, match="no task files of split b"):
        read_or_generate(tmp_path, "b", counts, lambda name: patches)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "verif_neg_inter_split-a.csv is missing: the task needs verif_pos_split-a.csv, "),
        ("s,idx\nv_b,1\n", "must hold a line s1,t1,idx1,s2,t2,idx2"),
        ("s1,t1,idx1,s2,t2,idx2\n", "and tasks below it"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,4,1,i_a,3\n", "no table|every line"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,4,1,i_a,x,0\n", "not a table of tasks"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,4,1,i_a,3,0\n", "1 pairs where verif_pos_split-a.csv has 2"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,4,1,i_a,3,0\nv_b,4,1,v_c,3,0\n", "line 3 names a patch"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,6,1,i_a,3,0\nv_b,4,1,i_a,3,0\n", "line 2 names a patch"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,4,1,i_a,-1,0\nv_b,4,1,i_a,3,0\n", "line 2 names a patch"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,4,4,i_a,3,0\nv_b,4,1,i_a,3,0\n", "line 2 names a patch"),
        ("s1,t1,idx1,s2,t2,idx2\nv_b,4,1,i_a,3,0\nv_b,4,1,i_a,3,3\n", "line 3 names a patch"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_unusable_task_files_are_refused_by_name(tmp_path: Path, text: str | None, message: str) -> None:
    write_tasks(tmp_path)
    path = tmp_path / "verif_neg_inter_split-a.csv"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_verification(tmp_path, "a", COUNTS)
    assert read_retrieval(tmp_path, "a", COUNTS) is not None


SEQUENCES = ["v_b", "i_a", "i_c", "notes"]


def test_splits_follow_from_names_or_from_the_file(tmp_path: Path) -> None:
    assert measured_sequences("full", SEQUENCES) == ["i_a", "i_c", "v_b"]
    assert measured_sequences("view", SEQUENCES) == ["v_b"]
    assert measured_sequences("illum", SEQUENCES) == ["i_a", "i_c"]
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"a": {"test": ["v_b", "i_a"], "train": ["i_c"]}, "full": {"test": ["v_b"]}}))
    assert measured_sequences("a", SEQUENCES, file) == ["v_b", "i_a"]  # in the file's order
    assert training_sequences("a", SEQUENCES, file) == ["i_c"]
    assert measured_sequences("full", SEQUENCES, file) == ["v_b"]
    with pytest.raises(InputError, match="train"):
        training_sequences("full", SEQUENCES, file)


def test_splits_that_cannot_be_had_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split 'a': only view, illum, full follow from names: give --splits"):
        measured_sequences("a", SEQUENCES)
    with pytest.raises(InputError, match="starts with v_"):
        measured_sequences("view", ["i_a"])
    with pytest.raises(InputError, match="--splits"):
        training_sequences("a", SEQUENCES, None)
    file = tmp_path / "splits.json"
    file.write_text(json.dumps({"a": {"test": ["v_b", "v_z"]}, "b": {"test": ["v_b", "v_b"]}}))
    with pytest.raises(InputError, match=r"split a, test: v_z is .* missing"):
        measured_sequences("a", SEQUENCES, file)
    with pytest.raises(InputError, match="split b, test: v_b is named twice"):
        measured_sequences("b", SEQUENCES, file)
