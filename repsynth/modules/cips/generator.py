"""The generator: a latent and any set of coordinates -> the colours there, every point by itself (paper section 3)."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from repsynth.errors import UserError, require_at_least
from repsynth.modules.cips.coordinates import Surface, dimensions
from repsynth.modules.cips.inputs import EmbeddingRule, InputFeatures
from repsynth.modules.cips.mapping import Mapping
from repsynth.modules.cips.noise import Noise, noise_seeds, pixel_noise
from repsynth.modules.cips.products import Activation, Folded, Inputs, refilled, tensors_of
from repsynth.modules.cips.trunks import ResidualTrunk, SkipTrunk, Variant, halvings
from repsynth.nn.recomputation import in_parts

SAMPLING_POINTS = {"cpu": 8192, "cuda": 65536}
"""Points computed at a time where no gradient is wanted and nothing else is asked for, by kind of device. On the CPU a
part's tensors stay in the caches, and below the size that the C library takes from the system anew every time."""
SAMPLING_IMAGES = 16
"""Images whose folded weights, as large as a trunk each, exist at a time where no gradient is wanted."""


class _Places(NamedTuple):
    """Points, with the embedding there or the grid to look it up in."""

    points: Tensor
    """[1 or B, K, N]."""
    embedding: Tensor | None = None
    """[1 or B, h, N]."""
    grid: Tensor | None = None
    """See `InputFeatures.grid`."""

    def of(self, images: slice) -> "_Places":
        """Those of some images, where they are not the same for all."""
        shared = len(self.points) == 1
        return self if shared else self._replace(points=self.points[images])


class CIPSGenerator(nn.Module):
    """Mapping network, input features, trunk.

    Args:
        variant: see `Variant`.
        grid_size: S, cells of a side of the learned grid; gives the number of stages too. Images of any size can be
            made with any grid; the released models, the one of 1024 pixels too, have 256.
        features: channels of the Fourier features and of the learned grid, each.
        width: of the first styled layers; later ones narrow.
        style_size: of z and w.
        mapping_layers: of the mapping network.
        activation: see `Activation`.
        surface: see `Surface`.
        embedding_rule: see `EmbeddingRule`.
        section: what messages call the place of these options.

    Raises:
        UserError: a number that is too small, or a width that cannot be halved as often as the stages ask.

    Attributes:
        styles: how many layers take a style; w may be given for each of them.
    """

    def __init__(
        self,
        variant: Variant = "skip",
        grid_size: int = 256,
        features: int = 512,
        width: int = 512,
        style_size: int = 512,
        mapping_layers: int = 8,
        activation: Activation = "leaky_relu",
        surface: Surface = "plane",
        embedding_rule: EmbeddingRule = "released",
        section: str = "model.generator",
    ) -> None:
        super().__init__()
        require_at_least(section, 4, grid_size=grid_size)
        require_at_least(section, 1, features=features, width=width, style_size=style_size)
        require_at_least(section, 0, mapping_layers=mapping_layers)
        _check_width(section, width, halvings(variant, grid_size)[-1] + (activation == "sinrelu"))
        self.grid_size, self.style_size, self.section = grid_size, style_size, section
        self.surface: Surface = surface
        self.mapping = Mapping(style_size, mapping_layers)
        self.inputs = InputFeatures(features, grid_size, surface, embedding_rule)
        trunk = SkipTrunk if variant == "skip" else ResidualTrunk
        self.trunk: SkipTrunk | ResidualTrunk = trunk(2 * features, grid_size, width, style_size, activation)
        self.register_buffer("mean_w", torch.zeros(style_size))
        self.register_buffer("mean_w_draws", torch.zeros((), dtype=torch.int64))
        self.mean_w: Tensor
        self.mean_w_draws: Tensor

    @property
    def styles(self) -> int:
        """How many layers take a style."""
        return self.trunk.styles

    def map(self, z: Tensor) -> Tensor:
        """Return the styles w of latents z, both [..., style_size], float32; z is normally distributed.

        Raises:
            UserError: parameters in half precision.
        """
        self._check_precision()
        w: Tensor = self.mapping(z)
        return w

    @torch.no_grad()
    def remember_mean_w(self, z: Tensor) -> None:
        """Make the mean style of many latents z [draws, style_size] the one that `truncate` draws styles to."""
        self.mean_w.copy_(self.map(z).mean(0))
        self.mean_w_draws.fill_(len(z))

    def truncate(self, w: Tensor, psi: float) -> Tensor:
        """Draw styles [..., style_size] towards the mean style: `mean_w + psi (w - mean_w)`.

        Raises:
            UserError: no mean style has been computed for these weights.
        """
        if psi == 1:
            return w
        if not self.mean_w_draws:
            raise UserError(
                f"truncation by {psi:g} needs the mean style, which has not been computed for these weights; sample "
                "with truncation 1, or have it computed first"
            )
        return torch.lerp(self.mean_w.to(w), w, psi)

    def forward(
        self,
        z: Tensor,
        coordinates: Tensor,
        full_grid: bool = False,
        noise: Noise = "random",
        points_at_once: int | None = None,
    ) -> Tensor:
        """Return the colours of latents z [B, style_size]: `synthesize` of their styles."""
        return self.synthesize(self.map(z), coordinates, full_grid, noise, points_at_once)

    def synthesize(
        self,
        w: Tensor,
        coordinates: Tensor,
        full_grid: bool = False,
        noise: Noise = "random",
        points_at_once: int | None = None,
    ) -> Tensor:
        """Return the colours of B images at any set of points, about [-1, 1], not clamped, float32.

        Under autocast only the products of activations are in half precision.

        Args:
            w: [B, style_size], or [B, styles, style_size] with one for every layer, in the order they are run.
            coordinates: the points, K = 2 numbers each on the plane and 3 on the cylinder, see `Surface`. [N, K], or
                with images first, [1, ..., K] for points that all images share and [B, ..., K] for points of their own,
                for example [1, H, W, K]. No gradient flows into them.
            full_grid: the points are the S x S pixels of the full training grid. Matters to the embedding rules
                released and aligned; never guessed from the shape, which a patch may have too.
            noise: see `Noise`.
            points_at_once: points of all images together to compute at a time. None: all of them where a gradient is
                wanted, else `SAMPLING_POINTS`. With a gradient, parts are computed again in the backward pass.

        Returns:
            [B, 3, ...] with the points' shape, for example [B, 3, H, W].

        Raises:
            UserError: `points_at_once` below 1, or parameters in half precision.
            ValueError: shapes that do not fit.
        """
        self._check(w, coordinates, full_grid, points_at_once)
        flat = coordinates[None] if coordinates.dim() == 2 else coordinates
        points = flat[:1] if full_grid else flat
        rgb = self._batch(
            w.to(self.inputs.weight),
            points.detach().flatten(1, -2).transpose(1, 2).to(self.inputs.weight),
            full_grid,
            noise_seeds(noise, len(w), w.device),
            points_at_once,
        )
        return rgb.unflatten(2, flat.shape[1:-1])

    def synthesize_columns(
        self,
        w: Tensor,
        coordinates: Tensor,
        noise: int | Literal["none"] = "none",
        points_at_once: int | None = None,
    ) -> Tensor:
        """Return the colours [3, H, W] of one image whose style changes from column to column, such as a panorama.

        Args:
            w: [W, style_size], for example blended along the columns.
            coordinates: [H, W, K].
            noise: see `Noise`.
            points_at_once: see `synthesize`.
        """
        columns = self.synthesize(w, coordinates.transpose(0, 1), noise=noise, points_at_once=points_at_once)
        return columns.permute(1, 2, 0)

    def _batch(
        self, w: Tensor, points: Tensor, full_grid: bool, seeds: Tensor | None, points_at_once: int | None
    ) -> Tensor:
        """Colours [B, 3, N] at points [1 or B, K, N]; without gradients, of a few images after the other."""
        product_type = _product_type(w)
        with torch.autocast(w.device.type, enabled=False):
            places = self._places(points, full_grid)
            if torch.is_grad_enabled():
                return self._images(w, places, seeds, points_at_once, product_type)
            size = points_at_once or SAMPLING_POINTS.get(w.device.type, SAMPLING_POINTS["cuda"])
            count = max(1, min(SAMPLING_IMAGES, size // points.shape[-1]))
            parts = []
            for start in range(0, len(w), count):
                some = slice(start, start + count)
                parts.append(
                    self._images(
                        w[some], places.of(some), None if seeds is None else seeds[some], size, product_type
                    )
                )
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _places(self, points: Tensor, full_grid: bool) -> _Places:
        """What is known of the points before the styles are (so that on the way back their gradients come last)."""
        if self.inputs.reads_cells(full_grid):
            return _Places(points, embedding=self.inputs.cells())
        grid = self.inputs.grid()
        if torch.is_grad_enabled():  # one look-up: the gradient of each is as large as the whole grid
            return _Places(points, embedding=self.inputs.look_up(grid, points))
        return _Places(points, grid=grid)

    def _images(
        self,
        w: Tensor,
        places: _Places,
        seeds: Tensor | None,
        points_at_once: int | None,
        product_type: torch.dtype,
    ) -> Tensor:
        """Colours [B, 3, N] of images whose folded weights exist together."""
        styles = w.expand(self.styles, -1, -1) if w.dim() == 2 else w.transpose(0, 1)
        folded = [
            layer._replace(weight=layer.weight.to(product_type))
            for layer in self.trunk.fold(styles.unbind(0))
        ]
        work = partial(self._colours, folded, seeds, places.grid)
        shared = [self.inputs.weight, self.inputs.bias, *tensors_of(folded)]
        per_point = [places.points] if places.embedding is None else [places.points, places.embedding]
        size = places.points.shape[-1] if points_at_once is None else max(1, points_at_once // len(w))
        return in_parts(work, shared, per_point, size)

    def _colours(
        self,
        folded: Sequence[Folded],
        seeds: Tensor | None,
        grid: Tensor | None,
        shared: Sequence[Tensor],
        per_point: Sequence[Tensor],
    ) -> Tensor:
        """Colours [B, 3, n] of some points; all that needs a gradient is in the last two arguments."""
        weight, bias, *tensors = shared
        points = per_point[0]
        embedding = per_point[1] if grid is None else self.inputs.look_up(grid, points)
        noise: Sequence[Tensor | None] = [None] * self.trunk.noises
        if seeds is not None:
            noise = pixel_noise(seeds, points, self.trunk.noises).unbind(0)
        inputs = Inputs(weight, bias, points, embedding)
        return self.trunk.colours(refilled(folded, tensors), inputs, noise)

    def _check_precision(self) -> None:
        if self.inputs.weight.dtype not in (torch.float32, torch.float64):
            raise UserError(
                f"the generator's parameters are {self.inputs.weight.dtype}, too coarse for coordinates and styles; "
                "use trainer.precision bf16-mixed, which keeps them in float32"
            )

    def _check(self, w: Tensor, coordinates: Tensor, full_grid: bool, points_at_once: int | None) -> None:
        if points_at_once is not None:
            require_at_least(self.section, 1, points_at_once=points_at_once)
        self._check_precision()
        if w.shape[1:] not in ((self.style_size,), (self.styles, self.style_size)):
            raise ValueError(
                f"w has the shape {list(w.shape)}; expected [B, {self.style_size}] or "
                f"[B, {self.styles}, {self.style_size}]"
            )
        axes, images = dimensions(self.surface), 1 if coordinates.dim() == 2 else len(coordinates)
        if coordinates.dim() < 2 or coordinates.shape[-1] != axes or images not in (1, len(w)):
            raise ValueError(
                f"coordinates have the shape {list(coordinates.shape)}; expected [N, {axes}], or [1, ..., {axes}] or "
                f"[{len(w)}, ..., {axes}] for {len(w)} images"
            )
        if full_grid and coordinates.shape[-3:-1] != (self.grid_size, self.grid_size):
            raise ValueError(
                f"coordinates of the full training grid have the shape {list(coordinates.shape)}; expected "
                f"[1, {self.grid_size}, {self.grid_size}, {axes}]"
            )


def _product_type(like: Tensor) -> torch.dtype:
    """The type of products: autocast's where it is on."""
    if torch.is_autocast_enabled(like.device.type):
        return torch.get_autocast_dtype(like.device.type)
    return like.dtype


def _check_width(section: str, width: int, halved: int) -> None:
    if width % 2**halved:
        raise UserError(
            f"{section}.width is {width}; expected a multiple of {2**halved}, because the last stages of this "
            "grid_size and activation halve it; change width or grid_size"
        )
