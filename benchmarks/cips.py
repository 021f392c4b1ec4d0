"""Speed and memory of the CIPS networks beside the usual formulation: `python benchmarks/cips.py [--rounds 3]`.

The usual formulation of a style-based network, written down here and fed with the same weights: weights of every sample
as a tensor, one grouped convolution over [1, B C, H, W], noise, bias, activation and gain one after the other, Fourier
features and embedding repeated for every sample and joined; in the discriminator a blur at full size before every
strided convolution. It is checked to give the same images and scores before anything is timed.

Released sizes: 512 channels, a grid of 256 x 256. On a CPU set OMP_NUM_THREADS, and read ratios: all is timed in turn.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from measure import memory_of, peak_memory, print_memory_growth, seconds, side_by_side
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.losses.adversarial import discriminator_loss, r1_penalty
from repsynth.modules.cips.blur import TAPS
from repsynth.modules.cips.coordinates import pixel_coordinates
from repsynth.modules.cips.discriminator import CIPSDiscriminator, with_deviation
from repsynth.modules.cips.equalised import EqualConv2d
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.layers import ModulatedLinear, StyledLayer
from repsynth.modules.cips.trunks import SkipTrunk

CASES = {"64 x 64, batch 4": (64, 4), "256 x 256, batch 1": (256, 1)}
PARTS = {64: 1024, 256: 4096}
"""Points at a time where parts are computed again in the backward pass."""
WORKS = ("usual", "usual, activations keep outputs only", "ours", "ours, parts computed again")
MIB = 2**20


class OutputOnly(torch.autograd.Function):
    """Bias, leaky ReLU and gain in one step that keeps its output alone, as the usual CUDA kernel does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        y = F.leaky_relu_(x + bias[:, None, None], 0.2).mul_(2**0.5)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (y,) = ctx.saved_tensors
        masked = torch.ops.aten.leaky_relu_backward(gradients[0], y, 0.2, True).mul_(2**0.5)
        return masked, masked.sum((0, 2, 3))


def modulated(layer: ModulatedLinear, x: Tensor, w: Tensor) -> Tensor:
    """A modulated 1 x 1 convolution of x [B, C, H, W]."""
    images, channels = x.shape[:2]
    weight = layer.weight[None, :, :, None, None] / math.sqrt(channels)
    weight = weight * layer.modulation(w).view(images, 1, channels, 1, 1)
    if layer.demodulate:
        weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    joined = x.reshape(1, images * channels, *x.shape[2:])
    y = F.conv2d(joined, weight.flatten(0, 1), groups=images)
    return y.view(images, -1, *x.shape[2:])


def styled(layer: StyledLayer, x: Tensor, w: Tensor, noise: bool, output_only: bool) -> Tensor:
    x = modulated(layer.linear, x, w)
    if noise:
        x = x + layer.strength * x.new_empty(len(x), 1, *x.shape[2:]).normal_()
    if output_only:
        activated: Tensor = OutputOnly.apply(x, layer.bias)
        return activated
    return F.leaky_relu(x + layer.bias.view(1, -1, 1, 1), 0.2) * 2**0.5


def usual_images(
    generator: CIPSGenerator,
    z: Tensor,
    coordinates: Tensor,
    full_grid: bool,
    noise: bool = True,
    output_only: bool = False,
) -> Tensor:
    """Images [B, 3, H, W] of the skip variant at coordinates [B, 2, H, W], in training."""
    w, inputs, trunk = generator.map(z), generator.inputs, generator.trunk
    assert isinstance(trunk, SkipTrunk)
    fourier = torch.sin(F.conv2d(coordinates, inputs.weight[:, :, None, None], inputs.bias))
    embedding = inputs.embedding[None].expand(len(z), -1, -1, -1)
    if not full_grid:
        places = coordinates.permute(0, 2, 3, 1)
        embedding = F.grid_sample(embedding, places, padding_mode="border", align_corners=False)
    x = styled(trunk.first, torch.cat((fourier, embedding), dim=1), w, noise, output_only)
    layers: list[Any] = list(trunk.layers)
    rgb: Tensor | None = None
    for stage, to_rgb in enumerate(trunk.to_rgb):
        for layer in layers[2 * stage : 2 * stage + 2]:
            x = styled(layer, x, w, noise, output_only)
        colours = modulated(to_rgb.linear, x, w) + to_rgb.bias.view(1, 3, 1, 1)  # type: ignore[arg-type,operator]
        rgb = colours if rgb is None else rgb + colours
    assert rgb is not None
    return rgb


def usual_convolution(layer: EqualConv2d, x: Tensor, stride: int | None = None) -> Tensor:
    weight = layer.weight / math.sqrt(layer.weight[0].numel())
    y = F.conv2d(x, weight, None, stride or layer.stride, layer.padding)
    return y if layer.bias is None else F.leaky_relu(y + layer.bias.view(1, -1, 1, 1), 0.2) * 2**0.5


def usual_blur(x: Tensor, padding: int) -> Tensor:
    taps = torch.tensor(TAPS, device=x.device) / sum(TAPS)
    kernel = (taps[:, None] * taps).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (padding,) * 4), kernel, groups=x.shape[1])


def usual_scores(discriminator: CIPSDiscriminator, images: Tensor) -> Tensor:
    x = usual_convolution(discriminator.first, images)
    for block in discriminator.blocks:
        first, second, skip = (getattr(block, name) for name in ("first", "second", "skip"))
        main = usual_convolution(second, usual_blur(usual_convolution(first, x), 2))
        x = (main + usual_convolution(skip, usual_blur(x, 1), stride=2)) / 2**0.5
    x = usual_convolution(discriminator.last, with_deviation(x))
    scores: Tensor = discriminator.score(discriminator.hidden(x.flatten(1)))
    return scores


class Generation:
    """What is done with the released generator in one case."""

    def __init__(self, side: int, batch: int, device: str) -> None:
        torch.manual_seed(0)
        self.generator = CIPSGenerator().to(device)
        self.z = torch.randn(batch, 512, device=device)
        self.grid = pixel_coordinates(side, side, device=device)[None]
        self.repeated = self.grid.movedim(-1, 1).repeat(batch, 1, 1, 1)
        self.full_grid = side == self.generator.grid_size
        self.parts = PARTS.get(side)

    def usual(self, output_only: bool = False, noise: bool = True) -> Tensor:
        return usual_images(self.generator, self.z, self.repeated, self.full_grid, noise, output_only)

    def ours(self, points_at_once: int | None = None) -> Tensor:
        found: Tensor = self.generator(self.z, self.grid, self.full_grid, points_at_once=points_at_once)
        return found

    def check(self) -> None:
        with torch.no_grad():
            expected = self.usual(noise=False)
            found = self.generator(self.z, self.grid, self.full_grid, noise="none")
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max()

    def backward(self, images: Callable[[], Tensor]) -> None:
        self.generator.zero_grad()
        images().square().mean().backward()

    def works(self) -> dict[str, Callable[[], object]]:
        """Forward and backward passes, by the names in `WORKS`."""
        images: tuple[Callable[[], Tensor], ...] = (
            self.usual,
            lambda: self.usual(output_only=True),
            self.ours,
            lambda: self.ours(self.parts),
        )
        return {name: partial(self.backward, made) for name, made in zip(WORKS, images, strict=True)}

    @torch.no_grad()
    def forward(self, images: Callable[[], Tensor]) -> None:
        images()


def print_ratios(title: str, works: dict[str, Callable[[], object]], rounds: int) -> None:
    """Time works in turn and print them beside the first."""
    measured = side_by_side(works, rounds)
    first = next(iter(measured.values()))
    for name, timing in measured.items():
        ratios = f"{first.median / timing.median:5.2f} x by median {first.best / timing.best:5.2f} x by best"
        print(f"{title:38} {name:38} {timing.median:8.2f} s (best {timing.best:.2f}) | {ratios}", flush=True)


def print_generator_speed(device: str, rounds: int) -> None:
    for title, (side, batch) in CASES.items():
        case = Generation(side, batch, device)
        case.check()
        forward: dict[str, Callable[[], object]] = {
            "usual": partial(case.forward, case.usual),
            "ours": partial(case.forward, case.ours),
        }
        print_ratios(f"forward, {title}", forward, rounds)
        print_ratios(f"forward + backward, {title}", case.works(), rounds)


def print_discriminator_speed(device: str, rounds: int, side: int = 64) -> None:
    torch.manual_seed(0)
    discriminator = CIPSDiscriminator(side).to(device)
    real, fake = (torch.rand(4, 3, side, side, device=device) * 2 - 1 for _ in range(2))

    def step(scores: Callable[[Tensor], Tensor], penalised: bool) -> None:
        discriminator.zero_grad()
        discriminator_loss([scores(real)], [scores(fake)]).backward()
        if penalised:
            (80 * r1_penalty(lambda images: [scores(images)], real)).backward()

    def usual(images: Tensor) -> Tensor:
        return usual_scores(discriminator, images)

    expected = usual(real)
    assert (discriminator(real) - expected).abs().max() < 1e-4 * expected.abs().max()
    for title, penalised in (("without R1", False), ("with R1", True)):
        works: dict[str, Callable[[], object]] = {
            "usual": partial(step, usual, penalised),
            "ours": partial(step, discriminator, penalised),
        }
        print_ratios(f"discriminator {side}, batch 4, {title}", works, rounds)


def live_bytes(work: Callable[[], object]) -> int:
    """The most bytes that tensors made by a work held at a time, as the allocator counts them."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        work()
    events = profile.profiler.kineto_results.events()
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes() if event.name() == "[memory]" else 0
        most = max(most, held)
    return most


def print_memory(device: str) -> None:
    """Every figure from a process of its own: growth of the process, and what the tensors in it held."""
    print(
        "\nmemory of forward + backward in MiB: of the process, of its tensors. Held at the end: gradients, 169.\n"
        "Adam's two states and the parameters themselves, 507, come on top on every side."
    )
    for title in CASES:
        first: list[int] = []
        for name in WORKS:
            kinds = ("process", "tensors") if device == "cpu" else ("process",)
            found = [
                memory_of(__file__, ["--memory-of", title, name, kind, "--device", device]) for kind in kinds
            ]
            first = first or found
            cells = " ".join(f"{v / MIB:7.0f} ({v / f:.2f})" for v, f in zip(found, first, strict=True))
            print(f"{title:20} {name:38} {cells}", flush=True)
    sampled = memory_of(__file__, ["--memory-of", "sampling", "ours", "process", "--device", device])
    print(f"sampling 1024 x 1024: {sampled / MIB:.0f} above the model")


def print_one_memory(title: str, name: str, kind: str, device: str) -> None:
    if title == "sampling":
        case = Generation(1024, 1, device)
        print_memory_growth(lambda: lambda: case.forward(case.ours))
        return
    work = Generation(*CASES[title], device).works()[name]
    if kind == "process":
        print_memory_growth(lambda: work)
    else:
        print(json.dumps({"bytes": live_bytes(work)}))


def print_throughput(device: str, side: int, batch: int, networks: dict[str, nn.Module]) -> None:
    """Images per second and memory in float32 and bfloat16, compiled and not."""
    z = torch.randn(batch, 512, device=device)
    grid = pixel_coordinates(side, side, device=device)[None]
    for precision in ("float32", "bfloat16"):
        for name, network in networks.items():

            def step(network: nn.Module = network, half: bool = precision != "float32") -> None:
                with torch.autocast(device, torch.bfloat16, enabled=half):
                    images = network(z, grid, full_grid=side == 256)
                images.square().mean().backward()

            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            rate = batch / seconds(step, repeats=5, warm_up=2).median
            print(
                f"{side} x {side}, batch {batch}, {precision:9} {name:9} {rate:9.2f} images/s, "
                f"peak {peak_memory() / MIB:.0f} MiB",
                flush=True,
            )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", default=["generator", "discriminator", "memory"])
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        title, name, kind = options.memory_of
        print_one_memory(title, name, kind, options.device)
        return 0
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads")
    if "generator" in options.parts:
        print_generator_speed(options.device, options.rounds)
    if "discriminator" in options.parts:
        print_discriminator_speed(options.device, options.rounds)
    if "memory" in options.parts:
        print_memory(options.device)
    if options.device == "cuda":
        generator = CIPSGenerator().cuda()
        compiled: Any = torch.compile(generator)
        print_throughput("cuda", 256, 8, {"eager": generator, "compiled": compiled})
    return 0


if __name__ == "__main__":
    sys.exit(main())
