"""Speed and memory of HiDT beside the usual formulation: `python benchmarks/hidt.py [--rounds 3] [--parts ...]`.

Released sizes of the networks, random weights. The usual formulation, written down here and fed with the same weights,
is what the official program computes, for one crop after the other: reflection padding and convolution layer by layer,
adaptive norms by batch norm of a reshaped tensor, enlargement to the full size before the 7x7 convolutions, total layer
norm by mean and deviation, both heads of the decoder, and an enhancer that joins features by copying. It is checked to
give the same images before anything is timed. A style is encoded once on either side. Ours keep freed memory, as every
run of repsynth on a CPU does (`repsynth.memory`); the usual formulation has what the C library keeps by itself.

On a CPU set OMP_NUM_THREADS, and read ratios: both sides are timed in turn. `--side` shrinks the working size.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from measure import Measurement, memory_of, print_memory_growth, side_by_side
from torch import Tensor
from torch.nn import functional as F

from repsynth.cli.cpu_runs import KEPT_BYTES
from repsynth.memory import keep_freed_memory
from repsynth.modules.hidt.crops import shifted_crops, stack_of
from repsynth.modules.hidt.decoder import Decoder
from repsynth.modules.hidt.enhancement import crop_contents, enhanced_translations, translated_crops
from repsynth.modules.hidt.enhancer import SLOPE, Enhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.normalisation import EPSILON, Modulation
from repsynth.modules.hidt.options import EnhancementOptions, GeneratorOptions, PhotoOptions, TilingOptions
from repsynth.modules.hidt.preparation import prepared, to_bytes, to_unit
from repsynth.modules.hidt.translation import tiled_translation, translations
from repsynth.modules.hidt.upsampling import Upsampling
from repsynth.modules.hidt.wide_convolution import wide_convolution
from repsynth.nn.norm import TotalLayerNorm
from repsynth.nn.reflection import ReflectedConv2d

MIB = 2**20
USUALLY_KEPT = 128 * MIB
"""What glibc keeps by itself once a process has freed large pieces, at most; those above a quarter it gives back."""
UPSAMPLINGS: tuple[Upsampling, ...] = ("plain", "split")
STYLES = 4
"""Of a timelapse or a grid, for which contents are kept."""


# The usual formulation.


def usual_convolution(conv: ReflectedConv2d, x: Tensor) -> Tensor:
    return F.conv2d(F.pad(x, (conv.margin,) * 4, mode="reflect"), conv.weight, conv.bias, conv.stride)


def usual_adaptive_norm(x: Tensor, modulation: Modulation) -> Tensor:
    shift, scale = (part.reshape(-1) for part in modulation)
    one = x.reshape(1, -1, *x.shape[2:])
    mean, variance = torch.zeros_like(shift), torch.ones_like(shift)
    return F.batch_norm(one, mean, variance, scale, shift, True, 0.1, EPSILON).view_as(x)


def usual_layer_norm(x: Tensor, norm: TotalLayerNorm) -> Tensor:
    flat = x.view(len(x), -1)
    mean, deviation = flat.mean(1).view(-1, 1, 1, 1), flat.std(1).view(-1, 1, 1, 1)
    x = (x - mean) / (deviation + norm.EPSILON)
    return x * norm.gamma.view(1, -1, 1, 1) + norm.beta.view(1, -1, 1, 1)


def usual_block(block: Any, x: Tensor, modulations: Iterator[Modulation] | None = None) -> Tensor:
    y = x
    for number, conv in enumerate(block.convs):
        y = usual_convolution(conv, y)
        y = (
            F.instance_norm(y, eps=EPSILON)
            if modulations is None
            else usual_adaptive_norm(y, next(modulations))
        )
        y = y if number else F.relu(y)
    return x + y


def usual_content(encoder: Any, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    x, levels = image, []
    for conv in (encoder.first, *encoder.downs):
        x = F.relu(F.instance_norm(usual_convolution(conv, x), eps=EPSILON))
        levels.append(x[:, : encoder.skip_channels])
    for block in encoder.blocks:
        x = usual_block(block, x)
    return x, levels


def usual_image(decoder: Decoder, content: tuple[Tensor, list[Tensor]], style: Tensor) -> Tensor:
    x, levels = content
    modulations = iter(decoder.modulation(style))
    for block in decoder.blocks:
        x = usual_block(block, x, modulations)
    skips = {
        level: F.relu(usual_adaptive_norm(usual_convolution(conv, levels[level]), next(modulations)))  # type: ignore[arg-type]
        for level, conv in zip(decoder.skip_levels, decoder.skips, strict=True)
    }
    ups: list[Any] = list(decoder.ups)
    for number, up in enumerate(ups):
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        x = torch.cat((x, skips[len(ups) - 1 - number]), 1)
        x = F.relu(usual_layer_norm(usual_convolution(up.conv, x), up.norm))
    return usual_convolution(decoder.out, x).tanh()[:, :3]


def usual_translation(generator: HiDTGenerator, image: Tensor, style: Tensor) -> Tensor:
    """The image [1, 3, h, w] of one in [-1, 1], in a style [1, style_size]."""
    return usual_image(generator.decoder, usual_content(generator.content_encoder, image), style)


def usual_enhancement(enhancer: Enhancer, stack: Tensor) -> Tensor:
    def conv(layer: Any, x: Tensor) -> Tensor:
        return F.conv2d(x, layer.weight, layer.bias, padding=1)

    first = x = conv(enhancer.first, stack)
    for block in enhancer.blocks:
        y = x
        for dense in block.dense:  # type: ignore[union-attr]
            found = [y]
            *layers, last = dense.convs
            for layer in layers:
                found.append(F.leaky_relu(conv(layer, torch.cat(found, 1)), SLOPE))
            y = conv(last, torch.cat(found, 1)) * 0.2 + y
        x = y * 0.2 + x
    x = first + conv(enhancer.trunk, x)
    for up in enhancer.ups:
        x = F.leaky_relu(F.pixel_shuffle(conv(up, x), 2), SLOPE)
    return conv(enhancer.last, F.leaky_relu(conv(enhancer.fine, x), SLOPE))


# What is measured.


def scenery(height: int, width: int) -> np.ndarray:
    """A photograph [3, H, W] uint8: smooth, with some noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / 90
    waves = np.stack([np.sin(rows * (1 + c) + columns + c) for c in range(3)])
    return (
        (127 + 90 * waves + 12 * rng.standard_normal(waves.shape, np.float32)).clip(0, 255).astype(np.uint8)
    )


class Case:
    """Networks of the released sizes and a square photograph of four times the working size."""

    def __init__(self, side: int, device: str) -> None:
        torch.manual_seed(0)
        self.generator = HiDTGenerator(GeneratorOptions(segmentation="colours")).to(device).eval()
        self.enhancer = Enhancer().to(device).eval()
        self.side, self.device = side, device
        self.options = PhotoOptions(side)
        self.photo = scenery(4 * side, 4 * side)
        self.styles = torch.randn(STYLES, 3, device=device)

    def plain(self, side: int) -> None:
        for _ in translations(
            self.generator, self.photo, self.styles[:1], replace(self.options, working_size=side)
        ):
            pass

    def tiled(self, photo: np.ndarray | None = None) -> None:
        given = self.photo if photo is None else photo
        tiled_translation(
            self.generator, given, self.styles[0], self.options, TilingOptions(), finish=to_bytes
        )

    def enhanced(self, styles: int, at_once: int) -> list[Tensor]:
        options = EnhancementOptions(crops_at_once=at_once)
        return list(
            enhanced_translations(
                self.generator, self.enhancer, self.photo, self.styles[:styles], self.options, options
            )
        )

    @torch.no_grad()
    def one_after_another(self, styles: int) -> list[Tensor]:
        """The crops one after the other, for every style anew, then the enhancer."""
        crops = shifted_crops(self.photo, self.side, self.enhancer.factor)
        found = []
        for style in self.styles[:styles].split(1):
            made = [to_unit(self.usual_crop(crop, style)) for crop in crops]
            stack = stack_of(torch.stack(made, 1), self.enhancer.factor)
            found.append(to_unit(usual_enhancement(self.enhancer, stack))[0])
        return found

    @torch.no_grad()
    def crops_at_once(self, at_once: int) -> Tensor:
        """The translated crops [16, 3, side, side] alone."""
        crops = shifted_crops(self.photo, self.side, self.enhancer.factor)
        contents = crop_contents(self.generator, crops, self.options, at_once)
        return translated_crops(self.generator, contents, self.styles[0])

    @torch.no_grad()
    def crops_one_after_another(self) -> Tensor:
        crops = shifted_crops(self.photo, self.side, self.enhancer.factor)
        return torch.cat([to_unit(self.usual_crop(crop, self.styles[:1])) for crop in crops])

    @torch.no_grad()
    def usual_crop(self, crop: np.ndarray, style: Tensor) -> Tensor:
        image = prepared(crop, self.options)[None].to(self.device)
        return usual_translation(self.generator, image, style)

    def check(self) -> None:
        """Both sides make the same images."""
        (expected,), (found,) = self.one_after_another(1), self.enhanced(1, 4)
        assert (found - expected).abs().max() < 1e-3, (found - expected).abs().max()


def print_times(title: str, works: dict[str, Callable[[], object]], rounds: int) -> dict[str, Measurement]:
    """Time works in turn and print them beside the first."""
    measured = side_by_side(works, rounds)
    first = next(iter(measured.values()))
    print(f"\n{title}")
    for name, timing in measured.items():
        ratios = f"{first.median / timing.median:5.2f} x by median {first.best / timing.best:5.2f} x by best"
        print(f"  {name:44} {timing.median:8.2f} s (best {timing.best:.2f}) | {ratios}", flush=True)
    return measured


def with_memory(kept: int, work: Callable[..., object], *arguments: object) -> Callable[[], object]:
    """The work in a process that keeps so many bytes of freed memory."""

    def prepared_work() -> object:
        keep_freed_memory(kept)
        return work(*arguments)

    return prepared_work


def print_enhancement(case: Case, rounds: int, at_once: int) -> None:
    case.check()
    size = f"{case.side} -> {case.side * case.enhancer.factor}"
    works: dict[str, Callable[[], object]] = {
        "16 crops one after another, usual formulation": with_memory(
            USUALLY_KEPT, case.crops_one_after_another
        ),
        f"ours, {at_once} crops at once": with_memory(KEPT_BYTES, case.crops_at_once, at_once),
    }
    print_times(f"the crops of {size} alone, one style", works, rounds)
    for styles in (1, STYLES):
        works = {
            "16 crops one after another, usual formulation": with_memory(
                USUALLY_KEPT, case.one_after_another, styles
            ),
            f"ours, {at_once} crops at once": with_memory(KEPT_BYTES, case.enhanced, styles, at_once),
            "ours, memory kept as usual": with_memory(USUALLY_KEPT, case.enhanced, styles, at_once),
        }
        words = "one style" if styles == 1 else f"{styles} styles of one photograph"
        print_times(f"enhanced {size}, {words}", works, rounds)


def print_translations(case: Case, rounds: int) -> None:
    large = 4 * case.side
    works: dict[str, Callable[[], object]] = {
        f"plain, {case.side}": partial(case.plain, case.side),
        f"plain, {large}": partial(case.plain, large),
        f"tiled, {large}": case.tiled,
    }
    print_times(
        f"translation of one photograph of {large} x {large} in one style, shorter side", works, rounds
    )


def print_layers(case: Case, rounds: int) -> None:
    """What ours gain layer by layer, each beside the plain way of computing the same."""
    torch.manual_seed(1)
    side, device = case.side // 4, case.device
    up: Any = case.generator.decoder.ups[0]
    x = torch.randn(4, 192, side, side, device=device)
    skip = torch.randn(4, case.generator.options.skip_channels, 2 * side, 2 * side, device=device)

    def enlarged(upsampling: Upsampling, learns: bool) -> None:
        up.upsampling = upsampling
        with torch.set_grad_enabled(learns):
            y = up(x, skip)
        if learns:
            y.sum().backward()

    for learns in (False, True):
        works: dict[str, Callable[[], object]] = {way: partial(enlarged, way, learns) for way in UPSAMPLINGS}
        print_times(f"an enlarging block, {'forward and backward' if learns else 'forward'}", works, rounds)
    up.upsampling = "split"

    weight = case.generator.decoder.out.weight.detach()[:3].clone()
    wide = torch.randn(4, weight.shape[1], case.side + 8, case.side + 8, device=device)

    def convolved(convolution: Callable[..., Tensor], learns: bool) -> None:
        given, kernel = wide.requires_grad_(learns), weight.requires_grad_(learns)
        with torch.set_grad_enabled(learns):
            y = convolution(given, kernel, None)
        if learns:
            y.sum().backward()

    for learns in (False, True):
        works = {
            "torch's convolution": partial(convolved, F.conv2d, learns),
            "wide_convolution": partial(convolved, wide_convolution, learns),
        }
        print_times(f"the last convolution, {'forward and backward' if learns else 'forward'}", works, rounds)

    photos = torch.rand(4, 3, case.side, case.side, device=device) * 2 - 1
    case.generator.requires_grad_(False)

    def translated(learns: bool) -> None:
        with torch.set_grad_enabled(learns):
            case.generator(photos, case.styles[:1].expand(len(photos), -1))

    works = {
        "channels apart, as in training": partial(translated, True),
        "channels of a pixel together": partial(translated, False),
    }
    print_times(f"a translation of {len(photos)} photographs, forward", works, rounds)

    stack = torch.randn(1, 3 * case.enhancer.factor**2, case.side, case.side, device=device)

    @torch.no_grad()
    def merged(enhance: Callable[[Tensor], Tensor]) -> None:
        enhance(stack)

    works = {
        "usual formulation": partial(merged, partial(usual_enhancement, case.enhancer)),
        "ours": partial(merged, case.enhancer),
    }
    print_times(f"the enhancer, a stack of {case.side} x {case.side}", works, rounds)


def print_memory(side: int, training_side: int, device: str) -> None:
    print("\npeak memory above the networks, a fresh process each")
    for name in (
        f"plain {side}",
        f"plain {4 * side}",
        f"enhanced {side}",
        f"tiled {4 * side}",
        "tiled 12 megapixels",
        f"training {training_side}",
    ):
        found = memory_of(__file__, ["--memory-of", name, "--side", str(side), "--device", device])
        print(f"  {name:44} {found / MIB:8.0f} MiB", flush=True)


def print_one_memory(name: str, side: int, device: str) -> None:
    kind, _, size = name.partition(" ")
    case = Case(side, device)
    keep_freed_memory(KEPT_BYTES)
    works: dict[str, Callable[[], object]] = {
        "plain": lambda: case.plain(int(size)),
        "enhanced": lambda: case.enhanced(1, 4),
        "tiled": lambda: case.tiled(scenery(3000, 4000) if size == "12 megapixels" else None),
    }
    print_memory_growth(
        lambda: iteration_of_training(int(size), device) if kind == "training" else works[kind]
    )


def iteration_of_training(side: int, device: str) -> Callable[[], None]:
    """A step of the generator and one of the discriminators, on four images, without a trainer."""
    from repsynth.modules.hidt.module import HiDT

    torch.manual_seed(0)
    model = HiDT(GeneratorOptions(segmentation="classes")).to(device)
    optimizers: Any = model.configure_optimizers()
    own = [SimpleNamespace(optimizer=each) for each in optimizers]
    batch: Any = {
        "ids": [str(number) for number in range(4)],
        "images": torch.rand(4, 3, side, side, device=device),
        "maps": torch.randint(0, 9, (4, side, side), device=device),
    }

    def step(of: Any, loss: Callable[[slice], Tensor], count: int) -> None:
        for each in own:
            for group in each.optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.requires_grad_(each is of)
        of.optimizer.zero_grad()
        loss(slice(0, count)).backward()
        of.optimizer.step()

    model.log_dict = model.log = lambda *arguments, **options: None  # type: ignore[assignment,method-assign]
    model.own_optimizers = lambda: own  # type: ignore[method-assign,assignment,return-value]
    model.step = step  # type: ignore[method-assign,assignment]
    return lambda: model.training_step(batch, 0)


def print_training(side: int, device: str, rounds: int) -> None:
    iteration = iteration_of_training(side, device)
    print_times("training", {f"an iteration, 4 images of {side} x {side}": iteration}, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=256, help="working size")
    parser.add_argument("--crops-at-once", type=int, default=EnhancementOptions().crops_at_once)
    parser.add_argument(
        "--parts", nargs="+", default=["translation", "enhancement", "layers", "memory", "training"]
    )
    parser.add_argument("--training-side", type=int, default=128)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print_one_memory(options.memory_of, options.side, options.device)
        return 0
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads")
    keep_freed_memory(KEPT_BYTES)
    if "translation" in options.parts:
        print_translations(Case(options.side, options.device), options.rounds)
    if "enhancement" in options.parts:
        print_enhancement(Case(options.side, options.device), options.rounds, options.crops_at_once)
    if "layers" in options.parts:
        print_layers(Case(options.side, options.device), options.rounds)
    if "memory" in options.parts:
        print_memory(options.side, options.training_side, options.device)
    if "training" in options.parts:
        print_training(options.training_side, options.device, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
