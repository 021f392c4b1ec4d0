"""What the generator knows of a place: sine features of its coordinates, and a learned grid read there."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.modules.cips.coordinates import Surface, dimensions

EmbeddingRule = Literal["released", "centres", "aligned"]
"""How the grid of S x S cells is read at a coordinate c.

centres: bilinearly with cell i at c = (2 i + 1) / S - 1, clamped to the outermost cells. aligned: bilinearly with cell
i at c = 2 i / (S - 1) - 1, where pixel i of S lies: on the full training grid the cells themselves. released: in
training on the full training grid the cells themselves, everywhere else centres, as in the official code, so that the
network is used with another rule than it learned with."""


class InputFeatures(nn.Module):
    """Fourier features and coordinate embedding (paper section 3; initial values of the official code).

    Args:
        size: h, channels of each of the two.
        grid_size: S, cells of a side of the embedding.
        surface: see `Surface`. Around a cylinder the columns of the embedding close, with cell j at 2 pi j / S.
        rule: see `EmbeddingRule`. Around a cylinder only its rows follow it.
    """

    def __init__(self, size: int, grid_size: int, surface: Surface, rule: EmbeddingRule) -> None:
        super().__init__()
        axes = dimensions(surface)
        self.weight = nn.Parameter(torch.empty(size, axes).uniform_(-1, 1) * math.sqrt(9 / axes))
        self.bias = nn.Parameter(torch.empty(size).uniform_(-1, 1) / math.sqrt(axes))
        self.embedding = nn.Parameter(torch.randn(size, grid_size, grid_size))
        self.surface, self.rule = surface, rule

    def reads_cells(self, full_grid: bool) -> bool:
        """Whether points that are (or are not) the full training grid take the cells themselves, without a look-up."""
        released_in_training = self.rule == "released" and self.training
        return full_grid and self.surface == "plane" and (self.rule == "aligned" or released_in_training)

    def cells(self) -> Tensor:
        """Return the embedding at the points of the full training grid, the parameter itself, [1, h, S S]."""
        return self.embedding.flatten(1)[None]

    def grid(self) -> Tensor:
        """Return what `look_up` reads, [1, h, S, S]; around a cylinder the first column comes again at the end."""
        grid = self.embedding[None]
        return grid if self.surface == "plane" else torch.cat((grid, grid[..., :1]), dim=-1)

    def look_up(self, grid: Tensor, coordinates: Tensor) -> Tensor:
        """Return the embedding [1 or B, h, N] at coordinates [1 or B, K, N]."""
        places, aligned = coordinates, self.rule == "aligned"
        if self.surface == "cylinder":
            places, aligned = _unrolled(coordinates, self.embedding.shape[-1], aligned), True
        # The sets of points are the rows of one image: grid_sample would want a copy of the grid for each of them.
        rows = places.movedim(1, -1)[None]
        found = F.grid_sample(grid, rows, mode="bilinear", padding_mode="border", align_corners=aligned)
        return found[0].transpose(0, 1)


def _unrolled(coordinates: Tensor, size: int, aligned: bool) -> Tensor:
    """Return where points (cos t, sin t, y) [1 or B, 3, N] lie in a cylinder's grid, for aligned corners."""
    cos, sin, y = coordinates.unbind(1)
    turn = torch.atan2(sin, cos) / (2 * math.pi)
    column = turn - turn.floor()  # of the way from the first column to its copy
    row = y if aligned else ((y + 1) * size - 1) / (size - 1) - 1
    return torch.stack((2 * column - 1, row), dim=1)
