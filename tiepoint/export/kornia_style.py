"""Any describer as a kornia `LAFDescriptor`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tiepoint.errors import InputError
from tiepoint.features.extract import extract
from tiepoint.features.frames import from_laf
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer
from tiepoint.nets.inputs import luma

PATCH, CHUNK = 64, 1024


class LAFDescriptor(nn.Module):
    """Images and local affine frames to descriptors, in place of kornia's class of that name, as in `LocalFeature`.

    Convention: kornia's frames are as long as half a patch, so the detector says what a patch shows, and a describer's
    own support is not applied. kornia's detectors make frames of `mr_size` sigmas: 6, their usual value, gives the 12
    sigmas of ours. Patches are cut free of aliasing by `tiepoint.features.extract`, on the CPU, and carry no gradients;
    kornia samples from the finer level of its pyramid, so its own patches are a little sharper.

    A frame of zeros, with which kornia fills up a batch, has a descriptor of zeros; drop it with `laf_is_filled`.
    `describer` is a name, a path or a loaded one; the weights of a learned one move with the module.
    """

    def __init__(self, describer: str | Path | Describer = "sdgmnet") -> None:
        super().__init__()
        self.describer = load_describer(describer)

    def forward(self, img: Tensor, lafs: Tensor) -> Tensor:
        """Describe `lafs` (B, N, 2, 3) of `img` (B, 1 or 3, H, W), float in 0..1: (B, N, D), float32, on its device.

        Raises InputError for other shapes.
        """
        if img.ndim != 4 or img.shape[1] not in (1, 3) or lafs.ndim != 4 or lafs.shape[2:] != (2, 3):
            shapes = f"img {tuple(img.shape)} and lafs {tuple(lafs.shape)}"
            raise InputError(f"{shapes}: give (B, 1 or 3, H, W), (B, N, 2, 3)")
        if len(img) != len(lafs):
            raise InputError(f"{len(img)} images and frames of {len(lafs)}: give as many")
        images = luma(img.detach().float()).cpu().numpy()[:, 0]
        described = [self._describe(a, b) for a, b in zip(images, lafs.detach().cpu().double().numpy(), strict=True)]
        return torch.stack(described).to(img.device)

    def train(self, mode: bool = True) -> LAFDescriptor:
        """Stay in evaluation mode: descriptors carry no gradients."""
        return super().train(False)

    def _describe(self, image: np.ndarray, lafs: np.ndarray) -> Tensor:
        frames = from_laf(lafs, support=2.0)  # the axes as they are: 2 of them span a patch
        filled = np.flatnonzero(frames[:, :, :2].any(axis=(1, 2)))
        result = torch.zeros(len(frames), self.describer.dimension)
        for start in range(0, len(filled), CHUNK):
            rows = filled[start : start + CHUNK]
            patches = extract(image, frames[rows], size=PATCH, support=2.0)
            result[rows] = self.describer.describe(torch.from_numpy(patches)).cpu().float()
        return result
