"""COLMAP projects to a PatchSet: a patch at every observation of every track."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.colmap import ColmapImage, ColmapProject, read_project
from tiepoint.errors import InputError
from tiepoint.features.extract import extract
from tiepoint.patches import PatchSet
from tiepoint.types import Progress, tracked


def build_colmap(
    projects: Sequence[str | Path],
    out: str | Path,
    *,
    support: float = 12.0,
    margin: float = 1.75,
    licence: str = "unknown",
    workers: int = 2,
    progress: Progress | None = None,
) -> PatchSet:
    """Cut a patch at every observation of the projects' tracks and write them as a PatchSet.

    Point ids are numbered through all projects, so points of different projects never share one. Images are read in
    `workers` threads, one image each: memory stays bounded by a few images and their patches.

    `out` must not exist. `support` is the width of the patch that a describer sees, in sigmas, and `margin` the stored
    width over it; more than 1 leaves room to turn, shift and scale patches in training. `progress` is called with
    (images done, images in all).

    Raises InputError for no project, one twice, one that cannot be read, no observations, or images that are of several
    depths, of 32 bits, or not of the size that the model was made from.
    """
    if not projects:
        raise InputError("give at least one project: a folder with images/, sparse/*.bin and database.db")
    if workers < 1:
        raise InputError(f"workers is {workers}, must be at least 1")
    opened = [read_project(project) for project in projects]
    for index, project in enumerate(opened):
        if any(project.directory.samefile(other.directory) for other in opened[:index]):
            raise InputError(f"{project.directory} is given twice: its points would match themselves")
    jobs = [(project, image) for project in opened for image in project.images if len(image.points)]
    total = sum(len(image.points) for _, image in jobs)
    if not total:
        raise InputError(f"{', '.join(map(str, projects))}: no observations: the sparse model is empty")
    for project, image in jobs:  # before hours of work, not after
        if not project.path(image).is_file():
            raise InputError(f"{project.path(image)}: no such file: the model uses this image")
    bases = _point_bases(opened)
    dtype = jobs[0][0].read_image(jobs[0][1]).dtype
    provenance = {
        "builder": "tiepoint data colmap",
        "projects": [{"name": p.name, "images": len(p.images), "observations": p.observations} for p in opened],
        "sampling": {"size": 64, "interpolation": "bilinear from a Gaussian pyramid", "border": "replicate"},
    }

    def cut(job: tuple[ColmapProject, ColmapImage]) -> NDArray[Any]:
        project, image = job
        pixels, frames = project.read_image(image), project.frames(image)
        path = project.path(image)
        if pixels.dtype != dtype:
            raise InputError(f"{path} is {pixels.dtype}, the first image {dtype}: give all images in one depth")
        size = np.array(pixels.shape[::-1])
        if (np.abs(2 * frames[:, :, 2] - (size - 1)) > size + 2).any():
            raise InputError(f"{path}: keypoints lie beyond its borders: give the image in the size that COLMAP saw")
        return extract(pixels, frames, support=support * margin)

    with PatchSet.create(
        out, total, dtype=dtype, support=support, margin=margin, provenance=provenance, licence=licence
    ) as writer, ThreadPoolExecutor(workers) as pool:  # fmt: skip
        cuts = zip(jobs, _ordered(pool, cut, jobs, 2 * workers), strict=True)
        for (project, image), patches in tracked(cuts, progress, len(jobs)):
            ids, first = bases[project.directory]
            writer.append(patches, f"{project.name}/{image.name}", points=first + np.searchsorted(ids, image.points))
    return PatchSet.open(out)


def _point_bases(projects: Sequence[ColmapProject]) -> dict[Path, tuple[NDArray[np.int64], int]]:
    """For each project COLMAP's point ids, sorted, and the id of the first of them in the PatchSet."""
    bases, first = {}, 0
    for project in projects:
        ids = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(image.points for image in project.images)]))
        bases[project.directory] = ids, first
        first += len(ids)
    return bases


def _ordered(pool: ThreadPoolExecutor, work: Callable[[Any], Any], jobs: Sequence[Any], ahead: int) -> Iterator[Any]:
    """Results in the order of `jobs`, with at most `ahead` of them computed or waiting."""
    source = iter(jobs)
    pending = [pool.submit(work, job) for job in islice(source, ahead)]
    while pending:
        yield pending.pop(0).result()
        pending += [pool.submit(work, job) for job in islice(source, 1)]
