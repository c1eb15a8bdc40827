"""Options of the protocols. The docstrings of the fields are the help of the commands."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tiepoint.errors import InputError

ApRule = Literal["trapezoid", "rank"]
Averaging = Literal["python", "article"]
CrossRule = Literal["interpolate", "hardnet", "hynet", "nearest", "fdr"]
Metric = Literal["L2", "L1"]
Normalization = Literal["none", "zca"]
Resize = Literal["antialias", "cv2"]


@dataclass(frozen=True)
class AuditOptions:
    """What an audit looks for."""

    near: float = 0.98
    """Smallest normalised correlation of two patches that makes a near repeat, above 0, at most 1. Brightness and
    contrast do not count."""
    closer_than: float = 8.0
    """Locations of two splits, and the two locations of a non-match, that are closer than this are reported, px."""
    sample: int | None = None
    """Number of patches of each set and spectrum for which a near repeat is sought; all by default."""
    seed: int = 0
    """Seed of the sample."""

    def __post_init__(self) -> None:
        if not 0 < self.near <= 1:
            raise InputError(f"near is {self.near:g}, must be above 0 and at most 1")
        if not 0 < self.closer_than < math.inf:
            raise InputError(f"closer_than is {self.closer_than:g}, must be above 0 px")
        if self.sample is not None and self.sample < 1:
            raise InputError(f"sample is {self.sample}, must be at least 1")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}, must not be negative")


@dataclass(frozen=True)
class CrossSpectralOptions:
    """Which pairs are measured, and how."""

    count: int = 2500
    """Number of matches in each category, and of non-matches. A set with pairs of its own is measured on those."""
    seed: int = 0
    """Seed of the pairs."""
    rule: CrossRule = "interpolate"
    """Rule of the error at 95 % recall. RRL-Net, MFD-Net, SPIMNet and KGL-Net's metric branch report interpolate,
    KGL-Net's descriptors hynet, the authors' AFD-Net hardnet, SCFDM and Q-Net nearest. fdr is the false discovery rate
    that Aguilera (CVPRW 2016) and MatchNet report: compare it with no FPR95."""
    any_spectra: bool = False
    """Measure relaters of other spectra, too. The first spectrum of the set takes their first slot."""


@dataclass(frozen=True)
class HPatchesOptions:
    """How HPatches is measured."""

    split: str = "full"
    """Split of the sequences: a, b, c, view, illum or full. a, b and c need `splits`."""
    splits: Path | None = None
    """splits.json of hpatches-benchmark."""
    tasks: Path | None = None
    """Folder of the benchmark's task files, verif_*.csv and retr_*.csv. A task that is not there is drawn."""
    normalization: Normalization = "none"
    """zca whitens by the reference patches of the split's train list and takes the power law, as for handcrafted
    descriptors."""
    averaging: Averaging = "python"
    """Averaging of matching. article weighs i and v sequences alike, as the MATLAB code does."""
    average_precision: ApRule = "trapezoid"
    """Rule of the average precision: trapezoid as the Python code, rank as the MATLAB code."""
    metric: Metric = "L2"
    """Distance of descriptors."""
    resize: Resize = "antialias"
    """antialias leaves the reduction of patches to the describers; cv2 reduces them first by OpenCV's bilinear
    interpolation, as the scripts of HardNet and HyNet do. It does not concern descriptor files."""
