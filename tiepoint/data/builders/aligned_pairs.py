"""Pairs of images across two spectra on disk: a folder of them by their names, or a table; and their transforms."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiepoint.errors import InputError
from tiepoint.names import read_cells, walk
from tiepoint.parsed import MAX_RECIPE_BYTES, read_text
from tiepoint.types import Matrix

COLUMNS = ("first", "second", "transform", "category")


@dataclass(frozen=True)
class ScenePair:
    """Two images of one scene: its name "category/id", their paths, and the matrix (3, 3) from first to second.

    The matrix maps a pixel (x, y, 1), pixel centres at integers, and is the identity for aligned images. Its factor,
    even a negative one, means nothing: see `facing`.
    """

    name: str
    first: Path
    second: Path
    matrix: Matrix
    aligned: bool


def find_scenes(source: str | Path, spectra: tuple[str, str]) -> list[ScenePair]:
    """List the pairs of a folder, by name, or of a table, in its order.

    A folder, searched with all its subfolders: ID_<first>.* beside ID_<second>.*, such as 0001_vis.jpg and
    0001_nir.jpg, and where the images are not aligned ID_<first>_to_<second>.txt with the nine numbers of the matrix,
    or that of the way back as ID_<second>_to_<first>.txt. The category is the name of the subfolder. A table (.csv) has
    the columns first and second, and if wanted transform (a file of the matrix) and category, with paths relative to
    the table; a scene is named by the path of its first image.

    Raises InputError for no pairs, an image without its partner, a transform without images, an image in two pairs, a
    missing file or column, or something that is not a matrix.
    """
    source = Path(source)
    if source.is_dir():
        scenes = _of_folder(source, spectra)
    elif source.suffix.lower() == ".csv" and source.is_file():
        scenes = _of_table(source)
    else:
        raise InputError(f"{source}: no such folder or table: give a folder of images or a .csv file")
    seen: dict[str, ScenePair] = {}
    for scene in scenes:
        if (other := seen.setdefault(scene.name, scene)) is not scene:
            raise InputError(f"{source}: {other.first} and {scene.first} would both be {scene.name}: rename one")
    return scenes


def read_matrix(path: Path) -> Matrix:
    """Read nine numbers, rows of a 3x3 matrix that can be inverted. Raises InputError that names the file."""
    try:
        words = read_text(path, MAX_RECIPE_BYTES, "must hold a 3x3 matrix").replace(",", " ").split()
        values = [float(word) for word in words]
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: {error}: must hold the nine numbers of a 3x3 matrix") from None
    if len(values) != 9 or not np.isfinite(values).all():
        raise InputError(f"{path}: holds {len(values)} numbers or not finite ones: must be a 3x3 matrix")
    matrix = np.array(values).reshape(3, 3)
    if np.linalg.matrix_rank(matrix) < 3:
        raise InputError(f"{path}: the matrix cannot be inverted")
    return matrix


def facing(matrix: Matrix, shape: Sequence[int], name: str | Path) -> Matrix:
    """A homography scaled so that the centre of the first image, of `shape` (..., H, W), lies before the horizon.

    Raises InputError, which calls the homography `name`, if the centre is mapped to infinity.
    """
    depth = float(matrix[2] @ [(shape[-1] - 1) / 2, (shape[-2] - 1) / 2, 1])
    if depth == 0:
        raise InputError(f"{name}: the matrix maps the first image's centre to infinity")
    return matrix / depth


def _of_folder(root: Path, spectra: tuple[str, str]) -> list[ScenePair]:
    one, two = spectra
    endings = (f"_{one}", f"_{two}", f"_{one}_to_{two}", f"_{two}_to_{one}")  # of images, then of transforms
    found: list[dict[tuple[Path, str], list[Path]]] = [{} for _ in endings]
    for path in sorted(walk(root)):
        for number, (ending, named) in enumerate(zip(endings, found, strict=True)):
            fits = path.stem.endswith(ending) and (path.suffix.lower() == ".txt") == (number > 1)
            if fits and not path.name.startswith(".") and path.is_file():
                named.setdefault((path.parent, path.stem.removesuffix(ending)), []).append(path)
    firsts, seconds, *ways = found
    scenes = []
    for (folder, stem), owners in sorted(firsts.items()):
        partners = seconds.pop((folder, stem), [])
        for spectrum, files in ((one, owners), (two, partners)):
            if len(files) != 1:
                raise InputError(f"{owners[0]}: there are {len(files)} files {stem}_{spectrum}.*, must be one")
        there, back = (files.pop((folder, stem), []) for files in ways)
        if there and back:
            raise InputError(f"{there[0]}: there is {back[0].name} too: keep one of them")
        matrix = read_matrix((there or back)[0]) if there or back else np.eye(3)
        matrix = np.asarray(np.linalg.inv(matrix), dtype=np.float64) if back else matrix
        category = folder.relative_to(root).as_posix()
        name = stem if category == "." else f"{category.replace('/', '-')}/{stem}"
        scenes.append(ScenePair(name, owners[0], partners[0], matrix, not (there or back)))
    for left, missing in ((seconds, f"image of {one}"), *((files, "images") for files in ways)):
        if left:
            raise InputError(f"{min(left.values())[0]}: has no {missing} beside it: rename or remove it")
    if not scenes:
        raise InputError(f"{root}: holds no images named ID_{one}.* and ID_{two}.*: name the spectra with --spectra")
    return scenes


def _of_table(table: Path) -> list[ScenePair]:
    scenes: list[ScenePair] = []
    seen: dict[Path, int] = {}
    for line, row in _rows(table):
        first, second = (table.parent / row[side] for side in ("first", "second"))
        for path in (first, second):
            if not path.is_file():
                raise InputError(f"{table}: line {line} names {path}, which is not a file")
            # Of two scenes, a point that one image shows in both would be a non-match of itself.
            before = seen.setdefault(path.resolve(), line)
            if before != line or first.resolve() == second.resolve():
                again = f"and line {before} name" if before != line else "names"
                raise InputError(f"{table}: line {line} {again} {path} twice: an image belongs to one pair")
        transform = row.get("transform", "")
        matrix = read_matrix(table.parent / transform) if transform else np.eye(3)
        parts = Path(row["first"]).with_suffix("").parts
        stem = "-".join(part for part in parts if part.strip("/\\."))
        category = row.get("category", "").replace("/", "-")
        scenes.append(ScenePair(f"{category}/{stem}" if category else stem, first, second, matrix, not transform))
    if not scenes:
        raise InputError(f"{table}: names no pairs")
    return scenes


def _rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Lines of a table: their numbers, and column -> text."""
    lines = read_cells(table, "give a table with the columns first and second")
    header = lines[0][1] if lines else []
    if not {"first", "second"} <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        needed = "must have first and second, may have transform and category, each once"
        raise InputError(f"{table}: has the columns {', '.join(header) or 'none'}: {needed}")
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            needed = f"{len(header)}: {','.join(header)}"
            raise InputError(f"{table}: line {number} has {len(cells)} cells, must be {needed}")
    return [(number, dict(zip(header, cells, strict=True))) for number, cells in lines[1:]]
