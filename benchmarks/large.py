"""Register a made-up pair of large images with known truth in a process of its own: seconds, memory, corner error.

    python benchmarks/large.py [--size 20000] [--describer auto] [--tile 2048] [--folder DIR]

Both images are square, 8 bit and written block by block as tiled GeoTIFF: noise of seven wavelengths from 3 to 1,500
px. The second one shows it through a known affinity, as another sensor would: dark for bright, other contrasts at other
wavelengths, a texture of its own over it, and noise. The corner error is the mean distance of the four mapped corners
from the truth. Twice size x size bytes are written into the folder, and removed. Needs rasterio.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from children import call

from tiepoint.cli.output import emit_table, progress_bar

WAVELENGTHS = (3, 7, 18, 50, 150, 450, 1500)  # px
FIRST, SECOND = (3, 6, 8, 9, 9, 8, 8), (-4, -5, -9, -6, -10, -12, 5)  # grey values, of each wavelength in each image
OWN, NOISE = 4.0, 5.0  # grey values, of what one image alone shows
LATTICE = 512  # nodes a side, after which a noise repeats itself
BLOCK = 1024


def truth(size: int) -> np.ndarray:
    """The affinity (3, 3) from the first image to the second: 4 degrees, 3 % smaller, sheared, shifted by 4 %."""
    cos, sin = 0.97 * np.cos(np.deg2rad(4)), 0.97 * np.sin(np.deg2rad(4))
    return np.array([[cos, sin, -0.01 * size], [-sin, 1.01 * cos, 0.04 * size], [0, 0, 1]])


def write_pair(folder: Path, size: int, matrix: np.ndarray) -> None:
    import rasterio

    from tiepoint.images.geo import quiet

    lattices = np.random.default_rng(0).normal(size=(len(WAVELENGTHS) + 2, LATTICE, LATTICE)).astype(np.float32)
    profile = {"driver": "GTiff", "count": 1, "height": size, "width": size, "dtype": "uint8", "tiled": True,
               "blockxsize": 512, "blockysize": 512}  # fmt: skip
    steps = [(y, x) for y in range(0, size, BLOCK) for x in range(0, size, BLOCK)]
    settings = (("a.tif", np.eye(3), FIRST), ("b.tif", np.linalg.inv(matrix), SECOND))
    for number, (name, back, strengths) in enumerate(settings):
        random = np.random.default_rng(number)
        with (
            quiet(rasterio), rasterio.open(folder / name, "w", **profile) as file,
            progress_bar(f"writing {name}") as advance,
        ):  # fmt: skip
            for done, (top, left) in enumerate(steps, 1):
                y, x = np.mgrid[top : min(top + BLOCK, size), left : min(left + BLOCK, size)].astype(np.float64)
                u, v = (row[0] * x + row[1] * y + row[2] for row in back[:2])
                grey = 128 + NOISE * random.normal(size=x.shape) + OWN * noise(lattices[-1 - number], u, v, 5.0)
                for lattice, wavelength, strength in zip(lattices, WAVELENGTHS, strengths, strict=False):
                    grey += strength * noise(lattice, u, v, wavelength)
                place = ((top, top + x.shape[0]), (left, left + x.shape[1]))
                file.write(np.rint(grey).clip(0, 255).astype(np.uint8), 1, window=place)
                advance(done, len(steps))


def noise(lattice: np.ndarray, u: np.ndarray, v: np.ndarray, wavelength: float) -> np.ndarray:
    """Smooth noise at the places (u, v), of the lattice's nodes half a wavelength apart."""
    maps = [np.mod(2 * part / wavelength, LATTICE).astype(np.float32) for part in (u, v)]
    return cv2.remap(lattice, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)


def work(folder: Path, describer: str, tile: int) -> None:
    """Register the pair and print what it took as JSON."""
    from tiepoint.geometry.robust import corner_error
    from tiepoint.images.raster import open_image
    from tiepoint.registration.register import register

    began = time.perf_counter()
    with progress_bar("registering") as advance:
        a, b = folder / "a.tif", folder / "b.tif"
        found = register(a, b, describer, large="always", tile=tile, progress=advance)
    seconds = time.perf_counter() - began
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS and in KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**30
    with open_image(folder / "a.tif") as image:
        height, width = image.shape
    error = None if found.matrix is None else corner_error(found.matrix, truth(width), width, height)
    print(json.dumps({
        "seconds": seconds, "peak": peak, "error": error, "accepted": found.accepted, "reasons": found.reasons,
        "confidence": found.confidence, "model": found.model, "places": found.evidence.places,
        "support": found.evidence.support,
    }))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--describer", default="auto")
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--folder", type=Path, help="where there is room; the system's folder for temporary files")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.describer, options.tile)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write_pair(Path(folder), options.size, truth(options.size))
        row = call(__file__, ["--worker", folder, "--describer", options.describer, "--tile", options.tile])
    title = f"Registering {options.size:,} x {options.size:,} px, {options.describer}, tiles of {options.tile} px"
    columns = ("verdict", "confidence", "corner error, px", "seconds", "peak memory, GiB", "model", "places", "support")
    error = "-" if row["error"] is None else f"{row['error']:.3f}"
    verdict = "accepted" if row["accepted"] else "; ".join(row["reasons"])
    figures = (f"{row['confidence']:.4f}", error, f"{row['seconds']:.1f}", f"{row['peak']:.2f}")
    emit_table(title, columns, [(verdict, *figures, row["model"], str(row["places"]), f"{row['support']:.2f}")])


if __name__ == "__main__":
    main()
