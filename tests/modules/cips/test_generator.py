import shutil
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.modules.cips import generator as generator_file
from repsynth.modules.cips.coordinates import panorama_coordinates, pixel_coordinates
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.noise import Noise
from repsynth.modules.cips.products import Folded, Inputs
from repsynth.modules.cips.trunks import SkipTrunk, Variant

from .tiny import tiny_generator

VARIANTS: list[dict[str, Any]] = [
    {"variant": "skip"},
    {"variant": "residual", "grid_size": 128},
    {"activation": "sin"},
    {"activation": "sinrelu"},
]
GRID = pixel_coordinates(16, 16)[None]


def latents(generator: CIPSGenerator, count: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(count, generator.style_size, generator=rng).to(generator.inputs.weight)


def gradients(
    generator: CIPSGenerator,
    half: bool = False,
    full_grid: bool = False,
    points_at_once: int | None = None,
) -> dict[str, Tensor]:
    """The gradients of a loss that weighs every colour of every pixel differently."""
    generator.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        rgb = generator(latents(generator), GRID, full_grid, noise=3, points_at_once=points_at_once)
    rng = torch.Generator().manual_seed(2)
    (rgb * torch.randn(rgb.shape, generator=rng, dtype=rgb.dtype)).sum().backward()
    assert all(parameter.grad is not None for parameter in generator.parameters())
    return {name: p.grad.clone() for name, p in generator.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("options", "parameters"), [({"variant": "skip"}, 44_317_092), ({"variant": "residual"}, 43_027_858)]
)
def test_released_sizes(options: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        generator = CIPSGenerator(**options)
    assert sum(parameter.numel() for parameter in generator.parameters()) == parameters


@pytest.mark.parametrize(
    ("variant", "widths"),
    [
        ("skip", [512, 512, 512, 512, 512, 256, 128, 64, 32]),
        ("residual", [512, 512, 512, 512, 512, 256, 128, 128, 64]),
    ],
)
def test_released_widths_up_to_1024(variant: Variant, widths: list[int]) -> None:
    assert [512 >> count for count in generator_file.halvings(variant, 1024)] == widths


@pytest.mark.parametrize("options", VARIANTS)
def test_every_pixel_is_computed_by_itself(options: dict[str, Any]) -> None:
    generator, rng = tiny_generator(**options).double(), torch.Generator().manual_seed(3)
    points = torch.rand(50, 2, generator=rng, dtype=torch.float64) * 2 - 1
    order = torch.randperm(50, generator=rng)
    with torch.no_grad():
        whole, some, shuffled = (
            generator(latents(generator), chosen, noise=5)
            for chosen in (points, points[10:31], points[order])
        )
    torch.testing.assert_close(some, whole[..., 10:31], atol=1e-10, rtol=0)
    torch.testing.assert_close(shuffled, whole[..., order], atol=1e-10, rtol=0)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("full_grid", [True, False])
def test_parts_change_nothing(options: dict[str, Any], full_grid: bool) -> None:
    """In neither values nor gradients: 3 images in parts of 33 points do not divide evenly."""
    if full_grid and options.get("grid_size"):
        options = {**options, "grid_size": 16}
    generator = tiny_generator(**options)
    with torch.no_grad():
        whole = generator(latents(generator), GRID, full_grid, noise=3, points_at_once=10**6)
        for points in (7, 100, 10**6):
            parts = generator(latents(generator), GRID, full_grid, noise=3, points_at_once=points)
            torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)
    generator = generator.double()
    expected = gradients(generator, full_grid=full_grid)
    found = gradients(generator, full_grid=full_grid, points_at_once=100)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6 * float(gradient.abs().max()), rtol=0)


def test_parts_of_a_float64_generator_are_equal_to_a_millionth() -> None:
    generator = tiny_generator().double().eval()
    with torch.no_grad():
        whole, parts = (
            generator(latents(generator), GRID, noise=3, points_at_once=points) for points in (10**6, 50)
        )
    torch.testing.assert_close(parts, whole, atol=1e-10, rtol=0)


@pytest.mark.parametrize("options", [{"variant": "skip"}, {"variant": "residual", "grid_size": 128}])
@pytest.mark.parametrize("own_points", [True, False])
def test_fused_layers_are_their_plain_twins(
    options: dict[str, Any], own_points: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = tiny_generator(**options).double()
    grid = GRID.expand(3, -1, -1, -1) + torch.arange(3)[:, None, None, None] / 100 if own_points else GRID

    def computed() -> list[Tensor]:
        generator.zero_grad()
        w = generator.map(latents(generator)).detach().requires_grad_()
        rgb = generator.synthesize(w, grid, noise=3)
        rgb.pow(3).sum().backward()
        assert w.grad is not None
        return [rgb.detach(), w.grad, *(p.grad for p in generator.parameters() if p.grad is not None)]

    fused = computed()
    monkeypatch.setattr("repsynth.modules.cips.products._fused", lambda activation: False)
    plain = computed()
    assert len(fused) == len(plain)
    for found, expected in zip(fused, plain, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9 * float(expected.abs().max()), rtol=1e-7)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("points_at_once", [None, 100])
def test_gradients_by_finite_differences(options: dict[str, Any], points_at_once: int | None) -> None:
    """Along a random direction through all parameters and styles together."""
    generator = tiny_generator(**options).double()
    w, rng = generator.map(latents(generator)).detach().requires_grad_(), torch.Generator().manual_seed(5)
    moved = [w, *generator.trunk.parameters(), *generator.inputs.parameters()]
    directions = [torch.randn(t.shape, generator=rng, dtype=t.dtype) for t in moved]

    def loss() -> Tensor:
        return generator.synthesize(w, GRID, noise=1, points_at_once=points_at_once).square().mean()

    gradients = torch.autograd.grad(loss(), moved)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    losses, step = [], 1e-6
    with torch.no_grad():
        for sign in (1, -2):
            for tensor, direction in zip(moved, directions, strict=True):
                tensor.add_(direction, alpha=sign * step)
            losses.append(loss())
    assert float((losses[0] - losses[1]) / (2 * step)) == pytest.approx(float(slope), rel=1e-5)


@pytest.mark.parametrize("option", [None, 100])
def test_a_graph_can_be_gone_through_once(option: int | None) -> None:
    generator = tiny_generator()
    loss = generator(latents(generator), GRID, points_at_once=option).sum()
    loss.backward(retain_graph=True)
    if option is None:  # its memory is used up
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_a_frozen_generator_gives_the_gradient_of_its_styles() -> None:
    generator = tiny_generator()
    w = generator.map(latents(generator)).detach().requires_grad_()
    found = []
    for frozen in (False, True):
        generator.requires_grad_(not frozen)
        (gradient,) = torch.autograd.grad(generator.synthesize(w, GRID, noise="none").square().sum(), w)
        found.append(gradient)
    torch.testing.assert_close(found[1], found[0])


def test_one_style_per_layer() -> None:
    generator = tiny_generator().eval()
    w = generator.map(latents(generator))
    each = w[:, None].repeat(1, generator.styles, 1)
    with torch.no_grad():
        same, layered = (generator.synthesize(given, GRID, noise="none") for given in (w, each))
        torch.testing.assert_close(layered, same)
        for layer in range(generator.styles):  # every style is used
            changed = each.clone()
            changed[:, layer] += 1
            assert (generator.synthesize(changed, GRID, noise="none") - same).abs().max() > 1e-3


def test_a_change_of_the_latent_leaves_the_input_features_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Inputs] = []
    original = SkipTrunk.colours

    def spied(trunk: SkipTrunk, folded: list[Folded], inputs: Inputs, noise: list[Tensor | None]) -> Tensor:
        seen.append(inputs)
        return original(trunk, folded, inputs, noise)

    monkeypatch.setattr(SkipTrunk, "colours", spied)
    generator = tiny_generator().eval()
    with torch.no_grad():
        images = [generator(latents(generator) + shift, GRID, noise="none") for shift in (0, 1)]
    assert (images[0] - images[1]).abs().max() > 1e-2
    for before, after in zip(*seen, strict=True):
        torch.testing.assert_close(before, after, atol=0, rtol=0)


def test_a_panorama_closes() -> None:
    generator = tiny_generator(surface="cylinder").eval()
    coordinates = panorama_coordinates(8, 24)
    once_round = torch.cat((coordinates, panorama_coordinates(8, 24, start=6.283185307179586)), dim=1)
    with torch.no_grad():
        (rgb,) = generator(latents(generator, 1), once_round[None], noise=7)
        fine = generator(latents(generator, 1), panorama_coordinates(8, 20000)[None, :1], noise="none")[0]
    torch.testing.assert_close(rgb[..., :24], rgb[..., 24:], atol=1e-5, rtol=0)
    steps = (fine - fine.roll(1, dims=2)).abs().amax(dim=(0, 1))
    assert steps[0] <= steps[1:].max()  # the seam is no larger a step than others


def test_styles_blended_along_the_columns_are_those_of_every_column() -> None:
    generator = tiny_generator(surface="cylinder").eval()
    first, second = generator.map(latents(generator, 2)).detach()
    w = torch.lerp(first, second, torch.linspace(0, 1, 40)[:, None])
    coordinates = panorama_coordinates(6, 40)
    with torch.no_grad():
        blended = generator.synthesize_columns(w, coordinates, noise=2)
        assert blended.shape == (3, 6, 40)
        for column in (0, 17, 39):
            (alone,) = generator.synthesize(w[column : column + 1], coordinates[None], noise=2)
            torch.testing.assert_close(blended[..., column], alone[..., column], atol=1e-5, rtol=0)


def test_points_of_their_own_for_every_image() -> None:
    generator = tiny_generator().eval()
    z, rng = latents(generator), torch.Generator().manual_seed(4)
    points = torch.rand(3, 9, 2, generator=rng) * 2 - 1
    with torch.no_grad():
        together = generator(z, points, noise=1)
        assert together.shape == (3, 3, 9)
        for image in range(3):
            alone = generator(z[image : image + 1], points[image], noise=1)
            torch.testing.assert_close(together[image], alone[0], atol=1e-5, rtol=0)


def test_coordinates_are_data() -> None:
    points = torch.zeros(4, 2, requires_grad=True)
    tiny_generator()(torch.ones(1, 8), points).sum().backward()
    assert points.grad is None


def test_noise_is_random_fixed_or_none() -> None:
    generator = tiny_generator().eval()

    def image(noise: Noise) -> Tensor:
        with torch.no_grad():
            return generator(latents(generator), GRID, noise=noise)

    assert (image("random") - image("random")).abs().max() > 1e-2
    assert (image("none") - image(4)).abs().max() > 1e-2
    torch.testing.assert_close(image(4), image(4), atol=0, rtol=0)
    seeds = torch.tensor([4, 8, 15])
    torch.testing.assert_close(image(seeds)[0], image(4)[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(image(seeds)[1], image(8)[1], atol=1e-5, rtol=0)


def test_random_noise_of_training_is_the_same_when_parts_are_computed_again() -> None:
    generator = tiny_generator().double()
    found = []
    for points in (None, 100):
        torch.manual_seed(11)
        generator.zero_grad()
        generator(latents(generator), GRID, points_at_once=points).square().sum().backward()
        found.append(generator.trunk.first.strength.grad)
    torch.testing.assert_close(found[0], found[1])


def test_truncation_draws_to_the_mean_style() -> None:
    generator = tiny_generator()
    z = latents(generator, 100)
    w = generator.map(z).detach()
    with pytest.raises(
        UserError, match=r"truncation by 0\.7 needs the mean style, which has not been computed"
    ):
        generator.truncate(w, 0.7)
    torch.testing.assert_close(generator.truncate(w, 1), w)
    generator.remember_mean_w(z)
    assert generator.mean_w_draws == 100
    torch.testing.assert_close(generator.truncate(w, 0), w.mean(0).expand_as(w))
    torch.testing.assert_close(generator.truncate(w, 0.7), w.mean(0) + 0.7 * (w - w.mean(0)))
    assert {"mean_w", "mean_w_draws"} <= generator.state_dict().keys()


def test_autocast_narrows_products_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    original = generator_file.refilled

    def spied(layers: list[Folded], tensors: list[Tensor]) -> list[Folded]:
        seen.extend(tensor.dtype for tensor in tensors)
        return original(layers, tensors)

    monkeypatch.setattr(generator_file, "refilled", spied)
    generator = tiny_generator()
    expected = generator(latents(generator), GRID, noise="none").detach()
    full = gradients(generator)
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        w = generator.map(latents(generator))
        rgb = generator(latents(generator), GRID, noise="none").detach()
    half = gradients(generator, half=True)
    assert w.dtype == rgb.dtype == torch.float32
    assert seen.count(torch.bfloat16) == 2 * generator.styles  # all weights, no bias
    torch.testing.assert_close(w, generator.map(latents(generator)), atol=0, rtol=0)
    error = (rgb - expected).std() / expected.std()
    assert 1e-4 < error < 0.05
    assert {gradient.dtype for gradient in half.values()} == {torch.float32}
    narrow, wide = (torch.cat([g.flatten() for g in found.values()]) for found in (half, full))
    assert (narrow - wide).norm() < 0.1 * wide.norm()


def test_parameters_in_half_precision_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"bfloat16, too coarse for coordinates and styles; use trainer\.precision"
    ):
        tiny_generator().bfloat16()(torch.randn(1, 8), GRID)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid_size": 3}, r"model\.generator\.grid_size is 3; expected at least 4"),
        ({"features": 0}, r"model\.generator\.features is 0; expected at least 1"),
        ({"width": 6, "grid_size": 256}, r"model\.generator\.width is 6; expected a multiple of 4"),
        (
            {"width": 4, "grid_size": 256, "activation": "sinrelu"},
            r"expected a multiple of 8, because the last",
        ),
        ({"mapping_layers": -1}, r"mapping_layers is -1; expected at least 0"),
    ],
)
def test_unusable_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny_generator(**options)


@pytest.mark.parametrize(
    ("w", "coordinates", "options", "message"),
    [
        ((2, 9), (5, 2), {}, r"w has the shape \[2, 9\]; expected \[B, 8\] or \[B, 10, 8\]"),
        ((2, 8), (5, 3), {}, r"coordinates have the shape \[5, 3\]; expected \[N, 2\], or \[1, \.\.\., 2\]"),
        ((2, 8), (3, 5, 2), {}, r"or \[2, \.\.\., 2\] for 2 images"),
        ((2, 8), (1, 8, 8, 2), {"full_grid": True}, r"full training grid .* expected \[1, 16, 16, 2\]"),
        ((2, 8), (5, 2), {"points_at_once": 0}, r"points_at_once is 0; expected at least 1"),
        (
            (2, 8),
            (5, 2),
            {"noise": torch.zeros(3)},
            r"noise has the shape \[3\]; expected one seed for each of 2",
        ),
    ],
)
def test_shapes_that_do_not_fit(
    w: tuple[int, ...], coordinates: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_generator().synthesize(torch.zeros(w), torch.zeros(coordinates), **options)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
@pytest.mark.parametrize("options", [{"variant": "skip"}, {"variant": "residual"}])
def test_a_compiled_generator_is_the_same(options: dict[str, Any]) -> None:
    generator = tiny_generator(**options)
    expected, expected_gradients = generator(latents(generator), GRID, noise=3), gradients(generator)
    compiled = cast(CIPSGenerator, torch.compile(generator))
    torch.testing.assert_close(compiled(latents(generator), GRID, noise=3), expected, atol=1e-4, rtol=0)
    generator.zero_grad()
    rng = torch.Generator().manual_seed(2)
    rgb = compiled(latents(generator), GRID, noise=3)
    (rgb * torch.randn(rgb.shape, generator=rng)).sum().backward()
    for name, parameter in generator.named_parameters():
        wanted = expected_gradients[name]
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, wanted, atol=1e-3 * float(wanted.abs().max()), rtol=0)
