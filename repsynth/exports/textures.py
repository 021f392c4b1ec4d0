"""RGBA of layers as the pictures that other programs take."""

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_rgba_bytes(rgba: Tensor) -> np.ndarray:
    """Turn RGBA [..., 4, H, W], colours in [-1, 1] and alpha in [0, 1], into uint8 [..., H, W, 4].

    Alpha is straight: colours are not multiplied by it.
    """
    unit = torch.cat([(rgba[..., :3, :, :] + 1) / 2, rgba[..., 3:, :, :]], dim=-3)
    return unit.float().clamp(0, 1).mul(255).round().byte().movedim(-3, -1).cpu().numpy()


def from_rgba_bytes(pictures: np.ndarray) -> Tensor:
    """The inverse of `to_rgba_bytes`."""
    unit = torch.from_numpy(pictures).movedim(-1, -3).float() / 255
    return torch.cat([unit[..., :3, :, :] * 2 - 1, unit[..., 3:, :, :]], dim=-3)


def png(picture: np.ndarray) -> bytes:
    """Encode uint8 [H, W, 4] as PNG."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()
