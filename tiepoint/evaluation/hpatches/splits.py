"""Splits of HPatches: which sequences are measured, and which a normalisation may be learned from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tiepoint.data.readers.hpatches import read_split
from tiepoint.errors import InputError

PREFIXES = {"view": ("v_",), "illum": ("i_",), "full": ("v_", "i_")}


def measured_sequences(split: str, sequences: Sequence[str], file: str | Path | None = None) -> list[str]:
    """Sequences that a split measures.

    Args:
        split: an entry of the file; without one "view", "illum" or "full", all of the data set's sequences by prefix.
        sequences: that the data set holds.
        file: the benchmark's splits.json.

    Returns:
        Names in the file's order, which tasks are drawn in, or sorted where there is no file.

    Raises:
        InputError: no such split, or sequences that the data set lacks.
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
        raise InputError(
            "a normalisation is learned from a split's train list: give --splits splits.json and split a, b or c"
        )
    return _held(split, "train", sequences, file)


def _held(split: str, part: str, sequences: Sequence[str], file: str | Path) -> list[str]:
    names = read_split(file, split, part)
    held = set(sequences)
    for name in names:
        if name not in held:
            raise InputError(f"{file}: split {split}, {part}: {name} is named twice or is missing in the data")
        held.remove(name)
    return names
