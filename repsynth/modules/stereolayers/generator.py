"""The whole forward pass: stereo pair -> semitransparent mesh layers -> novel views (paper section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.errors import UserError, require_at_least
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import sample_image
from repsynth.geometry.layered_scene import Layers, MeshGrid, RenderingOptions, render_scene
from repsynth.geometry.layers import depth_on_mesh, layer_vertices, resampled
from repsynth.geometry.planes import plane_depths, plane_sweep
from repsynth.geometry.rasterizers import select_rasterizer
from repsynth.geometry.rendering import Rendering
from repsynth.modules.stereolayers.depth import DepthScheme, bounded_logits, layered_depth, logit_channels
from repsynth.modules.stereolayers.geometry_network import GeometryNetwork
from repsynth.modules.stereolayers.options import LayerOptions
from repsynth.modules.stereolayers.texturing import Texturing, raw_channels, texture_layers
from repsynth.nn.coloring_network import ColoringNetwork

InitialDepth = Literal["middle", "spread"]
"""Where BI layers start, see `StereoLayersGenerator`."""


@dataclass(frozen=True)
class _StereoPair:
    """B pairs of views [B, 3, H, W] in [-1, 1] and their cameras."""

    reference: Tensor
    side: Tensor
    reference_camera: Cameras
    side_camera: Cameras

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.reference.shape[-2:]
        return height, width

    def resized(self, size: tuple[int, int]) -> "_StereoPair":
        """The same views in another size, without aliasing; intrinsics are relative, so cameras stay."""
        if size == self.size:
            return self
        reference, side = (
            F.interpolate(image, size, mode="bilinear", antialias=True)
            for image in (self.reference, self.side)
        )
        return replace(self, reference=reference, side=side)


class StereoLayersGenerator(nn.Module):
    """Geometry network, colouring network and renderer.

    Sizes. Without `network_size` F_g sees images whose sides are multiples of 128 as they are; of others, the sweep
    volume reduced to at most 256 pixels a side by picking the nearest (official code). With `network_size`, F_g sees
    every scene as it would see it had the images that size: the views are reduced without aliasing, the sweep is made
    of them, and its depth is read bilinearly at the vertices. So a network trained on 256 x 512 pixels keeps its
    field of view and its statistics on 512 x 1024, while side view, textures and novel views have all their pixels.
    With `color_at_network_size` F_c works on the reduced views too, and its raw output is read bilinearly at the
    texels: mixing weights, alphas and background are then smooth at full size, while RSBg and RBg colours still take
    every pixel of the views; RAW colours cannot be sharper than the network's size.

    Args:
        layers: L.
        planes: P planes of the sweep volume, uniform in inverse depth.
        near, far: depths of the nearest and the farthest plane, scene units.
        depth: parametrisation of the layered depth.
        texturing: parametrisation of the colours.
        geometry_width, geometry_levels: size of F_g; sides must be multiples of 2^(levels + 5).
        coloring_width: size of F_c.
        grid: where texels and vertices lie, see `MeshGrid`.
        mask_behind: what lies behind the side camera shows black in the sweep and on the layers; the official code
            shows the side view mirrored.
        sort_layers: order BI and SA layers by mean depth.
        initial_depth: where BI layers start: all in the "middle" of the range (official code), or "spread" evenly in
            inverse depth, which spares training the search for an order of the layers.
        rendering: see `RenderingOptions`.
        mesh_size: (height, width) in vertices of every layer, whatever the size of the images, whose size the textures
            keep. A layer is then made of flat faces of several texels, and the colours that F_c sees of the side view
            are those of the points on these faces. None: a vertex per pixel.
        network_size, color_at_network_size: see above.
        layer_options: see `LayerOptions`.

    Raises:
        UserError: an option out of its range, options that exclude each other, or a back end that is not installed.
    """

    NETWORK_SIDE = 256  # official code: F_g sees at most this when a side is not a multiple of 128
    FREE_MULTIPLE = 128

    def __init__(
        self,
        layers: int = 4,
        planes: int = 32,
        near: float = 1.0,
        far: float = 100.0,
        depth: DepthScheme = "BI",
        texturing: Texturing = "RSBg",
        geometry_width: int = 32,
        geometry_levels: int = 3,
        coloring_width: int = 64,
        grid: MeshGrid = "corner",
        mask_behind: bool = True,
        sort_layers: bool = True,
        initial_depth: InitialDepth = "middle",
        rendering: RenderingOptions = RenderingOptions(),  # noqa: B008  frozen
        mesh_size: tuple[int, int] | None = None,
        network_size: tuple[int, int] | None = None,
        color_at_network_size: bool = False,
        layer_options: LayerOptions = LayerOptions(),  # noqa: B008  frozen
    ) -> None:
        super().__init__()
        require_at_least(
            "model", 1, layers=layers, geometry_width=geometry_width, coloring_width=coloring_width
        )
        require_at_least("model", 2, planes=planes)
        require_at_least("model", 0, geometry_levels=geometry_levels)
        require_at_least("model", 1, **{"rendering.fragments": rendering.fragments})
        _check_depths(near, far, depth, initial_depth)
        layer_options.check(layers, far)
        select_rasterizer(rendering.back_end)  # refuses one that is not installed
        self.layers, self.depth_scheme, self.texturing = layers, depth, texturing
        self.learned_layers = layers if layer_options.farthest_depth is None else layers - 1
        self.grid: MeshGrid = grid
        self.mask_behind, self.sort_layers = mask_behind, sort_layers
        self.rendering, self.layer_options = rendering, layer_options
        self.mesh_size, self.fixed_size = mesh_size, network_size
        self.color_at_network_size = color_at_network_size
        self.register_buffer("plane_depths", plane_depths(planes, near, far), persistent=False)
        self.plane_depths: Tensor
        logits = logit_channels(depth, self.learned_layers, planes)
        self.geometry_network = GeometryNetwork(3 * planes + 3, logits, geometry_width, geometry_levels)
        self.coloring_network = ColoringNetwork(
            3 * layers + 3, raw_channels(texturing, layers), coloring_width
        )
        self._check_sizes()
        if initial_depth == "spread":
            self._spread_layers()

    def _check_sizes(self) -> None:
        """Raise UserError for sizes that no image can make right."""
        if self.mesh_size and min(self.mesh_size) < 2:
            raise UserError(
                f"model.mesh_size is {list(self.mesh_size)}; expected [height, width] of at least 2 vertices each."
            )
        if self.color_at_network_size and not self.fixed_size:
            raise UserError(
                "model.color_at_network_size is true, but model.network_size names no size; give it."
            )
        multiple = self.geometry_network.side_multiple
        if self.fixed_size and any(side < 1 or side % multiple for side in self.fixed_size):
            raise UserError(
                f"model.network_size is {list(self.fixed_size)}, but the geometry network needs multiples of "
                f"{multiple}; change it or model.geometry_levels."
            )

    def _spread_layers(self) -> None:
        """Start every layer at its own depth: the middles of equal intervals of inverse depth."""
        far, near = self.plane_depths[0], self.plane_depths[-1]
        places = (torch.arange(self.learned_layers) + 0.5) / self.learned_layers
        depths = 1 / (1 / far + places * (1 / near - 1 / far))
        last = self.geometry_network.dconv1.conv
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        last.bias.data.copy_(bounded_logits(depths, self.depth_scheme, self.plane_depths))

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Size at which F_g sees an image of this size."""
        if self.fixed_size:
            return self.fixed_size
        if height % self.FREE_MULTIPLE == 0 and width % self.FREE_MULTIPLE == 0:
            return height, width
        return min(height, self.NETWORK_SIDE), min(width, self.NETWORK_SIDE)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless both networks can take images of this size."""
        seen, multiple = self.network_size(height, width), self.geometry_network.side_multiple
        if seen != (height, width) and any(side % multiple for side in seen):
            raise UserError(
                f"The geometry network would see {height}x{width} images at {seen[0]}x{seen[1]}, because a side is "
                f"not a multiple of {self.FREE_MULTIPLE}, but it needs multiples of {multiple}; change data.image_size "
                "or model.geometry_levels."
            )
        self.geometry_network.check_size(*seen)
        if not self.color_at_network_size:
            self.coloring_network.check_size(height, width)

    def forward(
        self, reference: Tensor, side: Tensor, reference_camera: Cameras, side_camera: Cameras
    ) -> Layers:
        """Build the layers of B scenes.

        Args:
            reference, side: [B, 3, H, W] in [-1, 1].
            reference_camera, side_camera: B cameras each.
        """
        pair = _StereoPair(reference, side, reference_camera, side_camera)
        seen = pair.resized(self.fixed_size or pair.size)
        predicted = self._layered_depth(seen)
        depth = resampled(predicted, self.mesh_size or pair.size, self.grid, pair.size)
        vertices = layer_vertices(depth, reference_camera, self.grid, pair.size)
        side_on_layers = self._side_on_layers(pair, depth, vertices)
        if self.color_at_network_size and seen is not pair:
            # What a run on views of this size would see.
            mesh = predicted if self.mesh_size is None else depth
            raw = self._raw_textures(seen, self._side_on_layers(seen, mesh))
            raw = resampled(raw, pair.size, self.grid)
        else:
            raw = self._raw_textures(pair, side_on_layers)
        rgba = texture_layers(
            raw, self.texturing, reference.float(), side_on_layers, self.layer_options.alpha
        )
        if self.layer_options.stop_rendering_gradient:
            vertices = vertices.detach()
        return Layers(depth, rgba, vertices, reference_camera, self.grid)

    def render(self, layers: Layers, novel_camera: Cameras, size: Sequence[int]) -> Rendering:
        """Render the layers of B scenes into B novel cameras at (height, width)."""
        return render_scene(layers, novel_camera, size, self.rendering)

    def _layered_depth(self, pair: _StereoPair) -> Tensor:
        """Layered depth [B, L, H, W] of a pair of this size."""
        sweep = plane_sweep(
            pair.side,
            pair.side_camera,
            pair.reference_camera,
            self.plane_depths,
            pair.size,
            self.grid,
            self.mask_behind,
        )
        volume = torch.cat((sweep, pair.reference[:, None]), dim=1).flatten(1, 2)  # plane-major
        network_size = self.network_size(*pair.size)
        if network_size != pair.size:
            volume = F.interpolate(volume, network_size, mode="nearest")
        logits = self.geometry_network(volume)
        depth = layered_depth(
            logits, self.depth_scheme, self.learned_layers, self.plane_depths, sort=self.sort_layers
        )
        if network_size != pair.size:
            depth = F.interpolate(depth, pair.size, mode="bilinear", align_corners=False)
        if self.layer_options.farthest_depth is not None:
            farthest = torch.full_like(depth[:, :1], self.layer_options.farthest_depth)
            depth = torch.cat((farthest, depth), dim=1)
        return depth

    def _side_on_layers(self, pair: _StereoPair, mesh: Tensor, vertices: Tensor | None = None) -> Tensor:
        """The side view [B, L, 3, H, W] where the side camera sees the texels of layers of depth mesh [B, L, h, w].

        The world points [B, L h w, 3] of the vertices may be given if they are known.
        """
        depth = depth_on_mesh(mesh, pair.size)
        if vertices is None or depth is not mesh:
            vertices = layer_vertices(depth, pair.reference_camera, self.grid)
        if self.layer_options.stop_color_gradient:
            vertices = vertices.detach()
        pixels, distance = pair.side_camera.project(vertices)
        sampled = sample_image(pair.side, pixels)  # [B, 3, L H W]
        if self.mask_behind:
            sampled = sampled * (distance > 0)[:, None]
        return sampled.unflatten(2, depth.shape[1:]).transpose(1, 2)

    def _raw_textures(self, pair: _StereoPair, side_on_layers: Tensor) -> Tensor:
        """What F_c makes of the views on the layers, [B, raw channels, H, W]."""
        views = torch.cat((side_on_layers, pair.reference[:, None]), dim=1)  # [B, L + 1, 3, H, W]
        raw: Tensor = self.coloring_network(views.transpose(1, 2).flatten(1, 2))  # channel-major
        return raw


def _check_depths(near: float, far: float, depth: DepthScheme, initial_depth: InitialDepth) -> None:
    if not 0 < near < far:
        raise UserError(f"model.near is {near} and model.far {far}; expected 0 < near < far, in scene units.")
    if initial_depth == "spread" and depth not in ("BI", "BI-inverse"):
        raise UserError(
            f"model.initial_depth spread starts BI layers only; model.depth is {depth}: use middle."
        )
