"""Baselines as modules without parameters: `trainer.test(NearestView(), datamodule)`."""

from collections.abc import Sequence

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from repsynth.batches import Paired, PosedViews, paired_novel_views
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.grids import pixel_grid
from repsynth.geometry.precision import full_precision


class NearestView(pl.LightningModule):
    """Predicts the input view whose camera centre is nearest to the novel camera's."""

    def test_step(self, batch: PosedViews, batch_idx: int) -> Paired:
        """Copy an input view."""
        source, novel = batch["source"], batch["novel"]
        seen_from, sought = (
            Cameras(views["extrinsics"], views["intrinsics"]).centres() for views in (source, novel)
        )
        nearest = torch.cdist(sought, seen_from).argmin(dim=2)  # [B, V]
        items = torch.arange(len(nearest), device=nearest.device)[:, None]
        return paired_novel_views(batch, source["images"][items, nearest].flatten(0, 1))

    validation_step = test_step


class PlaneWarp(pl.LightningModule):
    """Predicts the reference view painted on one fronto-parallel plane at its true median depth.

    Outside the reference view its border colours go on: black would be an unfair opponent.
    """

    def test_step(self, batch: PosedViews, batch_idx: int) -> Paired:
        """Warp the reference view."""
        source, novel = batch["source"], batch["novel"]
        views, size = novel["images"].shape[1], novel["images"].shape[-2:]
        image, reference_extrinsics, reference_intrinsics, depth = (
            part.repeat_interleave(views, dim=0)
            for part in (
                source["images"][:, 0],
                source["extrinsics"][:, 0],
                source["intrinsics"][:, 0],
                batch["median_depth"],
            )
        )
        reference = Cameras(reference_extrinsics, reference_intrinsics)
        cameras = Cameras(novel["extrinsics"].flatten(0, 1), novel["intrinsics"].flatten(0, 1))
        pixels = plane_pixels(cameras, reference, depth, size)
        warped = F.grid_sample(image, pixels * 2 - 1, padding_mode="border", align_corners=False)
        return paired_novel_views(batch, warped)

    validation_step = test_step


@full_precision
def plane_pixels(novel: Cameras, reference: Cameras, depth: Tensor, size: Sequence[int]) -> Tensor:
    """Where rays through the pixel centres of N cameras meet planes at depth [N] of N reference cameras.

    Returns:
        [N, H, W, 2] relative pixels of the reference cameras.
    """
    height, width = size
    grid = pixel_grid(height, width, "centre", device=depth.device).flatten(0, 1).expand(len(depth), -1, -1)
    origin = reference.to_camera(novel.centres()[:, None])
    towards = reference.to_camera(novel.lift(grid, torch.ones_like(grid[..., 0]))) - origin
    hits = origin + towards * ((depth[:, None] - origin[..., 2]) / towards[..., 2])[..., None]
    pixels, _ = reference.to_pixels(hits)
    return pixels.unflatten(1, (height, width))
