"""Describing the patches of HPatches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import STRIPS, HPatches
from tiepoint.evaluation.hpatches.descriptors import same_dimension, stack
from tiepoint.evaluation.options import Resize
from tiepoint.evaluation.phototour.fpr95 import resizing
from tiepoint.evaluation.verification import BATCH, Describe, as_float, unit_vectors


def describe(
    patches: HPatches,
    label: str,
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
        label: what errors call the describer.
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
        InputError: descriptors that hold NaN or infinity, or that `stack` refuses.
    """
    describer = resizing(describer, resize)
    total, done = len(sequences) * len(names), 0
    described = {}
    for sequence in sequences:
        strips = {}
        for name in names:
            strip = patches.strip(sequence, name)
            parts = np.split(strip, range(BATCH, len(strip), BATCH))
            strips[name] = np.concatenate([unit_vectors(label, describer, as_float(part[:, None])) for part in parts])
            done += 1
            if progress:
                progress(done, total)
        described[sequence] = stack(f"{label}, {sequence}", strips, names)
    return same_dimension(described)
