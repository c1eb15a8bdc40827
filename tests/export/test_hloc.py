"""hloc's files, read as hloc reads them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from exported import made_features

from tiepoint.errors import InputError
from tiepoint.export.hloc import read_features, read_matches, write_features, write_matches, write_pairs
from tiepoint.features.frames import angles, sigmas

ROWS = np.array([[0, 4], [3, 1], [7, 0]])
PAIR = ("day/a.jpg", "b.jpg")


@pytest.fixture
def images() -> dict:
    return {"day/a.jpg": made_features(9, 1), "b.jpg": made_features(6, 2)}


def test_features_as_hloc_reads_them(images: dict, tmp_path: Path) -> None:
    write_features(tmp_path / "features.h5", images)
    with h5py.File(tmp_path / "features.h5") as file:
        names: list[str] = []
        file.visititems(lambda _, o: names.append(o.parent.name.strip("/")) if isinstance(o, h5py.Dataset) else None)
        assert set(names) == set(images)
        for name, features in images.items():
            group = file[name]
            np.testing.assert_allclose(group["keypoints"].__array__(), features.points, atol=1e-4)
            assert group["keypoints"].dtype == np.float32
            assert group["descriptors"].shape == (8, len(features))
            np.testing.assert_array_equal(group["image_size"].__array__(), (120, 100))
            assert group["keypoints"].attrs["uncertainty"] == 1.0
            assert group["scores"].shape == (len(features),)


def test_features_come_back(images: dict, tmp_path: Path) -> None:
    write_features(tmp_path / "features.h5", images)
    features, back = images["day/a.jpg"], read_features(tmp_path / "features.h5", "day/a.jpg")
    np.testing.assert_array_equal(back.descriptors, features.descriptors)
    np.testing.assert_array_equal(back.scores, features.responses)
    np.testing.assert_allclose(back.keypoints, features.points, atol=1e-4)
    np.testing.assert_allclose(back.scales, sigmas(features.frames), rtol=1e-6)
    np.testing.assert_allclose(back.angles, angles(features.frames), atol=1e-6)
    assert back.size == (120, 100)


def test_features_of_hloc_itself_are_read(tmp_path: Path) -> None:
    """SuperPoint's have no scale, and hloc stores half precision."""
    with h5py.File(tmp_path / "theirs.h5", "w", libver="latest") as file:
        group = file.create_group("x.jpg")
        group["keypoints"] = np.array([[1.5, 2.5], [3, 4]], dtype=np.float16)
        group["descriptors"] = np.ones((256, 2), dtype=np.float16)
        group["scores"], group["image_size"] = np.ones(2, dtype=np.float16), np.array([640, 480])
    back = read_features(tmp_path / "theirs.h5", "x.jpg")
    assert (back.descriptors.shape, back.descriptors.dtype) == ((2, 256), np.float32)
    assert (back.scales, back.angles, back.size) == (None, None, (640, 480))
    np.testing.assert_array_equal(back.keypoints, [[1.5, 2.5], [3, 4]])


def test_matches_as_hloc_reads_them_in_either_order(images: dict, tmp_path: Path) -> None:
    write_matches(tmp_path / "m.h5", images, {PAIR: ROWS}, {PAIR: [0.9, 0.5, 0.1]})
    with h5py.File(tmp_path / "m.h5") as file:
        partners = file["day-a.jpg/b.jpg/matches0"].__array__()
        np.testing.assert_array_equal(partners, [4, -1, -1, 1, -1, -1, -1, 0, -1])
        assert partners.dtype == np.int32
        np.testing.assert_allclose(file["day-a.jpg/b.jpg/matching_scores0"].__array__()[[0, 1, 3]], [0.9, 0, 0.5])
    rows, scores = read_matches(tmp_path / "m.h5", *PAIR)
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.1])
    np.testing.assert_array_equal(read_matches(tmp_path / "m.h5", *PAIR[::-1])[0], ROWS[:, ::-1])
    write_matches(tmp_path / "n.h5", images, {PAIR: ROWS[:0]})
    assert read_matches(tmp_path / "n.h5", *PAIR)[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("matches", "message"),
    [
        ({("day/a.jpg", "no.jpg"): ROWS}, "no features of no.jpg"),
        ({PAIR: ROWS + 3}, "rows beyond the 9 and 6 keypoints"),
        ({PAIR: np.array([[0, 1], [0, 2]])}, "a keypoint of day/a.jpg has two matches"),
        ({PAIR: ROWS, ("day-a.jpg", "b.jpg"): ROWS}, "rename an image"),
    ],
)
def test_what_hloc_cannot_hold_is_refused(matches: dict, message: str, images: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        write_matches(tmp_path / "m.h5", {**images, "day-a.jpg": images["day/a.jpg"]}, matches)
    assert list(tmp_path.iterdir()) == []


def test_pairs_one_a_line(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.txt", {PAIR: None, ("b.jpg", "c.jpg"): None})
    assert [line.split() for line in (tmp_path / "pairs.txt").read_text().splitlines()] == [
        list(PAIR),
        ["b.jpg", "c.jpg"],
    ]
    with pytest.raises(InputError, match="my image"):
        write_pairs(tmp_path / "pairs.txt", {("my image.jpg", "b.jpg"): None})


def test_bad_files_name_themselves(images: dict, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    write_features(tmp_path / "f.h5", images)
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["x/keypoints"] = np.zeros((3, 2))
        file["y/keypoints"], file["y/image_size"] = np.zeros((3, 2)), [4, 4]
        file["y/descriptors"] = np.zeros((3, 8))
    for name, image, message in (
        ("text.h5", "a", "text.h5: cannot be read as HDF5"),
        ("missing.h5", "a", "missing.h5: cannot be read"),
        ("f.h5", "no.jpg", "f.h5: no image no.jpg"),
        ("odd.h5", "x", "x has no descriptors"),
        ("odd.h5", "y", r"descriptors \(3, 8\)"),
    ):
        with pytest.raises(InputError, match=message):
            read_features(tmp_path / name, image)
    with pytest.raises(InputError, match=r"no pair day/a.jpg and b.jpg"):
        read_matches(tmp_path / "f.h5", *PAIR)
