"""Many textures, each read at its own scattered places."""

import torch
from torch import Tensor

from repsynth.geometry.precision import full_precision
from repsynth.geometry.rasterizers.rows import gather_rows


@full_precision
def sample_textures(textures: Tensor, index: Tensor, places: Tensor) -> Tensor:
    """Read one of N textures at each of M places, bilinearly; beyond its outermost texels a texture goes on.

    Args:
        textures: [N, C, h, w].
        index: [M] int64, which texture.
        places: [M, 2] relative (u, v); 0 and 1 are the outer edges of the texture.

    Returns:
        [M, C]; differentiable in the textures and, inside each cell of four texels, in the places.
    """
    height, width = textures.shape[-2:]
    left, across = _cell(places[:, 0], width)
    above, down = _cell(places[:, 1], height)
    right, below = (left + 1).clamp(max=width - 1), (above + 1).clamp(max=height - 1)
    first = index * (height * width)
    texels = torch.stack([first + row * width + column for row in (above, below) for column in (left, right)])
    weights = torch.stack([v * u for v in (1 - down, down) for u in (1 - across, across)])
    read = gather_rows(textures.movedim(1, -1).flatten(0, 2), texels)  # [4, M, C]
    return (read * weights[..., None]).sum(0)


def _cell(relative: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of places along one side of `count` texels: the texel before each, and how far it is to the next, 0 to 1."""
    place = (relative * count - 0.5).clamp(0, count - 1)
    before = place.detach().long()
    return before, place - before
