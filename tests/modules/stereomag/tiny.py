"""A StereoMag that trains in milliseconds on 32 x 32 pixels; cameras and multiplane images for tests."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.geometry.cameras import Cameras
from repsynth.geometry.planes import plane_depths
from repsynth.modules.stereomag.module import StereoMag
from repsynth.modules.stereomag.multiplane_image import MultiplaneImage, PlaneGrid

INTRINSICS = torch.tensor([[0.9, 0, 0.48], [0, 1.1, 0.53], [0, 0, 1]])


def tiny_stereomag(**options: Any) -> StereoMag:  # noqa: ANN401
    """The method with the smallest network; always the same weights."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "planes": 4,
        "near": 1.5,
        "far": 15.0,
        "width": 4,
        "perceptual": "random",
        "perceptual_levels": 1,
    }
    return StereoMag(**(settings | options))


def camera(x: float = 0.0, z: float = 0.0, yaw: float = 0.0, batch: int = 1) -> Cameras:
    """Cameras with their centre at (x, 0, z), turned about their y axis (radians)."""
    angle = torch.tensor(yaw)
    extrinsics = torch.eye(4)
    extrinsics[0, 0], extrinsics[0, 2] = angle.cos(), -angle.sin()
    extrinsics[2, 0], extrinsics[2, 2] = angle.sin(), angle.cos()
    extrinsics[:3, 3] = -extrinsics[:3, :3] @ torch.tensor([x, 0.0, z])
    return Cameras(extrinsics.expand(batch, -1, -1), INTRINSICS.expand(batch, -1, -1))


def smooth_planes(
    planes: int, height: int = 12, width: int = 16, batch: int = 1, grid: PlaneGrid = "centre"
) -> MultiplaneImage:
    """Random multiplane images without fine detail; always the same."""
    coarse = torch.rand(batch * planes, 4, 4, 5, generator=torch.Generator().manual_seed(1))
    rgba = F.interpolate(coarse, (height, width), mode="bilinear").unflatten(0, (batch, planes))
    rgba = torch.cat((rgba[:, :, :3] * 2 - 1, rgba[:, :, 3:]), dim=2)
    depths = plane_depths(planes, 1.5, 12.0) if planes > 1 else torch.tensor([4.0])
    return MultiplaneImage(rgba, depths.expand(batch, -1), camera(batch=batch), grid)


def constant_planes(colours: Tensor, alphas: Tensor, size: tuple[int, int] = (6, 8)) -> MultiplaneImage:
    """One scene whose planes have one colour [P, 3] and one alpha [P] each."""
    rgba = torch.cat((colours, alphas[:, None]), dim=1)[None, :, :, None, None].expand(-1, -1, -1, *size)
    return MultiplaneImage(rgba, plane_depths(len(colours), 1.5, 12.0)[None], camera(), "centre")
