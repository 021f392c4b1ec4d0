"""F_c: from the views on the layers to colours and alphas (paper table S2; StereoMag's U-Net with total layer norm)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.nn.norm import TotalLayerNorm


class _Block(nn.Module):
    """Convolution, layer norm, ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = TotalLayerNorm(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


def _down(channels_in: int, channels_out: int, stride: int = 1, dilation: int = 1) -> _Block:
    return _Block(nn.Conv2d(channels_in, channels_out, 3, stride, padding=dilation, dilation=dilation))


def _up(channels_in: int, channels_out: int) -> _Block:
    return _Block(nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1))


def _same(channels: int, kernel: int = 3) -> _Block:
    return _Block(nn.ConvTranspose2d(channels, channels, kernel, padding=kernel // 2))


class ColoringNetwork(nn.Module):
    """Fully convolutional but for its layer norms, which see the whole image.

    Args:
        channels_in: 3 L + 3 for L layers: the side view on every layer and the reference view.
        channels_out: 4 L + 3 for RSBg texturing, 2 L + 3 for RBg, 4 L for RAW.
        width: channels of the first block; doubles three times.
    """

    SIDE_MULTIPLE = 8

    def __init__(self, channels_in: int, channels_out: int, width: int = 64) -> None:
        super().__init__()
        c = width
        self.conv1_1 = _down(channels_in, c)
        self.conv1_2 = _down(c, 2 * c, stride=2)
        self.conv2_1 = _down(2 * c, 2 * c)
        self.conv2_2 = _down(2 * c, 4 * c, stride=2)
        self.conv3_1 = _down(4 * c, 4 * c)
        self.conv3_2 = _down(4 * c, 8 * c)
        self.conv3_3 = _down(8 * c, 8 * c, stride=2)
        self.conv4_1 = _down(8 * c, 8 * c, dilation=2)
        self.conv4_2 = _down(8 * c, 8 * c, dilation=2)
        self.conv4_3 = _down(8 * c, 8 * c, dilation=2)
        self.upconv5_1 = _up(16 * c, 4 * c)
        self.upconv5_2 = _same(4 * c)
        self.upconv5_3 = _same(4 * c)
        self.upconv6_1 = _up(8 * c, 2 * c)
        self.upconv6_2 = _same(2 * c)
        self.upconv7_1 = _up(4 * c, c)
        self.upconv7_2 = _same(c, kernel=1)  # 1x1 in the official code, 3x3 in the paper's table
        self.final_conv = nn.Conv2d(c, channels_out, 1)

    @classmethod
    def check_size(cls, height: int, width: int) -> None:
        """Raise UserError unless the network can halve and restore both sides."""
        if height % cls.SIDE_MULTIPLE or width % cls.SIDE_MULTIPLE:
            raise UserError(
                f"The colouring network needs image sides that are multiples of {cls.SIDE_MULTIPLE}, "
                f"but gets {height}x{width}; change data.image_size."
            )

    def forward(self, views: Tensor) -> Tensor:
        """Map views [B, channels_in, H, W] in [-1, 1] to raw outputs [B, channels_out, H, W]."""
        self.check_size(*views.shape[-2:])
        half = self.conv1_2(self.conv1_1(views))
        quarter = self.conv2_2(self.conv2_1(half))
        eighth = self.conv3_3(self.conv3_2(self.conv3_1(quarter)))
        x = self.conv4_3(self.conv4_2(self.conv4_1(eighth)))
        x = self.upconv5_3(self.upconv5_2(self.upconv5_1(torch.cat((x, eighth), dim=1))))
        x = self.upconv6_2(self.upconv6_1(torch.cat((x, quarter), dim=1)))
        x = self.upconv7_2(self.upconv7_1(torch.cat((x, half), dim=1)))
        return self.final_conv(x)
