"""Feature interaction learning against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiepoint.nets.blocks.interaction import FIL


def shaken(channels: int) -> FIL:
    torch.manual_seed(0)
    fil = FIL(channels).eval()
    for tensor in [*fil.parameters(), *(b for b in fil.buffers() if b.is_floating_point())]:
        nn.init.uniform_(tensor, 0.2, 1.5) if tensor.ndim == 1 else nn.init.normal_(tensor)
    return fil


def test_common_and_private_features_are_their_formulas() -> None:
    fil = shaken(8)
    vis, nir = torch.randn(2, 3, 8, 5, 4)

    def branch(x: Tensor, part: str) -> Tensor:
        convolution, norm = getattr(fil, part)[0], getattr(fil, part)[1]
        y = torch.einsum("oi,nihw->nohw", convolution.weight[:, :, 0, 0], x) + convolution.bias[:, None, None]
        mean, var, weight, bias = (
            t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        y = (y - mean) / (var + 1e-3).sqrt() * weight + bias
        return torch.sigmoid(y) if part.startswith("gate") else F.leaky_relu(y, 0.1)

    common_vis = branch(vis, "value_vis") * branch(nir, "gate_nir")
    common_nir = branch(nir, "value_nir") * branch(vis, "gate_vis")
    private_vis = (common_vis - branch(vis, "value_vis")).abs()
    private_nir = (common_nir - branch(nir, "value_nir")).abs()
    with torch.inference_mode():
        common, private = fil(vis, nir)
    torch.testing.assert_close(common, common_vis + common_nir)
    torch.testing.assert_close(private, torch.cat([private_vis, private_nir], dim=1))


@pytest.mark.parametrize(
    ("channels", "parameters"), [(16, 1_344), (32, 4_736), (64, 17_664), (128, 68_096), (256, 267_264)]
)
def test_parameters_are_those_of_the_published_table(channels: int, parameters: int) -> None:
    tensors = FIL(channels).state_dict()
    counted = sum(t.numel() for key, t in tensors.items() if not key.endswith("num_batches_tracked"))
    assert counted == parameters == 4 * (channels**2 + 5 * channels)
