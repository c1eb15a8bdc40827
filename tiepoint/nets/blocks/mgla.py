"""Multi-dimensional global-to-local attention."""

import math

from torch import Tensor, nn


class MGLA(nn.Module):
    """Weighs features along channels, height and width, each by what is salient in the other two dimensions.

    For x (C, H, W) and each dimension d of the three, with positions p that run over the other two:

        m_p = mean of x over d                       saliency
        w   = softmax of m over all p                global: every position competes with every other
        g_d = sum over p of w_p x_p                  a vector as long as d
        a_d = sigmoid(convolution of g_d, length k)  local: neighbours in d share a gate
        y   = x * a_C * a_H * a_W

    with k from `kernel_size`. Features (N, channels, height, width) keep their shape. The sizes set the lengths of the
    convolutions and nothing else, so other heights and widths pass as well. A few parameters: the sum of k + 1.

    Source: RRL-Net, Information Fusion 2025. The gates multiply without a residual path, as in the released code.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.over_channels = gate(channels)
        self.over_height = gate(height)
        self.over_width = gate(width)

    def forward(self, x: Tensor) -> Tensor:
        """Gate `x` (N, C, H, W)."""
        n, c, h, w = x.shape
        by_position = x.mean(dim=1, keepdim=True).flatten(1).softmax(dim=1).view(n, 1, h, w)
        by_column = x.mean(dim=2, keepdim=True).flatten(1).softmax(dim=1).view(n, c, 1, w)
        by_row = x.mean(dim=3, keepdim=True).flatten(1).softmax(dim=1).view(n, c, h, 1)
        channels: Tensor = self.over_channels((x * by_position).sum(dim=(2, 3)).unsqueeze(1)).view(n, c, 1, 1)
        height: Tensor = self.over_height((x * by_column).sum(dim=1).sum(dim=2).unsqueeze(1)).view(n, 1, h, 1)
        width: Tensor = self.over_width((x * by_row).sum(dim=1).sum(dim=1).unsqueeze(1)).view(n, 1, 1, w)
        return x * channels * (height * width)


def gate(length: int) -> nn.Sequential:
    """Convolution along a vector (N, 1, length), with bias, and sigmoid."""
    kernel = kernel_size(length)
    return nn.Sequential(nn.Conv1d(1, 1, kernel, padding=kernel // 2), nn.Sigmoid())


def kernel_size(length: int) -> int:
    """Length of the convolution along a dimension: (log2(length) + 1) / 2, cut to an integer; 1 more if that is even.

    Source: Wang et al., ECA-Net, CVPR 2020, with gamma = 2 and b = 1.
    """
    kernel = int(abs((math.log2(length) + 1) / 2))
    return kernel if kernel % 2 else kernel + 1
