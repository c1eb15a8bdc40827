"""HPatches: strips of patches of planar or relit scenes (Balntas et al., CVPR 2017), read from a folder or the zip.

    i_<name>/ or v_<name>/    a sequence: six images under changing light (i) or from changing viewpoints (v)
        ref.png               patches of the reference image, 65 px wide, one below the other
        e1.png ... e5.png     the same patches of the five other images, frames with easy noise
        h1.png ... t5.png     with hard and with tough noise

Patch k of every strip of a sequence shows one point.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.data.fetching.archive import Archive
from tiepoint.errors import InputError
from tiepoint.images.header import check_size
from tiepoint.parsed import read_json
from tiepoint.patches import SIZE, PatchSet
from tiepoint.types import Progress, tracked

SIDE = 65
TARGETS = range(1, 6)
NOISES = {"e": "easy", "h": "hard", "t": "tough"}
STRIPS = ("ref", *(f"{noise}{target}" for noise in NOISES for target in TARGETS))
_PNG_HEADER = 24  # bytes up to the image's height


class HPatches:
    """The strips of HPatches, or of a folder or zip `path` in its layout. Open one with `HPatches.open`.

    `counts` maps a sequence to the number of patches in each of its strips, in the order of the names.
    """

    def __init__(self, archive: Archive, folders: dict[str, str]) -> None:
        self.path = archive.path
        self._archive, self._folders, self._files = archive, folders, frozenset(archive.names)
        self.counts = {sequence: self._count(sequence) for sequence in sorted(folders)}

    @classmethod
    def open(cls, path: str | Path) -> HPatches:
        """Open a folder, or the zip as distributed, and check the size of every strip without decoding it.

        Raises InputError for no sequences, or a sequence with a strip that is missing, no PNG, not 65 px wide, of a
        height that is not a multiple of 65, or shorter or longer than the sequence's others.
        """
        archive = Archive(path)
        folders: dict[str, str] = {}
        for name in archive.names:
            folder, _, file = name.rpartition("/")
            sequence = folder.rpartition("/")[2]
            if not sequence.startswith(("i_", "v_")) or file not in {f"{strip}.png" for strip in STRIPS}:
                continue
            if folders.setdefault(sequence, folder) != folder:
                raise InputError(f"{path}: holds the sequence {sequence} twice: {folders[sequence]} and {folder}")
        if not folders:
            fault = "holds no strips such as i_name/ref.png"
            raise InputError(f"{path}: {fault}: give the patches of HPatches, not its images")
        return cls(archive, folders)

    @property
    def sequences(self) -> list[str]:
        """Names of the sequences, sorted."""
        return list(self.counts)

    def strip(self, sequence: str, name: str) -> NDArray[np.uint8]:
        """Patches (n, 65, 65) of the strip `name`: "ref", "e1" ... "e5", "h1" ... "h5", "t1" ... "t5".

        Raises InputError that names the sequence and the strip if there is none, or if it is damaged or of 16 bits.
        """
        if sequence not in self._folders or name not in STRIPS:
            raise InputError(f"{self.path}: holds no strip {name} of a sequence {sequence}")
        file = self._file(sequence, name)
        image = self._archive.read_grey(file)
        if image.dtype != np.uint8:
            raise InputError(f"{self._archive.label(file)}: grey values are {image.dtype}: strips are of 8 bits")
        return image.reshape(self.counts[sequence], SIDE, SIDE)

    def _file(self, sequence: str, strip: str) -> str:
        return f"{self._folders[sequence]}/{strip}.png"

    def _count(self, sequence: str) -> int:
        """Patches in a sequence, by the PNG headers of its strips."""
        count = 0
        for strip in STRIPS:  # the first is ref
            file = self._file(sequence, strip)
            label = self._archive.label(file)
            if file not in self._files:
                raise InputError(f"{label} is missing: a sequence has ref.png, e1.png to e5.png, h1.png ... and t5.png")
            header = self._archive.read(file, _PNG_HEADER)
            if len(header) < _PNG_HEADER or not header.startswith(b"\x89PNG"):
                raise InputError(f"{label}: is truncated or not a PNG: copy it again")
            width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
            if width != SIDE or height % SIDE or not height:
                raise InputError(f"{label}: is {width} x {height} pixels: a strip is 65 wide and a multiple of 65 high")
            check_size(width, height, label)
            count = count or height // SIDE
            if height // SIDE != count:
                raise InputError(f"{label}: has {height // SIDE} patches, ref.png {count}: copy the sequence again")
        return count


def build_hpatches(
    hpatches: HPatches,
    out: str | Path,
    sequences: Sequence[str] | None = None,
    *,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Write strips as a PatchSet, for training or for checks of pairs.

    Patches are reduced from 65 to 64 px by cv2.INTER_AREA: every pixel of the result is the mean over its 65/64 px of
    the source, so the content keeps its extent and its centre, which a crop would not, and nothing aliases. A point id
    stands for a patch of a sequence, an image id for a strip. The noise on the frames is part of the patches, so the
    margin is 1. `out` must not exist, `sequences` are all if None, and `progress` is called with (strips done, strips
    in all).

    Raises InputError for no sequences, an unknown one or one named twice, or a damaged strip.
    """
    chosen = hpatches.sequences if sequences is None else list(sequences)
    unknown = [name for name in chosen if name not in hpatches.counts]
    if unknown or not chosen:
        raise InputError(f"{hpatches.path}: {f'holds no sequence {unknown[0]}' if unknown else 'no sequences named'}")
    if len(set(chosen)) < len(chosen):
        raise InputError(f"{hpatches.path}: a sequence is named twice: its points would match themselves")
    jobs = [(sequence, strip) for sequence in chosen for strip in STRIPS]
    provenance = {
        "builder": "tiepoint data hpatches",
        "source": hpatches.path.name,
        "sequences": chosen,
        "reduction": "65 to 64 px by area",
        "support": "as the strips: the whole patch is the network's input",
    }
    total = sum(hpatches.counts[sequence] for sequence, _ in jobs)
    with PatchSet.create(out, total, provenance=provenance, licence=licence) as writer:
        bases = dict(zip(chosen, np.cumsum([0, *(hpatches.counts[s] for s in chosen)]).tolist(), strict=False))
        for sequence, strip in tracked(jobs, progress, len(jobs)):
            stored = hpatches.strip(sequence, strip)
            patches = [cv2.resize(p, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for p in stored]
            points = bases[sequence] + np.arange(len(patches))
            writer.append(np.stack(patches)[:, None], f"{sequence}/{strip}.png", points=points)
    return PatchSet.open(out)


def read_split(path: str | Path, split: str, part: str) -> list[str]:
    """Names of the sequences of a split, "a" to "c", "view", "illum" or "full", part "train" or "test".

    `path` is the splits.json of hpatches-benchmark, or a file of the same form. Raises InputError.
    """
    splits: Any = read_json(path, Any, "give the splits.json of hpatches-benchmark")
    names = splits.get(split) if isinstance(splits, dict) else None
    names = names.get(part) if isinstance(names, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: holds no list of sequences for the split {split}, {part}")
    return names
