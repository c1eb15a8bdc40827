from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from numpy.typing import NDArray
from synthetic import NO_POINT, SyntheticScene, colmap_project

from tiepoint.data.builders.colmap import build_colmap
from tiepoint.data.readers.colmap import read_project
from tiepoint.errors import InputError
from tiepoint.features.extract import extract
from tiepoint.features.frames import angles, sigmas
from tiepoint.patches import PatchSet


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return colmap_project(tmp_path_factory.mktemp("scene") / "plane", points=60, cameras=3)


@pytest.fixture
def project(scene: SyntheticScene, tmp_path: Path) -> Path:
    """A copy of the scene's project that a test may break."""
    return Path(shutil.copytree(scene.directory, tmp_path / "in" / "plane"))


def change_keypoints(directory: Path, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    """Replace each table of keypoints (N, 6) by `change` of it."""
    database = sqlite3.connect(directory / "database.db")
    with database:
        for image, data in database.execute("SELECT image_id, data FROM keypoints").fetchall():
            table = change(np.frombuffer(data, dtype=np.float32).reshape(-1, 6)).astype(np.float32)
            row = (*table.shape, table.tobytes(), image)
            database.execute("UPDATE keypoints SET rows = ?, cols = ?, data = ? WHERE image_id = ?", row)
    database.close()


def execute(directory: Path, *statements: str) -> None:
    database = sqlite3.connect(directory / "database.db")
    with database:
        for statement in statements:
            database.execute(statement)
    database.close()


def correlations(data: PatchSet) -> NDArray[np.float64]:
    """The lowest correlation within each point's patches."""
    flat = data.patches.reshape(len(data), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    tracks = [flat[data.points == point] for point in np.unique(data.points)]
    return np.array([(track @ track.T).min() for track in tracks])


def test_reading_gives_the_frames_and_tracks_that_were_written(scene: SyntheticScene) -> None:
    project = read_project(scene.directory)
    assert [image.name for image in project.images] == ["view0.png", "view1.png", "view2.png"]
    assert project.observations == 180
    for image, track, frames in zip(project.images, scene.tracks, scene.frames, strict=True):
        np.testing.assert_array_equal(image.points, track + 1)
        np.testing.assert_allclose(project.frames(image), frames, atol=2e-5)  # float32 in the database
        assert (image.keypoints % 3 != 2).all()
        assert project.read_image(image).shape == (240, 320)
    positions = project.positions()
    assert sorted(positions) == list(range(1, 61))
    np.testing.assert_array_equal([positions[k + 1] for k in range(60)], scene.points)


def test_frames_and_tracks_are_those_that_colmap_reads(scene: SyntheticScene) -> None:
    project, model = read_project(scene.directory), pycolmap.Reconstruction(scene.directory / "sparse")
    tracks: dict[int, set[tuple[int, int]]] = {}
    for image in project.images:
        theirs = model.images[image.image_id]
        assert theirs.name == image.name
        pose = theirs.cam_from_world() if callable(theirs.cam_from_world) else theirs.cam_from_world
        np.testing.assert_allclose(pose.rotation.matrix(), image.rotation, atol=1e-12)
        np.testing.assert_allclose(pose.translation, image.translation)
        corners = np.array([theirs.points2D[k].xy for k in image.keypoints.tolist()])
        np.testing.assert_allclose(project.frames(image)[:, :, 2] + 0.5, corners, atol=2e-5)
        for keypoint, point in zip(image.keypoints.tolist(), image.points.tolist(), strict=True):
            tracks.setdefault(point, set()).add((image.image_id, keypoint))
    assert tracks == {
        point: {(e.image_id, e.point2D_idx) for e in theirs.track.elements} for point, theirs in model.points3D.items()
    }


@pytest.mark.parametrize("margin", [1.0, 1.75])
def test_patches_stand_in_order_and_look_alike_within_a_point(
    scene: SyntheticScene, tmp_path: Path, margin: float
) -> None:
    steps: list[tuple[int, int]] = []
    data = build_colmap(
        [scene.directory], tmp_path / "set", margin=margin, licence="CC0", progress=lambda *s: steps.append(s)
    )
    assert data.patches.shape == (180, 1, 64, 64)
    assert data.image_names == ["plane/view0.png", "plane/view1.png", "plane/view2.png"]
    np.testing.assert_array_equal(data.images, np.repeat([0, 1, 2], 60))
    np.testing.assert_array_equal(data.points, np.concatenate(scene.tracks))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert (data.support, data.margin, data.manifest["licence"]) == (12.0, margin, "CC0")
    assert data.manifest["provenance"]["projects"] == [{"name": "plane", "images": 3, "observations": 180}]
    assert data.manifest["counts"] == {"patches": 180, "points": 60, "images": 3}
    assert correlations(data).min() > 0.8
    image = cv2.imread(str(scene.directory / "images" / "view1.png"), cv2.IMREAD_GRAYSCALE)
    expected = extract(image, scene.frames[1], support=12 * margin)
    assert np.abs(data.patches[60:120].astype(int) - expected).max() <= 1
    PatchSet.open(tmp_path / "set", verify=True)


def test_patches_depend_on_the_workers_in_nothing(scene: SyntheticScene, tmp_path: Path) -> None:
    one, three = (build_colmap([scene.directory], tmp_path / f"set{n}", workers=n) for n in (1, 3))
    assert one.manifest == three.manifest


def test_points_are_never_shared_between_projects(scene: SyntheticScene, tmp_path: Path) -> None:
    other = colmap_project(tmp_path / "other", points=30, cameras=2, seed=1)
    data = build_colmap([scene.directory, other.directory], tmp_path / "set", margin=1.0)
    np.testing.assert_array_equal(data.points, np.concatenate([*scene.tracks, *(60 + t for t in other.tracks)]))
    assert data.image_names == [f"plane/view{k}.png" for k in range(3)] + [f"other/view{k}.png" for k in range(2)]
    assert data.manifest["counts"] == {"patches": 240, "points": 90, "images": 5}
    assert correlations(data).min() > 0.8


def test_a_project_without_observations_is_left_out(scene: SyntheticScene, project: Path, tmp_path: Path) -> None:
    (project / "sparse" / "images.bin").write_bytes(struct.pack("<Q", 0))
    data = build_colmap([project, scene.directory], tmp_path / "set")
    assert len(data) == 180
    with pytest.raises(InputError, match="no observations: the sparse model is empty"):
        build_colmap([project], tmp_path / "other")


def test_four_columns_are_scale_and_orientation(project: Path, tmp_path: Path) -> None:
    before = read_project(project)
    frames = [before.frames(image) for image in before.images]

    def reduce(table: NDArray[np.float32]) -> NDArray[np.float32]:
        scale = np.hypot(table[:, 2], table[:, 4])
        return np.column_stack([table[:, :2], scale, np.arctan2(table[:, 4], table[:, 2])])

    change_keypoints(project, reduce)
    for image, six in zip(before.images, frames, strict=True):
        four = read_project(project).frames(image)
        np.testing.assert_allclose(four[:, :, 2], six[:, :, 2], atol=1e-6)
        np.testing.assert_allclose(four[:, :, 0], six[:, :, 0], atol=1e-5)
        np.testing.assert_allclose(angles(four), angles(six), atol=1e-5)
        np.testing.assert_allclose(sigmas(four), np.linalg.norm(six[:, :, 0], axis=1), atol=1e-5)
    assert correlations(build_colmap([project], tmp_path / "set", margin=1.0)).min() > 0.6


def test_the_model_may_lie_in_sparse_0(scene: SyntheticScene, project: Path, tmp_path: Path) -> None:
    shutil.move(project / "sparse", tmp_path / "0")
    (project / "sparse").mkdir()
    shutil.move(tmp_path / "0", project / "sparse" / "0")
    flat, nested = build_colmap([scene.directory], tmp_path / "flat"), build_colmap([project], tmp_path / "nested")
    assert flat.manifest == nested.manifest
    assert len(read_project(project).positions()) == 60


def test_a_point_twice_in_an_image_keeps_both_observations(project: Path, tmp_path: Path) -> None:
    path = project / "sparse" / "images.bin"
    content = path.read_bytes()
    free = content.index(struct.pack("<Q", NO_POINT), content.index(b"view0.png") + 18)
    path.write_bytes(content[:free] + struct.pack("<Q", 7) + content[free + 8 :])

    def copy(table: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.where(np.arange(len(table))[:, None] % 3 == 2, np.roll(table, 1, axis=0), table)

    change_keypoints(project, copy)
    first = read_project(project).images[0]
    assert (first.points == 7).sum() == 2
    data = build_colmap([project], tmp_path / "set")
    assert len(data) == 181
    assert ((data.points == 6) & (data.images == 0)).sum() == 2
    assert data.manifest["counts"] == {"patches": 181, "points": 60, "images": 3}


@pytest.mark.parametrize("name", ["with space", "100%#?&", "ünï"])
def test_any_folder_name_will_do(scene: SyntheticScene, tmp_path: Path, name: str) -> None:
    shutil.copytree(scene.directory, tmp_path / name)
    assert build_colmap([tmp_path / name], tmp_path / "set").image_names[0] == f"{name}/view0.png"


def test_the_current_folder_is_called_by_its_name(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert build_colmap(["."], tmp_path / "set").image_names[0] == "plane/view0.png"


def test_databases_are_closed(scene: SyntheticScene) -> None:
    project = read_project(scene.directory)
    gc.disable()
    try:
        for image in project.images:
            project.frames(image)
        held = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.exists()] if Path("/proc").exists() else []
    finally:
        gc.enable()
    assert not any(name.endswith("plane/database.db") for name in held)


def test_a_log_that_was_not_merged_is_read(project: Path, scene: SyntheticScene) -> None:
    execute(project, "PRAGMA journal_mode=WAL")
    model = read_project(project)
    colmap = sqlite3.connect(project / "database.db")  # as COLMAP at work: its changes stay in the log
    with colmap:
        colmap.execute("UPDATE images SET name = 'renamed.png' WHERE image_id = 1")
    assert (project / "database.db-wal").stat().st_size > 0
    with pytest.raises(InputError, match=r"no keypoints for view0\.png"):
        model.frames(model.images[0])
    np.testing.assert_allclose(model.frames(model.images[1]), scene.frames[1], atol=2e-5)
    colmap.close()


def test_a_read_only_folder_is_read(project: Path, scene: SyntheticScene) -> None:
    """As root the rights stop nothing; then `test_reading_changes_nothing` is the one that tells."""
    execute(project, "PRAGMA journal_mode=WAL")
    project.chmod(0o555)
    try:
        model = read_project(project)
        np.testing.assert_allclose(model.frames(model.images[0]), scene.frames[0], atol=2e-5)
    finally:
        project.chmod(0o755)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_reading_changes_nothing(project: Path, tmp_path: Path, journal: str) -> None:
    execute(project, f"PRAGMA journal_mode={journal}")
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in project.rglob("*")}
    build_colmap([project], tmp_path / "set")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in project.rglob("*")} == before


def test_sixteen_bits_stay_sixteen_bits(project: Path, tmp_path: Path) -> None:
    for path in (project / "images").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16) * 257)
    deep = build_colmap([project], tmp_path / "deep").patches
    assert deep.dtype == np.uint16
    assert len(np.unique(deep)) > 256  # interpolation uses the depth


def damage(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def without(table: str) -> Callable[[Path], None]:
    return lambda p: execute(p, f"DROP TABLE {table}")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no images": (lambda p: shutil.rmtree(p / "images"), r"plane/images is missing"),
    "no database": (lambda p: (p / "database.db").unlink(), r"database\.db is missing"),
    "no model": (lambda p: shutil.rmtree(p / "sparse"), r"sparse/images\.bin is missing"),
    "no project": (shutil.rmtree, r"plane is missing or not a folder: name a COLMAP project"),
    "empty model": (lambda p: damage(p / "sparse/images.bin", b""), r"images\.bin is truncated or not a COLMAP model"),
    "text as model": (
        lambda p: damage(p / "sparse/images.bin", b"x" * 500),
        r"images\.bin is truncated or not a COLMAP",
    ),
    "image gone": (lambda p: (p / "images/view1.png").unlink(), r"view1\.png: no such file"),
    "no image": (lambda p: damage(p / "images/view1.png", b"hello"), r"view1\.png: truncated or not an image"),
    "half an image": (
        lambda p: damage(p / "images/view1.png", (p / "images/view1.png").read_bytes()[:3000]),
        r"view1\.png: is truncated or damaged",
    ),
    "other size": (
        lambda p: cv2.imwrite(str(p / "images/view1.png"), np.zeros((120, 160), np.uint8)),
        r"view1\.png: keypoints lie beyond its borders",
    ),
    "16 bits": (
        lambda p: cv2.imwrite(str(p / "images/view1.png"), np.zeros((240, 320), np.uint16)),
        r"view1\.png is uint16, the first image uint8: give all images in one depth",
    ),
    "no scale": (lambda p: change_keypoints(p, lambda t: t[:, :2]), r"database\.db: .* no scale \(2 columns\)"),
    "few keypoints": (lambda p: change_keypoints(p, lambda t: t[:50]), r"database\.db: view0\.png has 50 keypoints"),
    "NaN": (lambda p: change_keypoints(p, lambda t: t * np.float32(np.nan)), r"database\.db: .* hold NaN"),
    "short blob": (
        lambda p: execute(p, "UPDATE keypoints SET rows = rows + 1"),
        r"database\.db: keypoints of view0\.png are damaged",
    ),
    "no blob": (lambda p: execute(p, "UPDATE keypoints SET data = NULL"), r"database\.db: .* are damaged: 0 bytes"),
    "image unknown": (
        lambda p: execute(p, "DELETE FROM images WHERE image_id = 2"),
        r"database\.db: no keypoints for view1\.png: give the database",
    ),
    "no table": (without("keypoints"), r"database\.db cannot be read \(no such table: keypoints\)"),
    "no database file": (
        lambda p: damage(p / "database.db", b"x" * 5000),
        r"database\.db cannot be read \(file is not",
    ),
    "database is a folder": (
        lambda p: [(p / "database.db").unlink(), (p / "database.db").mkdir()],
        r"database\.db is missing",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_project_is_an_input_error_that_names_the_file(project: Path, tmp_path: Path, kind: str) -> None:
    change, message = BROKEN[kind]
    change(project)
    with pytest.raises(InputError, match=message):
        build_colmap([project], tmp_path / "out" / "set")
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_model_truncated_anywhere_is_an_input_error(project: Path) -> None:
    path = project / "sparse" / "images.bin"
    content = path.read_bytes()
    for size in [*range(0, 120, 7), *range(120, len(content) - 1, 401), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"images\.bin is truncated or not a COLMAP model"):
            read_project(project)


def test_points_truncated_anywhere_are_an_input_error(project: Path) -> None:
    path = project / "sparse" / "points3D.bin"
    model, content = read_project(project), path.read_bytes()
    for size in [0, 7, 8, 30, 60, len(content) // 2, len(content) - 30, len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"points3D\.bin is truncated or not a COLMAP model"):
            model.positions()
    path.unlink()
    with pytest.raises(InputError, match=r"points3D\.bin is missing"):
        model.positions()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": 0.5}, "margin is 0.5, must be at least 1"),
        ({"margin": float("nan")}, "margin is nan"),
        ({"support": 0.0}, "support is 0, must be more than 0"),
        ({"support": -1.0}, "support is -1"),
        ({"workers": 0}, "workers is 0, must be at least 1"),
    ],
)
def test_settings_are_checked_before_any_work(
    scene: SyntheticScene, tmp_path: Path, options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_colmap([scene.directory], tmp_path / "set", **options)
    assert list(tmp_path.iterdir()) == []


def test_projects_are_given_once_and_at_least_one(scene: SyntheticScene, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give at least one project"):
        build_colmap([], tmp_path / "set")
    (tmp_path / "link").symlink_to(scene.directory)
    for again in (scene.directory, tmp_path / "link", scene.directory / ".." / "plane"):
        with pytest.raises(InputError, match="is given twice"):
            build_colmap([scene.directory, again], tmp_path / "set")
    assert not (tmp_path / "set").exists()


def as_text(project: Path) -> None:
    """Write the model as COLMAP does, and keep nothing of the binary one."""
    pycolmap.Reconstruction(project / "sparse").write_text(project / "sparse")
    for path in (project / "sparse").glob("*.bin"):
        path.unlink()


def test_a_model_of_text_is_that_of_the_binary_files(scene: SyntheticScene, project: Path) -> None:
    as_text(project)
    binary, text = read_project(scene.directory), read_project(project)
    for one, other in zip(binary.images, text.images, strict=True):
        assert (one.image_id, one.name) == (other.image_id, other.name)
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_allclose(one.rotation, other.rotation, atol=1e-12)
        np.testing.assert_allclose(one.translation, other.translation)
    before, after = binary.positions(), text.positions()
    assert before.keys() == after.keys()
    np.testing.assert_allclose([before[k] for k in before], [after[k] for k in before])


def test_broken_text_names_its_line(project: Path) -> None:
    as_text(project)
    path = project / "sparse" / "images.txt"
    path.write_bytes(b"\xef\xbb\xbf# text\r\n1 1 0 0 0 0 0 0 1 view 0.png\r\n\r\n")
    assert [(image.name, len(image.points)) for image in read_project(project).images] == [("view 0.png", 0)]
    for text in ("1 1 0 0 0 0 0 0 1\n\n", "1 1 0 0 0 0 0 0 1 a.png\n1 2\n", "x 1 0 0 0 0 0 0 1 a.png\n1 2 3\n"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"images\.txt is truncated or not a COLMAP model"):
            read_project(project)
    (project / "sparse" / "points3D.txt").write_text("1 2 3\n")
    path.write_text("")
    with pytest.raises(InputError, match=r"points3D\.txt is truncated or not a COLMAP model \(line 1"):
        read_project(project).positions()


def test_models_of_one_database_are_all_read_and_share_no_points(project: Path, tmp_path: Path) -> None:
    """COLMAP writes sparse/0, sparse/1 ... of images that it cannot join; here both hold all, but one view0 less."""
    before = read_project(project)
    one = before.positions()
    shutil.move(project / "sparse", tmp_path / "whole")
    for number in ("0", "1"):
        shutil.copytree(tmp_path / "whole", project / "sparse" / number)
    path = project / "sparse" / "0" / "images.bin"
    content = path.read_bytes()
    seen = content.index(struct.pack("<Q", int(before.images[0].points[0])), content.index(b"view0.png") + 18)
    path.write_bytes(content[:seen] + struct.pack("<Q", NO_POINT) + content[seen + 8 :])
    both = read_project(project)
    assert [image.name for image in both.images] == [image.name for image in before.images]
    np.testing.assert_array_equal(both.images[0].points, before.images[0].points + 61)  # of sparse/1, which has more
    np.testing.assert_array_equal(both.images[1].points, before.images[1].points)
    all_positions = both.positions()
    assert sorted(all_positions) == sorted([*one, *(point + 61 for point in one)])
    np.testing.assert_array_equal(all_positions[62], one[1])


def test_an_images_name_need_not_be_utf8(project: Path) -> None:
    name = os.fsdecode(b"caf\xe90.png")
    path = project / "sparse" / "images.bin"
    path.write_bytes(path.read_bytes().replace(b"view0.png", os.fsencode(name)))
    (project / "images" / "view0.png").rename(project / "images" / name)
    database = sqlite3.connect(project / "database.db")
    with database:
        database.execute("UPDATE images SET name = CAST(? AS TEXT) WHERE image_id = 1", (os.fsencode(name),))
    database.close()
    model = read_project(project)
    image = next(image for image in model.images if image.name == name)
    assert model.frames(image).shape == (60, 2, 3)
    assert model.read_image(image).shape == (240, 320)
