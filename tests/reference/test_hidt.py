"""Files in the official layout, written here by the keys and shapes of the official state dictionaries."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsynth.errors import UserError
from repsynth.modules.hidt.enhancer import Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.options import EnhancerOptions, GeneratorOptions
from repsynth.reference.files import read_official
from repsynth.reference.hidt import load_enhancer, load_generator, load_official

Shapes = dict[str, tuple[int, ...]]
WIDTH, GROWTH = 8, 4


class Module(nn.Module):
    """What of a LightningModule the import looks at."""

    def __init__(self, generator: nn.Module | None = None, enhancer: nn.Module | None = None) -> None:
        super().__init__()
        self.generator, self.enhancer = generator, enhancer


def conv(name: str, before: int, after: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (after, before, kernel, kernel), f"{name}.bias": (after,)}


def generator_shapes(style_size: int, outputs: int, w: int = WIDTH, skip: int = 5) -> Shapes:
    shapes = conv("content_encoder.model_preparation.0.conv", 3, w, 9)
    for level in range(2):
        shapes |= conv(f"content_encoder.model_downsample.{level}.conv", w << level, 2 * w << level, 6)
    for part, blocks in (("content_encoder.model_postprocess.0", 4), ("decoder.body.0", 5)):
        for block in range(blocks):
            for number in range(2):
                name = f"{part}.model.{block}.model.{number}"
                shapes |= conv(f"{name}.conv", 4 * w, 4 * w, 3)
                shapes |= dummies(name, 4 * w) if part.startswith("decoder") else {}
    widths = [3, w, 2 * w, 4 * w, 4 * w, 4 * w]
    for number, kernel in enumerate((7, 4, 4, 4, 4)):
        shapes |= conv(f"style_encoder.body.{number}.conv", widths[number], widths[number + 1], kernel)
    shapes |= conv("style_encoder.head.1", 4 * w, style_size, 1)
    for number, wide in enumerate((4 * w, 2 * w)):
        shapes |= conv(f"decoder.upsample_postprocess.{number}.0.conv", wide + skip, wide // 2, 7)
        shapes |= {
            f"decoder.upsample_postprocess.{number}.0.norm.{n}": (wide // 2,) for n in ("gamma", "beta")
        }
        shapes |= conv(f"decoder.skip_preprocess.{number}.0.conv", skip, skip, 7)
        shapes |= dummies(f"decoder.skip_preprocess.{number}.0", skip)
    shapes |= conv("decoder.model_postprocess.0.conv", w, outputs, 9)
    sizes = [style_size, 64, 64, 2 * (10 * 4 * w + 2 * skip)]
    for number in range(3):
        name = f"decoder.adain_net.model.{number}.fc"
        shapes |= {f"{name}.weight": (sizes[number + 1], sizes[number]), f"{name}.bias": (sizes[number + 1],)}
    return shapes


def dummies(name: str, channels: int) -> Shapes:
    return {f"{name}.norm.running_{statistic}": (channels,) for statistic in ("mean", "var")}


def enhancer_shapes(width: int = WIDTH, growth: int = GROWTH, blocks: int = 5) -> Shapes:
    shapes = conv("conv_first", 48, width, 3)
    for block in range(blocks):
        for dense in range(3):
            for number in range(5):
                name = f"RRDB_trunk.{block}.RDB{dense + 1}.conv{number + 1}"
                shapes |= conv(name, width + number * growth, growth if number < 4 else width, 3)
    shapes |= conv("trunk_conv", width, width, 3)
    for number in range(2):
        shapes |= conv(f"upconv{number + 1}", width, 4 * width, 3)
    return shapes | conv("HRconv", width, width, 3) | conv("conv_last", width, 3, 3)


def filled(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def our_generator(**options: Any) -> HiDTGenerator:  # noqa: ANN401
    return HiDTGenerator(GeneratorOptions(**{"width": WIDTH, "segmentation": "colours", **options}))


def our_enhancer(**options: Any) -> Enhancer:  # noqa: ANN401
    return Enhancer(EnhancerOptions(**{"width": WIDTH, "growth": GROWTH, **options}))


PLACES = {
    "content_encoder.first.weight": "content_encoder.model_preparation.0.conv.weight",
    "content_encoder.downs.1.bias": "content_encoder.model_downsample.1.conv.bias",
    "content_encoder.blocks.3.convs.1.weight": "content_encoder.model_postprocess.0.model.3.model.1.conv.weight",
    "style_encoder.convs.4.weight": "style_encoder.body.4.conv.weight",
    "style_encoder.head.weight": "style_encoder.head.1.weight",
    "decoder.blocks.4.convs.0.bias": "decoder.body.0.model.4.model.0.conv.bias",
    "decoder.skips.0.weight": "decoder.skip_preprocess.0.0.conv.weight",
    "decoder.ups.1.conv.weight": "decoder.upsample_postprocess.1.0.conv.weight",
    "decoder.ups.0.norm.gamma": "decoder.upsample_postprocess.0.0.norm.gamma",
    "decoder.out.weight": "decoder.model_postprocess.0.conv.weight",
    "decoder.modulation.layers.2.bias": "decoder.adain_net.model.2.fc.bias",
}
ENHANCER_PLACES = {
    "first.weight": "conv_first.weight",
    "blocks.4.dense.2.convs.4.bias": "RRDB_trunk.4.RDB3.conv5.bias",
    "blocks.0.dense.1.convs.0.weight": "RRDB_trunk.0.RDB2.conv1.weight",
    "trunk.weight": "trunk_conv.weight",
    "ups.1.weight": "upconv2.weight",
    "fine.bias": "HRconv.bias",
    "last.weight": "conv_last.weight",
}


@pytest.mark.parametrize(("style_size", "segmentation"), [(3, "colours"), (12, "none")])
def test_both_released_layouts(style_size: int, segmentation: str) -> None:
    state = filled(generator_shapes(style_size, 6 if segmentation == "colours" else 3))
    assert len(state) == 98 and sum("running" in key for key in state) == 24
    generator = our_generator(style_size=style_size, segmentation=segmentation)
    load_generator(generator, state)
    ours = generator.state_dict()
    assert len(ours) == 74
    for key, name in PLACES.items():
        assert torch.equal(ours[key], state[name])


def test_the_enhancer_s_layout() -> None:
    state = filled(enhancer_shapes())
    assert len(state) == 162
    enhancer = our_enhancer()
    load_enhancer(enhancer, state)
    for key, name in ENHANCER_PLACES.items():
        assert torch.equal(enhancer.state_dict()[key], state[name])


@pytest.mark.parametrize(("option", "value"), [("stacking", "plain"), ("padding", "reflect")])
def test_an_enhancer_that_computes_something_else_is_refused(option: str, value: str) -> None:
    """Its weights would have the right shapes."""
    with pytest.raises(UserError, match=rf"{value}.*; expected pasted and zeros, with which the official"):
        load_enhancer(our_enhancer(**{option: value}), filled(enhancer_shapes()))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_fills_the_network_that_it_is_of(tmp_path: Path, wrapped: bool) -> None:
    module = Module(our_generator(), our_enhancer())
    files = {"generator": filled(generator_shapes(3, 6)), "enhancer": filled(enhancer_shapes(), 1)}
    for name, state in files.items():
        path = tmp_path / f"{name}.pth"
        torch.save({f"module.{key}": value for key, value in state.items()} if wrapped else state, path)
        load_official(module, read_official(path))
    assert torch.equal(
        module.generator.decoder.out.bias, files["generator"]["decoder.model_postprocess.0.conv.bias"]
    )
    assert torch.equal(module.enhancer.last.bias, files["enhancer"]["conv_last.bias"])


def test_module_is_removed_wherever_it_stands() -> None:
    state = filled(generator_shapes(3, 6))
    moved = {key.replace("_encoder.", "_encoder.module."): value for key, value in state.items()}
    assert moved.keys() != state.keys()
    generator = our_generator()
    load_official(Module(generator), moved)
    name = "content_encoder.model_preparation.0.conv.bias"
    assert torch.equal(generator.content_encoder.first.bias, state[name])
    enhancer = our_enhancer()
    inside = {
        key.replace("RRDB_trunk.", "RRDB_trunk.module."): value
        for key, value in filled(enhancer_shapes()).items()
    }
    load_official(Module(enhancer=enhancer), inside)


def test_a_network_saved_by_the_official_program_gives_its_images() -> None:
    """The dummy buffers of adaptive norms may hold anything."""
    state = filled(generator_shapes(3, 6))
    other = {key: value + 7 if "running" in key else value for key, value in state.items()}
    found = []
    for content in (state, other):
        generator = our_generator()
        load_generator(generator, content)
        found.append(generator(torch.ones(1, 3, 16, 16), torch.ones(1, 3)).images)
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"style_size": 12},
            r"does not fit HiDTGenerator: style_encoder\.head\.weight is \[3, 32, 1, 1\], expected \[12, 32, 1, 1\]; "
            r"check its style_size, width, skip_channels and segmentation \(colours for daytime, none for wikiart\)$",
        ),
        (
            {"segmentation": "none"},
            r"decoder\.out\.weight is \[6, 8, 9, 9\], expected \[3, 8, 9, 9\]; check its style",
        ),
        (
            {"skip_channels": 3},
            r"decoder\.ups\.0\.conv\.weight is \[16, 37, 7, 7\], expected \[16, 35, 7, 7\]",
        ),
        (
            {"content_blocks": 5},
            r"does not fit HiDTGenerator: 4 tensors missing .*check the model's configuration",
        ),
        ({"skip_levels": (1,)}, r"does not fit HiDTGenerator"),
    ],
)
def test_a_generator_of_another_architecture(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        load_official(Module(our_generator(**options)), filled(generator_shapes(3, 6)))


def test_an_enhancer_of_another_architecture() -> None:
    with pytest.raises(
        UserError, match=r"first\.weight is \[8, 48, 3, 3\], expected \[8, 12, 3, 3\]; check its factor"
    ):
        load_official(Module(enhancer=our_enhancer(factor=2)), filled(enhancer_shapes()))
    with pytest.raises(UserError, match=r"does not fit Enhancer: 0 tensors missing .* 30 left over"):
        load_official(Module(enhancer=our_enhancer(blocks=4)), filled(enhancer_shapes()))


def test_modules_without_the_network() -> None:
    with pytest.raises(
        UserError, match=r"the file is HiDT's generator, but the experiment's model Linear has none; name"
    ):
        load_official(nn.Linear(1, 1), filled(generator_shapes(3, 6)))
    with pytest.raises(
        UserError, match=r"the file is HiDT's enhancer, but the experiment's model Module has none"
    ):
        load_official(Module(our_generator()), filled(enhancer_shapes()))
