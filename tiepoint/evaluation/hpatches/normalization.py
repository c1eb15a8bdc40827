"""ZCA whitening and power law, the normalisation under which HPatches reports handcrafted descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError

CLIP_SHARE = 0.6  # eigenvalues below the one at this share of their sorted list are raised to it


def zca(train: NDArray[np.float32], label: str) -> NDArray[np.float64]:
    """Whitening matrix (D, D) of descriptors (n, D), those of the reference patches of a split's train list.

    W = V diag(l^-1/2) V' of the covariance's eigenvectors and clipped eigenvalues. Its scale does not matter later on.

    Raises:
        InputError: descriptors that vary along too few directions to be whitened; the message starts with `label`.
    """
    centred = train.astype(np.float64)
    centred -= centred.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    least = values[int(CLIP_SHARE * len(values))]
    if least <= 1e-12 * values[-1]:
        raise InputError(f"{label}: its {len(train)} train descriptors vary along too few directions to be whitened")
    return np.asarray((vectors / np.sqrt(np.maximum(values, least))) @ vectors.T)


def apply(whitening: NDArray[np.float64], descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise a strip's descriptors (n, D): centre by the strip's own mean, whiten, sign(x) sqrt|x|, unit length.

    The strip's mean, not that of training, is the benchmark's rule. A vector of length zero stays zero.
    """
    centred = descriptors.astype(np.float64)
    centred -= centred.mean(axis=0)
    white = centred @ whitening
    powered = np.sign(white) * np.sqrt(np.abs(white))
    lengths = np.linalg.norm(powered, axis=1, keepdims=True)
    unit = np.divide(powered, lengths, out=np.zeros_like(powered), where=lengths > 0)
    return np.asarray(unit, dtype=np.float32)
