"""Layered scenes for the tests of exports."""

import torch

from repsynth.geometry.cameras import Cameras, homogeneous
from repsynth.geometry.layered_scene import Layers, MeshGrid
from repsynth.geometry.layers import layer_vertices


def cameras(*places: tuple[float, float, float]) -> Cameras:
    """Cameras with centres at these places of a turned and shifted world, all with one slightly turned rotation."""
    angle = torch.tensor(0.3)
    rotation = torch.tensor(
        [[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]], dtype=torch.float32
    )
    centre = torch.tensor([1.0, -2.0, 0.5]) + torch.tensor(places) @ rotation
    translation = -(centre @ rotation.T)
    turned = rotation.expand(len(places), 3, 3)
    lens = torch.tensor([[0.9, 0.0, 0.48], [0.0, 1.1, 0.53], [0.0, 0.0, 1.0]])
    extrinsics = homogeneous(torch.cat([turned, translation[..., None]], dim=-1))
    return Cameras(extrinsics, lens.repeat(len(places), 1, 1))


def layered_scene(
    batch: int = 1,
    mesh: tuple[int, int] = (9, 12),
    texture: tuple[int, int] | None = None,
    grid: MeshGrid = "corner",
    bumps: float = 0.2,
) -> Layers:
    """Three layers that neither cross nor fold, with smooth random colours and alphas in bytes, bumps in units."""
    rng = torch.Generator().manual_seed(0)
    places = (torch.rand(batch, 3, *mesh, generator=rng) - 0.5) * bumps
    depth = torch.tensor([6.0, 3.5, 2.0])[:, None, None] + places
    coarse = torch.rand(batch * 3, 4, 3, 4, generator=rng)
    size = texture or mesh
    unit = torch.nn.functional.interpolate(coarse, size, mode="bilinear", align_corners=True)
    unit = (unit * 255).round() / 255
    rgba = torch.cat([unit[:, :3] * 2 - 1, unit[:, 3:]], dim=1).unflatten(0, (batch, 3))
    reference = cameras(*[(0.1 * index, 0.0, 0.0) for index in range(batch)])
    return Layers(depth, rgba, layer_vertices(depth, reference, grid, size), reference, grid)
