"""torchvision's cache of PhotoTour as a source of PatchSets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tiepoint.data.readers.phototour import build_phototour, read_pairs
from tiepoint.errors import InputError

POINTS = [0, 0, 1, 1, 1, 5, 5, 9, 9, 9, 9, 12, 12]
PAIRS = [(0, 1), (0, 2), (4, 2), (12, 0), (5, 6)]
PATCHES = np.random.default_rng(1).integers(0, 255, (13, 64, 64), dtype=np.uint8)


def cache(path: Path, legacy: bool = False, **replaced: object) -> Path:
    """What torchvision keeps of a set: a tuple of tensors."""
    matches = [(a, b, int(POINTS[a] == POINTS[b])) for a, b in PAIRS]
    content = {
        "patches": torch.from_numpy(PATCHES),
        "labels": torch.tensor(POINTS),
        "matches": torch.tensor(matches),
        **replaced,
    }
    torch.save(tuple(content.values()), path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
def test_torchvisions_cache_is_read(tmp_path: Path, legacy: bool) -> None:
    data = build_phototour(cache(tmp_path / "abbey.pt", legacy), tmp_path / "set")
    np.testing.assert_array_equal(data.patches[:, 0], PATCHES)
    np.testing.assert_array_equal(data.points, POINTS)
    assert data.image_names == ["abbey"]
    np.testing.assert_array_equal(read_pairs(tmp_path / "set"), PAIRS)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"patches": torch.zeros(13, 64, 64)}, "is not a cache of PhotoTour"),
        ({"patches": torch.zeros(13, 32, 32, dtype=torch.uint8)}, "is not a cache of PhotoTour"),
        ({"patches": torch.tensor(0, dtype=torch.uint8)}, "is not a cache of PhotoTour"),
        ({"labels": torch.tensor(POINTS[:12])}, "is not a cache of PhotoTour"),
        ({"labels": torch.tensor(0)}, "is not a cache of PhotoTour"),
        ({"matches": torch.zeros(5, 2, dtype=torch.int64)}, "is not a cache of PhotoTour"),
        ({"matches": torch.zeros(5, 3, dtype=torch.bfloat16)}, "is not a cache of PhotoTour"),
        ({"more": torch.zeros(1)}, "is not a cache of PhotoTour"),
        ({"matches": "text"}, "is not a cache of PhotoTour"),
        ({"labels": torch.tensor([-1, *POINTS[1:]])}, "a point id is negative"),
        ({"matches": torch.tensor([[0, 1, 1], [0, 13, 0]])}, r"match 2: patches \[0, 13\]: there are 13"),
        ({"matches": torch.tensor([[0, 1, 0]])}, r"match 1: .* do not match, but their points are equal"),
        ({"matches": Path("no tensor")}, "damaged, or not a torch file of plain tensors"),
    ],
)
def test_a_wrong_cache_is_named(tmp_path: Path, replaced: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=rf"abbey\.pt(: |, ){message}"):
        build_phototour(cache(tmp_path / "abbey.pt", **replaced), tmp_path / "set")  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["abbey.pt"]


@pytest.mark.parametrize("size", [0, 1000, 40_000])
def test_a_truncated_cache_is_named(tmp_path: Path, size: int) -> None:
    path = cache(tmp_path / "abbey.pt")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"abbey\.pt: damaged, or not a torch file"):
        build_phototour(path, tmp_path / "set")


def test_a_cache_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"abbey\.pt: cannot be read \(No such file"):
        build_phototour(tmp_path / "abbey.pt", tmp_path / "set")
