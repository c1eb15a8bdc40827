from __future__ import annotations

import json
import mmap
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiepoint
from tiepoint.errors import InputError
from tiepoint.patches import ARRAYS, NAMES, PatchSet

HASHED = (*(f"{name}.npy" for name in ARRAYS), NAMES)

ROOT = Path(tiepoint.__file__).parents[1]


def write(directory: Path, count: int = 6, channels: int = 1, dtype: type = np.uint8, **options: Any) -> np.ndarray:
    """Write a PatchSet of random patches, two a point, and return the patches."""
    patches = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (count, channels, 64, 64)).astype(dtype)
    with PatchSet.create(directory, count, channels=channels, dtype=dtype, **options) as writer:
        writer.patches[:] = patches
        writer.points[:] = np.arange(count) // 2
        writer.images[:] = np.arange(count) % 2
        writer.spectra[:] = 0
        writer.image_names += ["a.png", "b/ü.png"]
    return patches


def edit(directory: Path, **changes: Any) -> None:
    """Change keys of the manifest; None removes one."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in manifest.items() if value is not None}))


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", script, *arguments]
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_round_trip(tmp_path: Path, channels: int, dtype: type) -> None:
    options = {"spectra": ("vis", "nir"), "support": 10.0, "margin": 1.5, "licence": "CC0", "provenance": {"from": "é"}}
    patches = write(tmp_path / "set", channels=channels, dtype=dtype, **options)
    data = PatchSet.open(tmp_path / "set", verify=True)
    assert isinstance(data.patches, np.memmap)
    assert data.patches.dtype == dtype
    np.testing.assert_array_equal(data.patches, patches)
    assert data.points.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.images.tolist() == [0, 1] * 3
    assert data.spectra.tolist() == [0] * 6
    assert (data.points.dtype, data.images.dtype, data.spectra.dtype) == (np.int64, np.int32, np.uint8)
    assert data.image_names == ["a.png", "b/ü.png"]
    assert (len(data), data.support, data.margin) == (6, 10.0, 1.5)
    assert data.manifest["counts"] == {"patches": 6, "points": 3, "images": 2}
    assert data.manifest["spectra"] == ["vis", "nir"]
    assert (data.manifest["licence"], data.manifest["provenance"]) == ("CC0", {"from": "é"})
    assert "6 patches, 3 points" in repr(data)
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == sorted([*HASHED, "manifest.json"])
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


PAIRS = [[0, 1, 1], [2, 3, 1], [4, 1, 0], [0, 1, 1]]


def write_cross(directory: Path, pairs: Any = PAIRS) -> None:
    """Write a PatchSet of three points in two spectra, with positions and pairs."""
    with PatchSet.create(directory, 6, spectra=("vis", "nir"), positions=True, pairs=len(pairs)) as writer:
        assert writer.positions is not None
        assert writer.pairs is not None
        writer.points[:], writer.spectra[:], writer.images[:] = np.arange(6) // 2, np.arange(6) % 2, 0
        writer.positions[:] = np.arange(12).reshape(6, 2) + 0.25
        writer.pairs[:] = pairs
        writer.image_names.append("field/1")


def test_positions_and_pairs_round_trip(tmp_path: Path) -> None:
    write_cross(tmp_path / "set")
    data = PatchSet.open(tmp_path / "set", verify=True)
    assert data.positions is not None
    assert data.pairs is not None
    assert (data.positions.dtype, data.pairs.dtype) == (np.float32, np.int64)
    assert (data.positions[1].tolist(), data.pairs.tolist()) == ([2.25, 3.25], PAIRS)
    for array in (data.positions, data.pairs):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    names = {*HASHED, "positions.npy", "pairs.npy"}
    assert set(data.manifest["sha256"]) == names
    assert {path.name for path in (tmp_path / "set").iterdir()} == {*names, "manifest.json"}


def test_positions_and_pairs_are_optional(tmp_path: Path) -> None:
    write(tmp_path / "set")
    data = PatchSet.open(tmp_path / "set", verify=True)
    assert (data.positions, data.pairs) == (None, None)
    assert set(data.manifest["sha256"]) == set(HASHED)
    edit(tmp_path / "set", pairs=None)  # as sets were written before there were any
    assert PatchSet.open(tmp_path / "set", verify=True).pairs is None


@pytest.mark.parametrize("name", ["positions.npy", "pairs.npy"])
def test_positions_and_pairs_are_verified(tmp_path: Path, name: str) -> None:
    write_cross(tmp_path / "set")
    path = tmp_path / "set" / name
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # of the last pair the label
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: content hash differs"):
        PatchSet.open(tmp_path / "set", verify=True)
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=rf"{name} is truncated or not an array"):
        PatchSet.open(tmp_path / "set")
    path.unlink()
    with pytest.raises(InputError, match=rf"{name} is missing"):
        PatchSet.open(tmp_path / "set")


def test_pairs_whose_hash_was_struck_out_are_not_lost(tmp_path: Path) -> None:
    write_cross(tmp_path / "set")
    hashes = json.loads((tmp_path / "set" / "manifest.json").read_text())["sha256"]
    edit(tmp_path / "set", sha256={name: value for name, value in hashes.items() if name != "pairs.npy"})
    assert PatchSet.open(tmp_path / "set").pairs is not None
    with pytest.raises(InputError, match=r"pairs\.npy: content hash differs"):
        PatchSet.open(tmp_path / "set", verify=True)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("positions", np.zeros((6, 3), np.float32)),
        ("positions", np.zeros((5, 2), np.float32)),
        ("positions", np.zeros((6, 2), np.float64)),
        ("pairs", np.array(PAIRS[:3])),
        ("pairs", np.array(PAIRS)[:, :2]),
        ("pairs", np.array(PAIRS, dtype=np.int32)),
        ("pairs", np.array(PAIRS, dtype=np.float64)),
    ],
)
def test_positions_and_pairs_of_another_shape_or_type(tmp_path: Path, name: str, array: np.ndarray) -> None:
    write_cross(tmp_path / "set")
    np.save(tmp_path / "set" / f"{name}.npy", array)
    with pytest.raises(InputError, match=rf"{name}\.npy holds .*, the manifest states"):
        PatchSet.open(tmp_path / "set")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ([-1, 1, 0], r"pair 1 is \[-1, 1, 0\]: must be two rows, 0 to 5, and a label 0 or 1"),
        ([0, 6, 0], r"pair 1 is \[0, 6, 0\]: must be two rows"),
        ([0, 1, 2], r"pair 1 is \[0, 1, 2\]: must be two rows, 0 to 5, and a label 0 or 1"),
        ([0, 1, -1], r"pair 1 is \[0, 1, -1\]"),
        ([2**62, 1, 1], r"pair 1 is"),
        ([1, 0, 1], r"pair 1 is \[1, 0, 1\]: must be a row of a patch of the first spectrum and one of the second"),
        ([0, 2, 0], r"pair 1 is \[0, 2, 0\]: must be a row of a patch of the first spectrum"),
    ],
)
def test_pairs_that_are_none_are_refused_at_write_and_at_open(tmp_path: Path, pair: list[int], message: str) -> None:
    bad = [PAIRS[0], pair, [9, 9, 9]]
    with pytest.raises(InputError, match=message):
        write_cross(tmp_path / "set", bad)
    assert list(tmp_path.iterdir()) == []
    write_cross(tmp_path / "set", PAIRS[:3])
    np.save(tmp_path / "set" / "pairs.npy", np.array(bad))
    with pytest.raises(InputError, match=message):
        PatchSet.open(tmp_path / "set")


def test_what_is_open_is_read_only(tmp_path: Path) -> None:
    write(tmp_path / "set")
    data = PatchSet.open(tmp_path / "set")
    for array in (data.patches, data.points, data.images, data.spectra):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_ids_are_any_integers_of_their_type(tmp_path: Path) -> None:
    ids = [-5, 2**62, -(2**62), 7]
    with PatchSet.create(tmp_path / "set", 4) as writer:
        writer.points[:] = ids
        writer.image_names.append("a.png")
    assert PatchSet.open(tmp_path / "set", verify=True).points.tolist() == ids


def memory() -> int:
    """Resident memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_release_keeps_what_was_written(tmp_path: Path) -> None:
    with PatchSet.create(tmp_path / "set", 50) as writer:
        assert isinstance(writer.patches.base, mmap.mmap)  # what release works on
        for row in range(50):
            writer.patches[row] = row
            writer.release()
        writer.points[:] = np.arange(50)
        writer.images[:] = writer.spectra[:] = 0
        writer.image_names.append("a")
    whole = PatchSet.open(tmp_path / "set", verify=True)
    assert np.array_equal(whole.patches[:, 0, 5, 7], np.arange(50))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory of the process")
def test_opening_reads_neither_patches_nor_names(tmp_path: Path) -> None:
    folder, count = tmp_path / "set", 2**18  # 1 GiB of patches, all of them a hole in the file
    write(folder, 2)
    for name in ("patches", "points", "images", "spectra"):
        old = np.load(folder / f"{name}.npy")
        np.lib.format.open_memmap(folder / f"{name}.npy", "w+", old.dtype, (count, *old.shape[1:]))
    (folder / "images.json").write_bytes(b"[" + b'"name.png",' * 10**6)
    edit(folder, shape=[count, 1, 64, 64], counts={"patches": count, "points": 1, "images": 2})
    before = memory()
    data = PatchSet.open(folder)
    assert len(data) == count
    assert data.patches.nbytes == 2**30
    assert data.support == 12.0
    assert memory() - before < 2**20
    with pytest.raises(InputError, match=r"images\.json: is not JSON"):
        _ = data.image_names


@pytest.mark.parametrize("name", HASHED)
def test_one_changed_byte_is_found_and_the_file_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "set")
    path = tmp_path / "set" / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    PatchSet.open(tmp_path / "set")
    with pytest.raises(InputError, match=rf"{name}: content hash differs .*: build the PatchSet again"):
        PatchSet.open(tmp_path / "set", verify=True)


def test_a_file_whose_hash_was_struck_out_is_not_trusted(tmp_path: Path) -> None:
    write(tmp_path / "set")
    edit(tmp_path / "set", sha256={})
    with pytest.raises(InputError, match=r"patches\.npy: content hash differs"):
        PatchSet.open(tmp_path / "set", verify=True)


@pytest.mark.parametrize("name", HASHED)
@pytest.mark.parametrize("verify", [False, True])
def test_a_missing_file_is_named(tmp_path: Path, name: str, verify: bool) -> None:
    write(tmp_path / "set")
    (tmp_path / "set" / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing"):
        PatchSet.open(tmp_path / "set", verify=verify)


@pytest.mark.parametrize("size", [0, 5, 60, 127, 128, 1000])
@pytest.mark.parametrize("name", ["patches", "points", "images", "spectra"])
def test_a_truncated_array_is_named(tmp_path: Path, name: str, size: int) -> None:
    write(tmp_path / "set")
    path = tmp_path / "set" / f"{name}.npy"
    content = path.read_bytes()
    path.write_bytes(content[: min(size, len(content) - 1)])
    with pytest.raises(InputError, match=rf"{name}\.npy is truncated or not an array"):
        PatchSet.open(tmp_path / "set")


def test_any_damaged_byte_of_a_header_is_an_input_error_or_harmless(tmp_path: Path) -> None:
    write(tmp_path / "set")
    path = tmp_path / "set" / "points.npy"
    content = path.read_bytes()
    for at in range(128):
        for byte in (0, ord("("), ord("'"), ord("\n"), ord("9"), content[at] ^ 1):
            path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
            try:
                data = PatchSet.open(tmp_path / "set")
            except InputError as error:
                assert "points.npy" in str(error)  # noqa: PT017
            else:
                assert (data.points.shape, data.points.dtype) == ((6,), np.int64)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("patches", np.zeros((6, 1, 32, 32), np.uint8)),
        ("patches", np.zeros((5, 1, 64, 64), np.uint8)),
        ("patches", np.zeros((6, 64, 64), np.uint8)),
        ("patches", np.zeros((6, 1, 64, 64), np.uint16)),
        ("patches", np.zeros((6, 1, 64, 64), np.float32)),
        ("points", np.zeros(7, np.int64)),
        ("points", np.zeros((6, 1), np.int64)),
        ("points", np.full(6, np.nan)),
        ("points", np.zeros(6, ">i8")),
        ("images", np.zeros(6, np.int64)),
        ("spectra", np.zeros(6, np.int8)),
    ],
)
def test_another_shape_or_type_is_named(tmp_path: Path, name: str, array: np.ndarray) -> None:
    write(tmp_path / "set")
    np.save(tmp_path / "set" / f"{name}.npy", array)
    with pytest.raises(InputError, match=rf"{name}\.npy holds .*, the manifest states .*: build the PatchSet again"):
        PatchSet.open(tmp_path / "set")


@pytest.mark.parametrize("kind", ["objects", "archive", "text"])
def test_what_is_no_array_is_named_and_never_executed(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "set")
    path = tmp_path / "set" / "points.npy"
    if kind == "objects":
        np.save(path, np.array([{}] * 6, dtype=object), allow_pickle=True)
    elif kind == "archive":
        with path.open("wb") as file:
            np.savez(file, points=np.zeros(6, np.int64))
    else:
        path.write_text("points")
    with pytest.raises(InputError, match=r"points\.npy is truncated or not an array"):
        PatchSet.open(tmp_path / "set")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"format": "other"}', "\x00\x01", "[" * 100_000])
def test_a_garbage_manifest_is_named(tmp_path: Path, text: str) -> None:
    write(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        PatchSet.open(tmp_path / "set")


def test_a_manifest_that_is_no_text_is_named(tmp_path: Path) -> None:
    write(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").write_bytes(b"\xff\xfe\x80" * 10)
    with pytest.raises(InputError, match=r"manifest\.json: cannot be read"):
        PatchSet.open(tmp_path / "set")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", None),
        ("shape", 6),
        ("shape", [6, 1, 64]),
        ("shape", [6, 1, 32, 32]),
        ("shape", [6.0, 1, 64, 64]),
        ("shape", ["6", 1, 64, 64]),
        ("dtype", "float32"),
        ("dtype", ["uint8"]),
        ("counts", {"patches": 6}),
        ("counts", [6]),
        ("spectra", "vis"),
        ("spectra", []),
        ("support", "wide"),
        ("support", 0),
        ("support", True),
        ("margin", 0.5),
        ("margin", None),
        ("sha256", "abc"),
    ],
)
def test_a_wrong_key_of_the_manifest_is_named(tmp_path: Path, key: str, value: object) -> None:
    write(tmp_path / "set")
    edit(tmp_path / "set", **{key: value})
    with pytest.raises(InputError, match=rf"manifest\.json: .*{key}.*: build"):
        PatchSet.open(tmp_path / "set")


def test_nan_in_the_manifest_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "set")
    edit(tmp_path / "set", margin=float("nan"))
    with pytest.raises(InputError, match=r"manifest\.json: is not JSON \(NaN is not JSON\)"):
        PatchSet.open(tmp_path / "set")


@pytest.mark.parametrize("version", [0, 2, "1", 1.5])
def test_a_foreign_version_says_which_one(tmp_path: Path, version: object) -> None:
    write(tmp_path / "set")
    edit(tmp_path / "set", version=version)
    with pytest.raises(InputError, match=rf"version {version}, this tiepoint reads 1"):
        PatchSet.open(tmp_path / "set")


def test_what_is_no_patch_set_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(
            InputError, match=r"is not a PatchSet \(it has no manifest\.json\): build one with `tiepoint data"
        ):
            PatchSet.open(path)


@pytest.mark.parametrize("names", ["{}", "[1, 2]", '"a"', "["])
def test_names_that_are_no_list_of_names(tmp_path: Path, names: str) -> None:
    write(tmp_path / "set")
    (tmp_path / "set" / "images.json").write_text(names)
    with pytest.raises(InputError, match=r"images\.json"):
        _ = PatchSet.open(tmp_path / "set").image_names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "at least one patch"),
        ({"count": -3}, "at least one patch"),
        ({"channels": 0}, "at least one channel"),
        ({"dtype": np.float32}, "uint8 or uint16, not float32"),
        ({"dtype": np.int16}, "uint8 or uint16, not int16"),
        ({"margin": 0.9}, "margin is 0.9, must be at least 1"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"margin": float("inf")}, "margin is inf"),
        ({"support": 0.0}, "support is 0, must be more than 0"),
        ({"support": -12.0}, "support is -12"),
        ({"support": float("nan")}, "support is nan"),
    ],
)
def test_arguments_that_make_no_patch_set(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message), PatchSet.create(tmp_path / "set", **{"count": 4} | options):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda w: w.images.fill(2), "image id has no name"),
        (lambda w: w.images.fill(-1), "image id has no name"),
        (lambda w: w.image_names.clear(), "image id has no name"),
        (lambda w: w.spectra.fill(1), "spectrum id has no name"),
    ],
)
def test_ids_without_a_name_are_refused(tmp_path: Path, fill: Callable[[Any], None], message: str) -> None:
    def fail() -> None:
        with PatchSet.create(tmp_path / "set", 4) as writer:
            writer.image_names += ["a.png", "b.png"]
            fill(writer)

    with pytest.raises(InputError, match=message):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_while_writing_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with PatchSet.create(tmp_path / "set", 4) as writer:
            writer.patches[:2] = 1
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_provenance_that_json_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "set", provenance={"mean": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_kept(tmp_path: Path) -> None:
    patches = write(tmp_path / "set")
    with pytest.raises(InputError, match="set exists already: name another folder or remove it"):
        write(tmp_path / "set", count=2)
    np.testing.assert_array_equal(PatchSet.open(tmp_path / "set", verify=True).patches, patches)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


KILLED = """
import os, signal, sys
from tiepoint.patches import PatchSet
with PatchSet.create(sys.argv[1], 100) as writer:
    writer.patches[:50] = 7
    writer.image_names.append("a.png")
    writer.patches.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.whole
def test_a_killed_writer_leaves_nothing_that_opens(tmp_path: Path) -> None:
    done = run(KILLED, str(tmp_path / "set"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "set").exists()
    for folder in tmp_path.iterdir():  # the hidden folder of the dead process
        assert folder.name.startswith(".set-")
        with pytest.raises(InputError, match="not a PatchSet"):
            PatchSet.open(folder)
    patches = write(tmp_path / "set")
    np.testing.assert_array_equal(PatchSet.open(tmp_path / "set", verify=True).patches, patches)


FULL = """
import resource, sys
from tiepoint.patches import PatchSet
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
try:
    with PatchSet.create(sys.argv[1], 100) as writer:
        print("started")
        writer.image_names += ["x" * 1000] * 800
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.whole
@pytest.mark.parametrize(
    ("limit", "expected"),
    [(100_000, "File too large"), (100, "File too large"), (500_000, "started\nFile too large")],
    ids=["patches", "header", "names"],
)
def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path: Path, limit: int, expected: str) -> None:
    done = run(FULL, str(tmp_path / "set"), str(limit))
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole
def test_patch_sets_need_no_torch(tmp_path: Path) -> None:
    write(tmp_path / "set")
    script = "import sys, tiepoint; tiepoint.PatchSet.open(sys.argv[1], verify=True); print('torch' in sys.modules)"
    done = run(script, str(tmp_path / "set"))
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
