"""Merging of a multiplane image into a few mesh layers (StereoMag-P in the StereoLayers paper, supplement D).

P planes are split into G groups of neighbours. Each group becomes a mesh: its geometry is the group's disparity
composed over, its colours and alphas are means over rays that pass through its points from around the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repsynth.errors import UserError, require_at_least
from repsynth.geometry.composition import compose_over
from repsynth.geometry.grids import pixel_grid, sample_image
from repsynth.geometry.layered_scene import Layers
from repsynth.geometry.layers import depth_on_mesh, layer_vertices, resampled
from repsynth.geometry.precision import full_precision
from repsynth.modules.stereomag.multiplane_image import (
    MultiplaneImage,
    PlaneGrid,
    casting_cameras,
    read_pixels,
)

CLEAR = 1e-6
"""How near to 0 and 1 opacities may come: their logarithms stay finite and colours of clear places defined."""

BEHIND = 1.001
"""Copies of the farthest plane lie that much behind it: renderers keep one of two fragments of equal depth."""


@dataclass(frozen=True)
class MergingOptions:
    """How planes become mesh layers; `RELEASED` is the official code's way.

    Args:
        samples: number of rays through a point of a mesh.
        jitter: deviation of the points where rays start, in image sides as seen at the nearest plane's depth; 0 lets
            all start at the camera's centre, as the official code does by mistake (they are equal then).
        exact: the reference camera sees of the layers what it sees of the planes: colours are divided by opacities,
            the farthest plane is opaque if the farthest layer is, rays that leave the image meet its border. The
            official code has none of these and applies alpha twice.
        size: [height, width] of the meshes in vertices, whose textures keep the planes' size; null takes that.
        seed: of the points where rays start, which all texels, scenes and ranks share.
    """

    samples: int = 20
    jitter: float = 0.1
    exact: bool = True
    size: tuple[int, int] | None = None
    seed: int = 0


RELEASED = MergingOptions(jitter=0.0, exact=False)


def check_merging(layers: int, planes: int, options: MergingOptions) -> None:
    """Raise UserError when so many planes cannot be merged in this way."""
    require_at_least("model", 1, merged_layers=layers, **{"merging.samples": options.samples})
    if layers > planes:
        raise UserError(
            f"model.merged_layers is {layers}, but there are only {planes} planes to merge; expected at most as many "
            "layers as model.planes."
        )
    if options.jitter < 0:
        raise UserError(f"model.merging.jitter is {options.jitter}; expected 0 or more, in image sides.")
    if options.size and min(options.size) < 2:
        raise UserError(
            f"model.merging.size is {list(options.size)}; expected [height, width] of at least 2 vertices each."
        )


@full_precision
def merge_planes(
    planes: MultiplaneImage,
    layers: int,
    options: MergingOptions = MergingOptions(),
    farthest_opaque: bool = True,
) -> Layers:
    """Merge P planes into G mesh layers.

    Rays go through a point of the mesh and start at points of the plane through the camera's centre, drawn from a
    normal distribution; a draw n in deviations weighs w = exp(-|n|^2 / 2). Along each ray the planes of the mesh's
    group are composed to a colour c and a log-transmittance l. The point gets the colour sum(w l c) / sum(w l) and the
    log-transmittance sum(w l) / sum(w). Where G does not divide P, transparent copies of the farthest plane come first.

    Args:
        planes: B multiplane images.
        layers: G.
        options: see `MergingOptions`.
        farthest_opaque: whether what is composed of the farthest layer will be opaque, see `RenderingOptions`.

    Returns:
        B scenes of G layers with the textures' size of the planes; the pixel centres of their reference cameras are
        where those of the planes lie (see `casting_cameras`).

    Raises:
        UserError: G or an option out of its range.
    """
    check_merging(layers, planes.rgba.shape[1], options)
    batch, size = len(planes.rgba), planes.rgba.shape[-2:]
    groups, disparities = _groups(planes, layers, options.exact and farthest_opaque)
    depth = _merged_depth(groups, disparities, options.size or size)
    dense = depth_on_mesh(depth[None], size)[0]
    draws = _draws(options).to(depth)
    weights = (-draws.square().sum(1) / 2).exp()
    nearest = planes.depths[:, -1].float().repeat_interleave(layers)
    offsets = options.jitter * nearest[:, None, None] * draws
    rgba = [  # group by group and ray by ray, which bounds the memory
        _texture(groups[i], disparities[i], dense[i], offsets[i], weights, planes.grid, options.exact)
        for i in range(len(groups))
    ]
    reference = casting_cameras(planes.reference, size, planes.grid)
    depth = depth.unflatten(0, (batch, layers))
    vertices = layer_vertices(depth, reference, "centre", size)
    return Layers(depth, torch.stack(rgba).unflatten(0, (batch, layers)), vertices, reference, "centre")


def _groups(planes: MultiplaneImage, layers: int, farthest_opaque: bool) -> tuple[Tensor, Tensor]:
    """K planes of each of B G groups: RGBA [B G, K, 4, H, W] and disparities [B G, K]."""
    rgba, depths = planes.rgba.float(), planes.depths.float()
    copies = -rgba.shape[1] % layers
    farthest, rest = rgba[:, :1], rgba[:, 1:]
    transparent = torch.cat((farthest[:, :, :3], torch.zeros_like(farthest[:, :, 3:])), dim=2)
    if farthest_opaque:
        farthest = torch.cat((farthest[:, :, :3], torch.ones_like(farthest[:, :, 3:])), dim=2)
    rgba = torch.cat((transparent.expand(-1, copies, -1, -1, -1), farthest, rest), dim=1)
    depths = torch.cat((depths[:, :1].expand(-1, copies) * BEHIND, depths), dim=1)
    together = depths.shape[1] // layers
    return rgba.reshape(-1, together, *rgba.shape[2:]), (1 / depths).reshape(-1, together)


def _merged_depth(groups: Tensor, disparities: Tensor, size: Sequence[int]) -> Tensor:
    """Depth [B G, h, w] of the vertices: the groups' disparities composed over, the farthest plane opaque."""
    alphas = torch.cat((torch.ones_like(groups[:, :1, 3]), groups[:, 1:, 3]), dim=1)
    alphas = resampled(alphas, size, "centre", alphas.shape[-2:])
    return 1 / compose_over(disparities[:, :, None, None].flip(1), alphas.flip(1), dim=1).values


def _draws(options: MergingOptions) -> Tensor:
    """Standard normal draws [S, 2]; one of zero when there is no jitter, as its rays would be equal."""
    if options.jitter == 0:
        return torch.zeros(1, 2)
    return torch.randn(options.samples, 2, generator=torch.Generator().manual_seed(options.seed))


def _texture(
    planes: Tensor,
    disparities: Tensor,
    depth: Tensor,
    offsets: Tensor,
    weights: Tensor,
    grid: PlaneGrid,
    exact: bool,
) -> Tensor:
    """Mean over S rays through every texel's point of one mesh.

    Args:
        planes: [K, 4, H, W] back to front.
        disparities: [K] of the planes.
        depth: [H, W] of the mesh.
        offsets: [S, 2] of the rays' starting points, in relative pixels at depth 1.
        weights: [S].
        grid: of the planes.
        exact: see `MergingOptions`.

    Returns:
        RGBA [4, H, W].
    """
    height, width = depth.shape
    pixels = pixel_grid(height, width, "centre", device=depth.device)
    # Lifted and projected again, focal lengths cancel: a ray from o through a pixel's point at depth z meets a plane of
    # depth d at the pixel + o (1 / d - 1 / z).
    parallax = (disparities[:, None, None] - 1 / depth)[..., None]
    colours, shares, absorbed = (depth.new_zeros(1) for _ in range(3))
    for offset, weight in zip(offsets, weights, strict=True):
        met = read_pixels(pixels + offset * parallax, planes.shape[-2:], grid)
        colour, absorption = _composed(planes, met, exact)
        share = weight * (absorption + CLEAR)
        colours, shares, absorbed = colours + share * colour, shares + share, absorbed + weight * absorption
    return torch.cat((colours / shares, -torch.expm1(-absorbed / weights.sum())))


def _composed(planes: Tensor, pixels: Tensor, exact: bool) -> tuple[Tensor, Tensor]:
    """Colour [3, H, W] and negative log-transmittance [1, H, W] of rays that meet K planes at pixels [K, H, W, 2]."""
    if exact:
        outermost = 0.5 / pixels.new_tensor([planes.shape[-1], planes.shape[-2]])
        pixels = torch.minimum(torch.maximum(pixels, outermost), 1 - outermost)
    seen = sample_image(planes, pixels).flip(0)
    colours, opacity, weights = compose_over(seen[:, :3], seen[:, 3:], dim=0)
    if exact:
        weights = weights + CLEAR
        colours = (weights * seen[:, :3]).sum(0) / weights.sum(0)
    return colours, -torch.log1p(-opacity.clamp(0, 1 - CLEAR))
