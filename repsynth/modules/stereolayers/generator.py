"""The whole forward pass: stereo pair -> semitransparent mesh layers -> novel views (paper section 3)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.errors import UserError, require_at_least
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import sample_image
from repsynth.geometry.layered_scene import Layers, MeshGrid, RenderingOptions, render_scene
from repsynth.geometry.layers import layer_vertices
from repsynth.geometry.planes import plane_depths, plane_sweep
from repsynth.geometry.rasterizers import select_rasterizer
from repsynth.geometry.rendering import Rendering
from repsynth.modules.stereolayers.depth import DepthScheme, layered_depth, logit_channels
from repsynth.modules.stereolayers.geometry_network import GeometryNetwork
from repsynth.modules.stereolayers.texturing import Texturing, raw_channels, texture_layers
from repsynth.nn.coloring_network import ColoringNetwork

InitialDepth = Literal["middle", "spread"]
"""Where BI layers start, see `StereoLayersGenerator`."""


class StereoLayersGenerator(nn.Module):
    """Geometry network, colouring network and renderer.

    Args:
        layers: L.
        planes: P planes of the sweep volume, uniform in inverse depth.
        near, far: depths of the nearest and the farthest plane, scene units.
        depth: parametrisation of the layered depth.
        texturing: parametrisation of the colours.
        geometry_width, geometry_levels: size of F_g; sides must be multiples of 2^(levels + 5).
        coloring_width: size of F_c.
        grid: where vertices lie, see `MeshGrid`.
        mask_behind: what lies behind the side camera shows black in the sweep and on the layers; the official code
            shows the side view mirrored.
        sort_layers: order BI and SA layers by mean depth.
        initial_depth: where BI layers start: all in the "middle" of the range (official code), or "spread" evenly in
            inverse depth, which spares training the search for an order of the layers.
        rendering: see `RenderingOptions`.

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
    ) -> None:
        super().__init__()
        require_at_least(
            "model", 1, layers=layers, geometry_width=geometry_width, coloring_width=coloring_width
        )
        require_at_least("model", 2, planes=planes)
        require_at_least("model", 0, geometry_levels=geometry_levels)
        if not 0 < near < far:
            raise UserError(
                f"model.near is {near} and model.far {far}; expected 0 < near < far, in scene units."
            )
        if initial_depth == "spread" and depth != "BI":
            raise UserError(
                f"model.initial_depth spread starts BI layers only; model.depth is {depth}: use middle."
            )
        self.layers, self.depth_scheme, self.texturing = layers, depth, texturing
        self.grid: MeshGrid = grid
        self.mask_behind, self.sort_layers = mask_behind, sort_layers
        self.rendering = rendering
        require_at_least("model", 1, **{"rendering.fragments": self.rendering.fragments})
        select_rasterizer(self.rendering.back_end)  # refuses one that is not installed
        self.register_buffer("plane_depths", plane_depths(planes, near, far), persistent=False)
        self.plane_depths: Tensor
        self.geometry_network = GeometryNetwork(
            3 * planes + 3, logit_channels(depth, layers, planes), geometry_width, geometry_levels
        )
        self.coloring_network = ColoringNetwork(
            3 * layers + 3, raw_channels(texturing, layers), coloring_width
        )
        if initial_depth == "spread":
            self._spread_layers()

    def _spread_layers(self) -> None:
        """Start every layer at its own depth: the middles of L equal intervals of inverse depth."""
        far, near = self.plane_depths[0], self.plane_depths[-1]
        places = (torch.arange(self.layers) + 0.5) / self.layers
        depths = 1 / (1 / far + places * (1 / near - 1 / far))
        last = self.geometry_network.dconv1.conv
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        last.bias.data.copy_(torch.logit((depths - near) / (far - near)))

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Size at which F_g sees an image of this size (official code's rule)."""
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
        self.coloring_network.check_size(height, width)

    def forward(
        self, reference: Tensor, side: Tensor, reference_camera: Cameras, side_camera: Cameras
    ) -> Layers:
        """Build the layers of B scenes.

        Args:
            reference, side: [B, 3, H, W] in [-1, 1].
            reference_camera, side_camera: B cameras each.
        """
        depth = self._layered_depth(reference, side, reference_camera, side_camera)
        vertices = layer_vertices(depth, reference_camera, grid=self.grid)
        side_on_layers = self._sampled_at_vertices(side, side_camera, vertices, depth.shape)
        views = torch.cat((side_on_layers, reference[:, None]), dim=1)  # [B, L + 1, 3, H, W]
        raw = self.coloring_network(views.transpose(1, 2).flatten(1, 2))  # channel-major
        rgba = texture_layers(raw, self.texturing, reference.float(), side_on_layers)
        return Layers(depth, rgba, vertices, reference_camera, self.grid)

    def render(self, layers: Layers, novel_camera: Cameras, size: Sequence[int]) -> Rendering:
        """Render the layers of B scenes into B novel cameras at (height, width)."""
        return render_scene(layers, novel_camera, size, self.rendering)

    def _layered_depth(
        self, reference: Tensor, side: Tensor, reference_camera: Cameras, side_camera: Cameras
    ) -> Tensor:
        size = reference.shape[-2:]
        sweep = plane_sweep(
            side, side_camera, reference_camera, self.plane_depths, size, self.grid, self.mask_behind
        )
        volume = torch.cat((sweep, reference[:, None]), dim=1).flatten(1, 2)  # plane-major
        network_size = self.network_size(*size)
        if network_size != tuple(size):
            volume = F.interpolate(volume, network_size, mode="nearest")
        logits = self.geometry_network(volume)
        depth = layered_depth(
            logits, self.depth_scheme, self.layers, self.plane_depths, sort=self.sort_layers
        )
        if network_size != tuple(size):
            depth = F.interpolate(depth, size, mode="bilinear", align_corners=False)
        return depth

    def _sampled_at_vertices(
        self, image: Tensor, camera: Cameras, vertices: Tensor, shape: torch.Size
    ) -> Tensor:
        """Sample image [B, 3, H, W] where vertices [B, L h w, 3] are seen; shape is (B, L, h, w).

        Returns [B, L, 3, h, w].
        """
        pixels, depth = camera.project(vertices)
        sampled = sample_image(image, pixels)  # [B, 3, L h w]
        if self.mask_behind:
            sampled = sampled * (depth > 0)[:, None]
        return sampled.unflatten(2, shape[1:]).transpose(1, 2)
