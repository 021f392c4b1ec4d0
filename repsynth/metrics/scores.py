"""Several figures of the same pairs of images."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.metrics.crop import central_crop, check_crop
from repsynth.metrics.flip import flip, pixels_per_degree
from repsynth.metrics.lpips import LPIPS, Backbone
from repsynth.metrics.psnr import FLOOR, psnr
from repsynth.metrics.ssim import ssim
from repsynth.weights import AUTO

Metric = Literal["psnr", "ssim", "lpips", "flip"]
PAIR_METRICS: tuple[Metric, ...] = ("psnr", "ssim", "lpips", "flip")
Figure = Callable[[Tensor, Tensor], Tensor]


class Scores(nn.Module):
    """Figures per image on the central crop.

    Attributes:
        names: Of the figures in the order asked for; a stand-in's name says so ("lpips_random").
        settings: What a reader must know to repeat the figures, ready for JSON.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],  # at least one, none twice
        crop: float = 1.0,  # see `central_crop`
        ssim_border: Literal["zero", "valid"] = "zero",  # see `ssim`
        flip_density: float | None = None,  # pixels per degree; None: 67.02, the paper's desk
        lpips_backbone: Backbone = "alex",  # the network of LPIPS
        lpips_weights: str = AUTO,  # "auto", "random" (stand-in) or a path
        download: bool = True,  # whether the weights may be fetched
    ) -> None:
        super().__init__()
        check_metrics(metrics)
        check_crop(crop)
        check_density(flip_density)
        self.crop = crop
        self.lpips = LPIPS(lpips_backbone, lpips_weights, download) if "lpips" in metrics else None
        density = pixels_per_degree() if flip_density is None else flip_density
        figures: dict[str, tuple[str, Figure, dict[str, Any]]] = {
            "psnr": ("psnr", psnr, {"floor": FLOOR}),
            "ssim": ("ssim", lambda p, e: ssim(p, e, ssim_border), {"window": 11, "border": ssim_border}),
            "flip": ("flip", lambda p, e: flip(p, e, density), {"pixels_per_degree": round(density, 4)}),
        }
        if self.lpips is not None:
            about = {"backbone": lpips_backbone, "weights": lpips_weights}
            figures["lpips"] = (self.lpips.name, self.lpips, about)
        chosen = [figures[metric] for metric in metrics]
        self.names = [name for name, _, _ in chosen]
        self.settings = {name: about for name, _, about in chosen}
        self._figures = [figure for _, figure, _ in chosen]

    @torch.no_grad()
    def forward(self, predicted: Tensor, expected: Tensor) -> list[tuple[float, ...]]:
        """Return one row of figures per image, in the order of `names`.

        Computed in float32, without autocast.

        Args:
            predicted: [N, 3, H, W] of any floating type, clamped to [0, 1] for all figures.
            expected: [N, 3, H, W], likewise.
        """
        with torch.autocast(predicted.device.type, enabled=False):
            p, e = (central_crop(images.float().clamp(0, 1), self.crop) for images in (predicted, expected))
            columns = [figure(p, e) for figure in self._figures]
        return [tuple(row) for row in torch.stack(columns, 1).tolist()]


def check_density(density: float | None) -> None:
    """Refuse a viewing distance that no eye can take.

    Raises:
        UserError: For zero or fewer pixels per degree.
    """
    if density is not None and density <= 0:
        raise UserError(
            f"evaluation option flip_pixels_per_degree is {density}: expected a number above 0, or null for "
            "the 67.02 of the paper's desk"
        )


def check_metrics(metrics: Sequence[str], known: Sequence[str] = PAIR_METRICS) -> None:
    """Refuse an empty, unknown or repeated choice of figures.

    Raises:
        UserError: Naming the choice.
    """
    if not metrics or len(set(metrics)) < len(metrics) or not set(metrics) <= set(known):
        raise UserError(
            f"evaluation option metrics is {list(metrics)}: expected some of {', '.join(known)}, each at "
            f"most once"
        )
