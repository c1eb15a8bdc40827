"""HPatches from the patches to the statement: split, tasks, descriptors, normalisation, the three tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tiepoint.data.readers.hpatches import NOISES, STRIPS, HPatches, read_split
from tiepoint.errors import InputError
from tiepoint.evaluation.distances import constant_error, is_constant
from tiepoint.evaluation.hpatches.descriptors import Descriptors, apply, check_files, describe, read_descriptors, zca
from tiepoint.evaluation.hpatches.measures import POOLS, match, retrieve, summarize, verify
from tiepoint.evaluation.hpatches.tasks import read_or_generate
from tiepoint.evaluation.options import HPatchesOptions, Normalization, Resize
from tiepoint.evaluation.provenance import selection_of, statement
from tiepoint.evaluation.verification import Describe
from tiepoint.options import override
from tiepoint.types import Progress

NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
PREFIXES = {"view": ("v_",), "illum": ("i_",), "full": ("v_", "i_")}


def evaluate_hpatches(
    patches: HPatches,
    describers: Mapping[str, Describe | Path],
    options: HPatchesOptions | None = None,
    *,
    progress: Progress | None = None,
    **flat: Any,
) -> list[dict[str, Any]]:
    """Measure describers on the three tasks, one after the other, so that one's descriptors are in memory at a time.

    `describers` are callables, (N, 1, 65, 65) float in 0..1 -> (N, D), or folders of descriptor files, by name. `flat`
    are fields that win over `options`. `progress` is called with (strips described or read, strips in all), anew for
    each describer.

    Returns for each describer `statement` with "verification", "matching", "retrieval" and "mean_ap" of the three;
    rates in 0..1. Raises InputError for an input that cannot be used, named in the message.
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
    metric, rule = how.metric, how.average_precision

    def measure(name: str, describer: Describe | Path) -> dict[str, Any]:
        descriptors = _describe(patches, name, describer, test, train, how.resize, progress)
        stated = statement(
            "hpatches",
            variant=how.averaging,
            split=how.split,
            selection=selection_of(describer),
            describer=name,
            dimension=descriptors[test[0]].shape[2],
            distance=metric,
            average_precision=rule,
            sequences=len(descriptors),
            tasks={"verification": verification.origin, "retrieval": retrieval.origin},
            normalization=how.normalization,
            resize=None if isinstance(describer, Path) else how.resize,
        )
        results = {
            "verification": verify(descriptors, verification, metric=metric, rule=rule),
            "matching": summarize(match(descriptors, metric=metric, rule=rule), how.averaging),
        }
        table = retrieve(descriptors, retrieval, metric=metric, rule=rule)
        by_pool = [dict(zip(map(str, POOLS), row, strict=True)) for row in table.tolist()]
        results["retrieval"] = {**dict(zip(NOISES, by_pool, strict=True)), "mean_ap": float(table.mean())}
        return {**stated, **results, "mean_ap": {task: result["mean_ap"] for task, result in results.items()}}

    return [measure(name, describer) for name, describer in describers.items()]


def measured_sequences(split: str, sequences: Sequence[str], file: str | Path | None = None) -> list[str]:
    """Sequences that a split measures, among those that the data set holds.

    The split is an entry of the benchmark's splits.json, whose order the names keep, since tasks are drawn in it;
    without this file "view", "illum" or "full", all of the data set's sequences by prefix, sorted. Raises InputError if
    there is no such split, or for sequences that the data set lacks.
    """
    if file is not None:
        return _held(split, "test", sequences, file)
    if split not in PREFIXES:
        raise InputError(f"split {split!r}: only {', '.join(PREFIXES)} follow from names: give --splits splits.json")
    names = sorted(name for name in sequences if name.startswith(PREFIXES[split]))
    if not names:
        raise InputError(f"split {split!r}: the data hold no sequence that starts with {PREFIXES[split][0]}")
    return names


def training_sequences(split: str, sequences: Sequence[str], file: str | Path | None) -> list[str]:
    """Sequences that a split leaves for learning; view, illum and full leave none. As `measured_sequences`."""
    if file is None:
        remedy = "give --splits splits.json and split a, b or c"
        raise InputError(f"a normalisation is learned from a split's train list: {remedy}")
    return _held(split, "train", sequences, file)


def _held(split: str, part: str, sequences: Sequence[str], file: str | Path) -> list[str]:
    names = read_split(file, split, part)
    held = set(sequences)
    for name in names:
        if name not in held:
            raise InputError(f"{file}: split {split}, {part}: {name} is named twice or is missing in the data")
        held.remove(name)
    return names


def _describe(
    patches: HPatches,
    label: str,
    describer: Describe | Path,
    test: Sequence[str],
    train: Sequence[str],
    resize: Resize,
    progress: Progress | None,
) -> Descriptors:
    """Descriptors of `test`, whitened by those of `train` if there are any."""

    def strips(sequences: Sequence[str], names: Sequence[str], progress: Progress | None) -> Descriptors:
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
