"""F_g: from a plane-sweep volume to the logits of layered depth (paper table S1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from repsynth.errors import UserError
from repsynth.geometry.precision import full_precision
from repsynth.nn.norm import TotalLayerNorm


class _Block(nn.Module):
    """Convolution (spectrally normalised or not), optional layer norm; the activation is the caller's."""

    def __init__(
        self, channels_in: int, channels_out: int, *, down: bool, norm: bool = True, spectral: bool = True
    ) -> None:
        super().__init__()
        self.stride = 2 if down else 1
        self.conv = nn.Conv2d(channels_in, channels_out, 4 if down else 3, self.stride, padding=1)
        if spectral:
            spectral_norm(self.conv)
        self.norm = TotalLayerNorm(channels_out) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        # The power iteration loses its vectors in half precision.
        with torch.autocast(x.device.type, enabled=False):
            weight = self.conv.weight
        return self.norm(F.conv2d(x, weight, self.conv.bias, self.stride, padding=1))


class GeometryNetwork(nn.Module):
    """U-Net that sees the whole image through a bottleneck of 1/2^(levels + 5) of its size.

    Args:
        channels_in: channels of the sweep volume with the reference appended, 3 P + 3 for P planes.
        channels_out: L for BI depth, L P for SA, P for GC.
        width: channels of the first block; doubles three times.
        levels: additional encoder levels at the widest stage.
    """

    def __init__(self, channels_in: int, channels_out: int, width: int = 32, levels: int = 3) -> None:
        super().__init__()
        self.levels = levels
        wide = 8 * width
        self.conv1 = _Block(channels_in, width, down=True, norm=False)
        self.conv2 = _Block(width, 2 * width, down=True)
        self.conv3 = _Block(2 * width, 4 * width, down=True)
        self.level_convs = nn.ModuleList(
            _Block(4 * width if level == 0 else wide, wide, down=True) for level in range(levels + 1)
        )
        self.conv_last = _Block(wide, wide, down=True, norm=False, spectral=False)
        self.level_dconvs = nn.ModuleList(
            _Block(wide if level == 0 else 2 * wide, wide, down=False) for level in range(levels + 1)
        )
        self.dconv4 = _Block(2 * wide, 4 * width, down=False)
        self.dconv3 = _Block(8 * width, 2 * width, down=False)
        self.dconv2 = _Block(4 * width, width, down=False, spectral=False)
        self.dconv1 = _Block(2 * width, channels_out, down=False, norm=False, spectral=False)

    @property
    def side_multiple(self) -> int:
        """What height and width must be multiples of."""
        return 2 ** (self.levels + 5)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless the network can halve and restore both sides."""
        multiple = self.side_multiple
        if height % multiple or width % multiple:
            fewer = (
                f", or model.geometry_levels (levels={self.levels - 1} needs multiples of {multiple // 2})"
                if self.levels
                else ""
            )
            raise UserError(
                f"The geometry network with levels={self.levels} needs image sides that are multiples of {multiple}, "
                f"but gets {height}x{width}; change data.image_size{fewer}."
            )

    def forward(self, volume: Tensor) -> Tensor:
        """Map volume [B, channels_in, H, W] in [-1, 1] to logits [B, channels_out, H, W], float32."""
        self.check_size(*volume.shape[-2:])
        skips = [volume]
        for block in (self.conv1, self.conv2, self.conv3, *self.level_convs):
            skips.append(F.leaky_relu(block(skips[-1]), 0.2))
        x = F.relu(self.conv_last(skips[-1]))
        x = F.relu(self.level_dconvs[0](_double(x)))
        for block in (*self.level_dconvs[1:], self.dconv4, self.dconv3, self.dconv2):
            x = F.relu(block(_double(torch.cat((x, skips.pop()), dim=1))))
        x = _double(torch.cat((x, skips.pop()), dim=1))
        return full_precision(self.dconv1)(x)  # bfloat16 logits would be depths in visible steps


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
