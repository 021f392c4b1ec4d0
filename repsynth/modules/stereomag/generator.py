"""The whole forward pass: stereo pair -> multiplane image -> novel views, directly or through merged mesh layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from repsynth.errors import UserError, require_at_least
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.composition import Background
from repsynth.geometry.layered_scene import Layers, RenderingOptions, render_scene
from repsynth.geometry.planes import plane_depths, plane_sweep
from repsynth.geometry.rasterizers import select_rasterizer
from repsynth.geometry.rendering import Rendering
from repsynth.modules.stereomag.merging import MergingOptions, merge_planes
from repsynth.modules.stereomag.multiplane_image import (
    MultiplaneImage,
    PlaneGrid,
    casting_cameras,
    reading_cameras,
    render_planes,
)
from repsynth.modules.stereomag.texturing import Texturing, raw_channels, texture_planes
from repsynth.nn.coloring_network import ColoringNetwork


class StereoMagGenerator(nn.Module):
    """Plane sweep, network and renderer.

    Args:
        planes: P, uniform in inverse depth.
        near, far: depths of the nearest and the farthest plane, scene units.
        texturing: parametrisation of the colours.
        width: channels of the network's first block.
        grid: where pixels lie, see `PlaneGrid`.
        mask_behind: what lies behind the side camera shows black in the sweep, and planes behind a novel camera are not
            seen; the official code mirrors both.
        rendering: of merged layers, see `RenderingOptions`; `farthest_opaque` also holds for planes.

    Raises:
        UserError: an option out of its range, or a back end that is not installed.
    """

    def __init__(
        self,
        planes: int = 32,
        near: float = 1.0,
        far: float = 100.0,
        texturing: Texturing = "RBg",
        width: int = 64,
        grid: PlaneGrid = "centre",
        mask_behind: bool = True,
        rendering: RenderingOptions = RenderingOptions(),  # noqa: B008  frozen
    ) -> None:
        super().__init__()
        require_at_least("model", 2, planes=planes)
        require_at_least("model", 1, width=width, **{"rendering.fragments": rendering.fragments})
        if not 0 < near < far:
            raise UserError(
                f"model.near is {near} and model.far {far}; expected 0 < near < far, in scene units."
            )
        select_rasterizer(rendering.back_end)  # refuses one that is not installed
        self.texturing = texturing
        self.grid: PlaneGrid = grid
        self.mask_behind, self.rendering = mask_behind, rendering
        self.register_buffer("plane_depths", plane_depths(planes, near, far), persistent=False)
        self.plane_depths: Tensor
        self.coloring_network = ColoringNetwork(3 * planes + 3, raw_channels(texturing, planes), width)

    def check_size(self, height: int, width: int) -> None:
        """Raise UserError unless the network can take images of this size."""
        self.coloring_network.check_size(height, width)

    def forward(
        self, reference: Tensor, side: Tensor, reference_camera: Cameras, side_camera: Cameras
    ) -> MultiplaneImage:
        """Build the multiplane images of B scenes.

        Args:
            reference, side: [B, 3, H, W] in [-1, 1].
            reference_camera, side_camera: B cameras each.
        """
        size = reference.shape[-2:]
        sweep = plane_sweep(
            side,
            reading_cameras(side_camera, side.shape[-2:], self.grid),
            casting_cameras(reference_camera, size, self.grid),
            self.plane_depths,
            size,
            "centre",
            self.mask_behind,
        )
        volume = torch.cat((sweep, reference[:, None]), dim=1).flatten(
            1, 2
        )  # plane-major, the reference last
        rgba = texture_planes(self.coloring_network(volume), self.texturing, reference.float(), sweep)
        depths = self.plane_depths.expand(len(reference), -1)
        return MultiplaneImage(rgba, depths, reference_camera, self.grid)

    def merge(self, planes: MultiplaneImage, layers: int, options: MergingOptions) -> Layers:
        """Merge the planes of B scenes into mesh layers."""
        return merge_planes(planes, layers, options, self.rendering.farthest_opaque)

    def render(
        self, scene: MultiplaneImage | Layers, novel_camera: Cameras, size: Sequence[int]
    ) -> Rendering:
        """Render the planes or the layers merged from them of B scenes into B novel cameras at (height, width)."""
        if isinstance(scene, Layers):
            return render_scene(scene, casting_cameras(novel_camera, size, self.grid), size, self.rendering)
        background: Background = "masked" if self.rendering.farthest_opaque else "black"
        return render_planes(scene, novel_camera, size, background, self.mask_behind)
