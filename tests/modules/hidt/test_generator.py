from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.modules.hidt.content_encoder import joined
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.modulation import ModulationNetwork
from repsynth.modules.hidt.normalisation import Moments, recording, replaying
from repsynth.modules.hidt.options import GeneratorOptions
from repsynth.nn.norm import TotalLayerNorm

from .tiny import tiny_generator


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_released_sizes() -> None:
    daytime = HiDTGenerator(GeneratorOptions(segmentation="colours"))
    assert parameters(daytime) == 9_819_289
    assert parameters(daytime.content_encoder) == 3_497_184
    assert parameters(daytime.style_encoder) == 1_556_643
    assert parameters(daytime.decoder.modulation) == 255_316
    assert parameters(HiDTGenerator(GeneratorOptions(style_size=12, segmentation="none"))) == 9_809_935


def test_shapes() -> None:
    generator, images = tiny_generator(), torch.randn(2, 3, 16, 24)
    content, styles = generator.encode_content(images), generator.encode_style(images)
    assert content.code.shape == (2, 16, 4, 6)
    assert [skip.shape[1:] for skip in content.skips] == [(2, 8, 12), (2, 16, 24)]
    assert styles.shape == (2, 3)
    images, maps = generator.decode(content, styles)
    assert images.shape == (2, 3, 16, 24) and images.abs().max() < 1
    assert maps is not None and maps.shape == (2, 5, 16, 24)


@pytest.mark.parametrize(
    ("options", "maps"),
    [
        ({"segmentation": "none"}, None),
        ({"segmentation": "colours"}, 3),
        ({"classes": 2}, 2),
        ({"style_size": 7, "style_downsamplings": 2}, 5),
        ({"downsamplings": 1, "skip_levels": (0,)}, 5),
        ({"downsamplings": 3, "skip_levels": (2, 0, 1)}, 5),
        ({"skip_levels": ()}, 5),
        ({"skip_levels": (0, 1), "skip_channels": 4}, 5),
        ({"content_blocks": 0, "decoder_blocks": 0}, 5),
        ({"adain_layers": 1}, 5),
        ({"upsampling": "plain"}, 5),
    ],
)
def test_every_option_builds_a_network_that_learns(options: dict[str, Any], maps: int | None) -> None:
    generator = tiny_generator(**options)
    images = torch.randn(2, 3, 16, 24)
    translation = generator(images, generator.encode_style(images))
    assert translation.images.shape == images.shape
    assert (None if translation.maps is None else translation.maps.shape[1]) == maps
    (
        translation.images.square().sum() + (0 if translation.maps is None else translation.maps.sum())
    ).backward()
    silent = [
        name for name, p in generator.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert silent == []


def test_logits_are_not_bounded_and_colours_are() -> None:
    images = torch.randn(1, 3, 16, 16)
    for segmentation, bounded in (("classes", False), ("colours", True)):
        generator = tiny_generator(segmentation=segmentation)
        generator.decoder.out.weight.data.mul_(100)
        maps = generator(images, torch.randn(1, 3)).maps
        assert maps is not None and (maps.abs().max() <= 1).item() == bounded


def test_images_alone_are_the_same() -> None:
    generator, images = tiny_generator(), torch.randn(1, 3, 16, 16)
    content, styles = generator.encode_content(images), torch.randn(1, 3)
    alone = generator.decode(content, styles, maps=False)
    assert alone.maps is None
    torch.testing.assert_close(alone.images, generator.decode(content, styles).images)


def test_skips_are_the_first_channels_in_the_order_of_their_levels() -> None:
    images = torch.randn(1, 3, 16, 16)
    coarse_first, fine_first = tiny_generator(), tiny_generator(skip_levels=(0, 1))
    half, full = coarse_first.encode_content(images).skips
    for found, expected in zip(fine_first.encode_content(images).skips, (full, half), strict=True):
        assert torch.equal(found, expected)
    wide = tiny_generator(skip_channels=3)
    wide.content_encoder.load_state_dict(coarse_first.content_encoder.state_dict())
    assert torch.equal(wide.encode_content(images).skips[1][:, :2], full)


def test_order_of_predicted_norms() -> None:
    network = ModulationNetwork(2, 4, 2, (3, 1))
    last: nn.Linear = network.layers[1]  # type: ignore[assignment]
    nn.init.zeros_(last.weight)
    last.bias.data.copy_(torch.arange(8.0))
    (first, second) = network(torch.randn(1, 2))
    assert [part.tolist() for part in (*first, *second)] == [[[0, 1, 2]], [[3, 4, 5]], [[6]], [[7]]]


def test_one_change_of_the_style_reaches_every_norm_but_no_layer_keeps_it() -> None:
    generator, images = tiny_generator(), torch.randn(1, 3, 16, 16)
    content = generator.encode_content(images)
    first, second = torch.randn(2, 1, 3)
    before = generator.decode(content, first).images
    assert not torch.allclose(generator.decode(content, second).images, before)
    assert torch.equal(generator.decode(content, first).images, before)
    assert not list(generator.buffers())


def test_images_of_a_batch_do_not_mix() -> None:
    generator, images, styles = tiny_generator(), torch.randn(3, 3, 16, 16), torch.randn(3, 3)
    together, alone = generator(images, styles), generator(images[1:2], styles[1:2])
    torch.testing.assert_close(together.images[1:2], alone.images, atol=1e-5, rtol=1e-5)
    assert together.maps is not None and alone.maps is not None
    torch.testing.assert_close(together.maps[1:2], alone.maps, atol=1e-4, rtol=1e-4)
    styled = generator.encode_style(images)
    torch.testing.assert_close(styled[1:2], generator.encode_style(images[1:2]))


def test_contents_are_joined_cut_expanded_and_freed() -> None:
    generator, images = tiny_generator(), torch.randn(3, 3, 16, 16)
    whole = generator.encode_content(images)
    again = joined([whole.part(slice(0, 1)), whole.part(slice(1, 3))])
    for found, expected in zip((again.code, *again.skips), (whole.code, *whole.skips), strict=True):
        assert torch.equal(found, expected)
    styles = torch.randn(2, 3)
    many = generator.decode(whole.part(slice(0, 1)).expand(2), styles).images
    torch.testing.assert_close(many[1:], generator.decode(whole.part(slice(0, 1)), styles[1:]).images)
    compact = whole.compact()
    for skip, own in zip(whole.skips, compact.skips, strict=True):
        assert torch.equal(skip, own)
        assert own.untyped_storage().nbytes() == own.nbytes < skip.untyped_storage().nbytes()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_formats_agree_and_are_kept(layout: torch.memory_format) -> None:
    generator, images, styles = tiny_generator(), torch.randn(2, 3, 16, 24), torch.randn(2, 3)
    expected = generator(images, styles).images
    generator = generator.to(memory_format=layout)
    content = generator.encode_content(images.to(memory_format=layout))
    assert content.code.is_contiguous(memory_format=layout)
    found = generator.decode(content, styles).images
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_without_gradients_the_channels_of_a_pixel_lie_together_and_nothing_else_changes() -> None:
    generator, images, styles = tiny_generator(), torch.randn(2, 3, 16, 24), torch.randn(2, 3)
    learning = generator.decode(generator.encode_content(images), styles).images
    with torch.no_grad():
        content = generator.encode_content(images)
        found = generator.decode(content, styles).images
    assert content.code.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, learning, atol=1e-5, rtol=1e-5)


def test_half_precision_gives_float32_images_and_styles() -> None:
    generator, images = tiny_generator(), torch.randn(2, 3, 16, 16)
    styles = generator.encode_style(images)
    expected = generator(images, styles)
    with torch.autocast("cpu", torch.bfloat16):
        found_styles = generator.encode_style(images)
        content = generator.encode_content(images)
        found = generator.decode(content, styles)
    assert content.code.dtype == torch.bfloat16
    assert {found.images.dtype, found_styles.dtype} == {torch.float32}
    torch.testing.assert_close(found_styles, styles, atol=0.05, rtol=0.05)
    assert (found.images - expected.images).abs().mean() < 0.02


def test_first_weights() -> None:
    generator = HiDTGenerator()
    for name, module in generator.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.numel() > 10_000:
            fan_in = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05), name
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert module.bias is not None and not module.bias.any()
    gammas = torch.cat([m.gamma for m in generator.modules() if isinstance(m, TotalLayerNorm)])
    assert gammas.min() >= 0 and gammas.max() <= 1 and gammas.mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(("downsamplings", "blocks"), [(1, (0, 1)), (2, (1, 1)), (3, (0, 0))])
def test_the_halo_is_what_a_pixel_depends_on_with_given_statistics(
    downsamplings: int, blocks: tuple[int, int]
) -> None:
    generator = tiny_generator(
        downsamplings=downsamplings, skip_levels=(0,), content_blocks=blocks[0], decoder_blocks=blocks[1]
    )
    halo, multiple = generator.halo, generator.side_multiple
    side = 2 * halo + 4 * multiple
    images = torch.randn(1, 3, max(2 * multiple, 8), side)
    change = torch.randn_like(images)
    start = halo + multiple
    change[..., : start + multiple] = 0
    statistics = _statistics(generator, images)
    before, after = (_translated(generator, x, statistics) for x in (images, images + change))
    edge = start + multiple
    assert torch.equal(before[..., : edge - halo], after[..., : edge - halo])
    assert not torch.equal(
        before[..., edge - halo : edge - halo + multiple], after[..., edge - halo : edge - halo + multiple]
    )


def _statistics(generator: HiDTGenerator, images: Tensor) -> tuple[list[Moments], list[Moments]]:
    kept: tuple[list[Moments], list[Moments]] = [], []
    content = generator.encode_content(images, recording(kept[0]))
    generator.decode(content, torch.ones(1, 3), source=recording(kept[1]))
    return kept


def _translated(
    generator: HiDTGenerator, images: Tensor, statistics: tuple[list[Moments], list[Moments]]
) -> Tensor:
    content = generator.encode_content(images, replaying(statistics[0]))
    return generator.decode(content, torch.ones(1, 3), source=replaying(statistics[1])).images


def test_the_released_halo() -> None:
    assert HiDTGenerator().halo == 100


@pytest.mark.parametrize("size", [(18, 22), (16, 18), (4, 16), (0, 16)])
def test_sizes_that_cannot_be_halved_and_restored(size: tuple[int, int]) -> None:
    generator = tiny_generator()
    with pytest.raises(
        UserError,
        match=rf"downsamplings=2 needs image sides that are multiples of 4 and at least 8 pixels, but gets "
        rf"{size[0]}x{size[1]}; change the size of the images, or model\.generator\.downsamplings\.$",
    ):
        generator(torch.zeros(1, 3, *size), torch.zeros(1, 3))


@pytest.mark.parametrize("downsamplings", [1, 2, 3])
def test_the_smallest_size_runs(downsamplings: int) -> None:
    generator = tiny_generator(downsamplings=downsamplings, skip_levels=(0,))
    side = max(2 * 2**downsamplings, 8)
    assert generator(torch.randn(1, 3, side, side), torch.zeros(1, 3)).images.isfinite().all()


@pytest.mark.parametrize(("downsamplings", "least"), [(1, 4), (2, 4), (4, 16)])
def test_the_smallest_style_photo(downsamplings: int, least: int) -> None:
    generator = tiny_generator(style_downsamplings=downsamplings)
    assert generator.encode_style(torch.randn(1, 3, least, least + 3)).shape == (1, 3)
    with pytest.raises(
        UserError,
        match=rf"style encoder needs image sides of at least {least} pixels, but gets {least}x{least - 1}; use larger",
    ):
        generator.encode_style(torch.randn(1, 3, least, least - 1))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"style_size": 0}, r"model\.generator\.style_size is 0; expected at least 1"),
        ({"downsamplings": 0}, r"model\.generator\.downsamplings is 0; expected at least 1"),
        ({"skip_channels": 0}, r"model\.generator\.skip_channels is 0; expected at least 1"),
        ({"adain_layers": 0}, r"model\.generator\.adain_layers is 0; expected at least 1"),
        ({"decoder_blocks": -1}, r"model\.generator\.decoder_blocks is -1; expected at least 0"),
        ({"classes": 1}, r"model\.generator\.classes is 1; expected at least 2"),
        (
            {"skip_channels": 5},
            r"skip_channels is 5, more than the 4 channels of the full size; lower it or raise model\.gen.*width$",
        ),
        (
            {"skip_levels": (2,)},
            r"skip_levels is \[2\]; expected different levels from 0 \(full size\) to 1, with downsamplings=2",
        ),
        ({"skip_levels": (0, 0)}, r"skip_levels is \[0, 0\]; expected different levels"),
    ],
)
def test_impossible_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_generator(**options)
