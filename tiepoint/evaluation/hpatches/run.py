"""HPatches from the patches to the statement: split, tasks, descriptors, normalisation, the three tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import STRIPS, HPatches
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import constant_error, is_constant
from tiepoint.evaluation.hpatches.describe import describe
from tiepoint.evaluation.hpatches.descriptors import check_files, read_descriptors
from tiepoint.evaluation.hpatches.generate import read_or_generate
from tiepoint.evaluation.hpatches.normalization import apply, zca
from tiepoint.evaluation.hpatches.protocol import evaluate
from tiepoint.evaluation.hpatches.splits import measured_sequences, training_sequences
from tiepoint.evaluation.options import HPatchesOptions, Normalization, Resize
from tiepoint.evaluation.provenance import selection_of
from tiepoint.evaluation.verification import Describe
from tiepoint.options import override
from tiepoint.types import Progress

NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)


def evaluate_hpatches(
    patches: HPatches,
    describers: Mapping[str, Describe | Path],
    options: HPatchesOptions | None = None,
    *,
    progress: Progress | None = None,
    **flat: Any,
) -> list[dict[str, Any]]:
    """Measure describers on the three tasks, one after the other, so that one's descriptors are in memory at a time.

    Args:
        patches: the data set.
        describers: name -> callable, (N, 1, 65, 65) float in 0..1 -> (N, D), or a folder of descriptor files.
        options: how they are measured.
        progress: called with (strips described or read, strips in all), anew for each describer.
        flat: fields of HPatchesOptions, which win over `options`.

    Returns:
        For each describer what `evaluate` states.

    Raises:
        InputError: an input that cannot be used, named in the message.
    """
    how = override(options or HPatchesOptions(), flat)
    if how.normalization not in NORMALIZATIONS:
        raise InputError(f"normalization {how.normalization!r}: there are {', '.join(NORMALIZATIONS)}")
    test = measured_sequences(how.split, patches.sequences, how.splits)
    train = training_sequences(how.split, patches.sequences, how.splits) if how.normalization == "zca" else []
    counts = {name: patches.counts[name] for name in test}
    for describer in describers.values():  # before the first is measured, which takes minutes
        if isinstance(describer, Path):
            check_files(describer, test)
            check_files(describer, train, ("ref",))
    verification, retrieval = read_or_generate(how.tasks, how.split, counts, lambda name: patches.strip(name, "ref"))
    return [
        evaluate(
            _describe(patches, name, describer, test, train, how.resize, progress), verification, retrieval,
            describer=name, options=how, selection=selection_of(describer),
            resize=None if isinstance(describer, Path) else how.resize,
        )
        for name, describer in describers.items()
    ]  # fmt: skip


def _describe(
    patches: HPatches,
    label: str,
    describer: Describe | Path,
    test: Sequence[str],
    train: Sequence[str],
    resize: Resize,
    progress: Progress | None,
) -> dict[str, NDArray[np.float32]]:
    """Descriptors of `test`, whitened by those of `train` if there are any."""

    def strips(
        sequences: Sequence[str], names: Sequence[str], progress: Progress | None
    ) -> dict[str, NDArray[np.float32]]:
        if isinstance(describer, Path):
            return read_descriptors(describer, {s: patches.counts[s] for s in sequences}, names, progress=progress)
        return describe(patches, label, describer, sequences, names, resize=resize, progress=progress)

    if train:
        references = strips(train, ("ref",), None)
        whitening = zca(np.concatenate([array[0] for array in references.values()]), label)
    described = strips(test, STRIPS, progress)
    if all(map(is_constant, described.values())):
        raise constant_error(label)
    if train:
        for array in described.values():  # in place, since a second copy of all descriptors may not fit
            for strip in array:
                strip[:] = apply(whitening, strip)
    return described
