"""Describing the patches of HPatches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tiepoint.data.hpatches import STRIPS
from tiepoint.evaluation.hpatches.descriptors import same_dimension, stack
from tiepoint.evaluation.pairs import Describe, as_float
from tiepoint.evaluation.phototour import Resize, resizing

BATCH = 1024


class PatchStrips(Protocol):
    """Where patches come from, such as `tiepoint.data.hpatches.HPatches`."""

    def strip(self, sequence: str, name: str) -> NDArray[np.uint8]:
        """Patches (n, 65, 65) of a strip."""
        ...


def describe(
    patches: PatchStrips,
    describer: Describe,
    sequences: Sequence[str],
    names: Sequence[str] = STRIPS,
    *,
    resize: Resize = "antialias",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Describe strips of sequences.

    Args:
        patches: the data set.
        describer: (N, 1, S, S) float in 0..1 -> (N, D).
        sequences: to describe.
        names: of the strips.
        resize: "antialias" hands the patches over as they are, 65 pixels wide, and the describer reduces them as it
            does everywhere. "cv2" reduces them first to its `input_size` by OpenCV's bilinear interpolation, without
            antialiasing, as the scripts of HardNet and HyNet do; the numbers differ.
        progress: called with (strips described, strips in all).

    Returns:
        sequence -> (len(names), n, D) float32.

    Raises:
        InputError: descriptors that `stack` refuses.
    """
    describer = resizing(describer, resize)
    total, done = len(sequences) * len(names), 0
    described = {}
    for sequence in sequences:
        strips = {}
        for name in names:
            strips[name] = _describe_strip(patches.strip(sequence, name), describer)
            done += 1
            if progress:
                progress(done, total)
        described[sequence] = stack(sequence, strips, names)
    return same_dimension(described)


def _describe_strip(strip: NDArray[np.uint8], describer: Describe) -> NDArray[np.float32]:
    parts = [describer(as_float(part[:, None])) for part in np.split(strip, range(BATCH, len(strip), BATCH))]
    return np.asarray(torch.cat(parts).cpu().float().numpy())
