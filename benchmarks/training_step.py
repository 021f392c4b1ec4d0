"""Time and memory of a StereoLayers training step, where the time goes, and what the framework adds to a bare loop.

`python benchmarks/training_step.py [--sides 64 128 256] [--rounds 5]`
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import measure
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import Dataset

from repsynth.batches import PosedViews
from repsynth.callbacks.status import Status
from repsynth.cli.every_run import complete
from repsynth.cli.quiet import quiet_lightning
from repsynth.cli.saved_config import SavedConfig
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.geometry.layers import layer_vertices
from repsynth.geometry.planes import plane_sweep
from repsynth.modules.novel_views import source_camera
from repsynth.modules.stereolayers.depth import layered_depth
from repsynth.modules.stereolayers.module import StereoLayers

LEVELS = {64: 1, 128: 2, 256: 3}
"""Depth of the geometry network that fits a side: its multiple is 2^(levels + 5)."""
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Remembered(SyntheticScenes):
    """Synthetic scenes, each rendered once: their making is not what is measured."""

    def train_dataset(self) -> Dataset[Any]:
        """All scenes, rendered."""
        scenes = super().train_dataset()
        return _List([scenes[SampleKey(0, index)] for index in range(self.train_scenes)])


class _List(Dataset[Any]):
    def __init__(self, examples: list[Any]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: SampleKey) -> Any:
        return self.examples[key.index]


class _Timed(StereoLayers):
    """Adds up, per step, what a bare loop does too: forward, backward, zeroing, clipping, the optimiser's step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.bare: list[float] = []
        self.clipped = 0.0

    @contextmanager
    def counted(self, sign: int = 1) -> Iterator[None]:
        start = _now()
        yield
        self.bare[-1] += sign * (_now() - start)

    def training_step(self, batch: PosedViews, batch_idx: int) -> torch.Tensor:
        with self.counted():
            return super().training_step(batch, batch_idx)

    def log_dict(self, *args: Any, **options: Any) -> None:
        with self.counted(-1):  # inside the step, but the framework's
            super().log_dict(*args, **options)

    def backward(self, loss: torch.Tensor, *args: Any, **options: Any) -> None:
        with self.counted():
            super().backward(loss, *args, **options)

    def optimizer_zero_grad(self, *args: Any) -> None:
        with self.counted():
            super().optimizer_zero_grad(*args)

    def configure_gradient_clipping(self, *args: Any, **options: Any) -> None:
        with self.counted():
            super().configure_gradient_clipping(*args, **options)
        self.clipped = _now()  # the last thing before the optimiser's own work

    def configure_optimizers(self) -> Any:
        configured: Any = super().configure_optimizers()
        configured["optimizer"].register_step_post_hook(self.count_optimizer)
        return configured

    def count_optimizer(self, *_: object) -> None:
        self.bare[-1] += _now() - self.clipped


class _Clock(Callback):
    """Marks where steps begin."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        self.starts.append(_now())
        assert isinstance(pl_module, _Timed)
        pl_module.bare.append(0.0)


def _now() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def method(side: int, of: type[StereoLayers] = StereoLayers) -> StereoLayers:
    """The default configuration at a side that its geometry network takes."""
    torch.manual_seed(0)
    return of(geometry_levels=LEVELS[side], perceptual="random").to(DEVICE)


def batch_of(side: int) -> PosedViews:
    data = Remembered(image_size=(side, side), train_scenes=1, batch_size=1, seed=0)
    batch = data.collate([data.train_dataset()[SampleKey(0, 0)]])
    moved = data.transfer_batch_to_device(batch, DEVICE, 0)
    return data.on_after_batch_transfer(moved, 0)


def stages(module: StereoLayers, batch: PosedViews) -> dict[str, Callable[[], object]]:
    """The forward pass cut in pieces, each on the inputs that it has in the whole; and the whole."""
    generator = module.generator
    images = batch["source"]["images"] * 2 - 1
    reference, side = source_camera(batch, 0), source_camera(batch, 1)
    size = images.shape[-2:]

    def sweep() -> torch.Tensor:
        planes = plane_sweep(
            images[:, 1], side, reference, generator.plane_depths, size, generator.grid, generator.mask_behind
        )
        return torch.cat((planes, images[:, :1]), dim=1).flatten(1, 2)

    volume = sweep()
    logits = generator.geometry_network(volume).detach()
    depth = layered_depth(logits, generator.depth_scheme, generator.layers, generator.plane_depths)
    views = torch.rand(1, 3 * generator.layers + 3, *size, device=DEVICE)
    layers = module.build(batch)
    view = module.render_views(layers, batch["novel"])
    expected = batch["novel"]["images"].flatten(0, 1)

    def whole() -> None:
        module.zero_grad()
        _loss(module, batch).backward()

    return {
        "plane sweep": sweep,
        "geometry network": lambda: generator.geometry_network(volume),
        "vertices": lambda: layer_vertices(depth, reference, generator.grid),
        "colouring network": lambda: generator.coloring_network(views),
        "rendering": lambda: module.render_views(layers, batch["novel"]),
        "losses": lambda: module.loss_terms(layers, view, expected),
        "forward, all": lambda: _loss(module, batch),
        "forward and backward, all": whole,
    }


def _loss(module: StereoLayers, batch: PosedViews) -> torch.Tensor:
    layers = module.build(batch)
    rendering = module.render_views(layers, batch["novel"])
    return module.weighted(module.loss_terms(layers, rendering, batch["novel"]["images"].flatten(0, 1)))


def overheads(module: _Timed, data: Remembered) -> list[float]:
    """Fit with all that the command line adds; per step, the share that a bare loop would not have spent.

    Both sides come from the same steps: those of two loops differ by more than the share that is sought. What
    fetching a batch takes is measured by itself and belongs to the bare side.
    """
    clock = _Clock()
    with tempfile.TemporaryDirectory() as root, quiet_lightning():
        settings = {
            "default_root_dir": root,
            "accelerator": DEVICE.type.replace("cuda", "gpu"),
            "devices": 1,
            "max_epochs": 1,
            "gradient_clip_val": 20.0,
            "limit_val_batches": 0,
            "use_distributed_sampler": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "callbacks": [Status(), clock],
        }
        Trainer(**complete(settings, Path(root), SavedConfig({}))).fit(module, datamodule=data)
    whole = [after - before for before, after in pairwise(clock.starts)]
    fetching = fetch_seconds(data)
    shares = [step / (bare + fetching) - 1 for step, bare in zip(whole, module.bare, strict=False)]
    return shares[3:]


def fetch_seconds(data: Remembered) -> float:
    """Median seconds from asking the loader for a batch to having it on the device."""
    marks = [_now()]
    for loaded in data.train_dataloader():
        data.on_after_batch_transfer(data.transfer_batch_to_device(loaded, DEVICE, 0), 0)
        marks.append(_now())
    return statistics.median([after - before for before, after in pairwise(marks)])


def print_stages(side: int, rounds: int) -> None:
    timings = measure.side_by_side(stages(method(side), batch_of(side)), rounds)
    memory = measure.memory_of(__file__, ["--memory-of", str(side)])
    print(f"\n{side} x {side}, batch 1, default networks: peak {memory / 2**20:.0f} MiB above the start")
    whole = timings["forward and backward, all"].median
    for name, timing in timings.items():
        print(f"  {name:28}{timing.median * 1000:9.1f} ms  {timing.median / whole:6.1%}")


def print_overhead(batch_size: int, steps: int) -> None:
    """The share of a step that is the framework's, at the smallest side, where it is largest."""
    data = Remembered(image_size=(64, 64), train_scenes=batch_size * steps, batch_size=batch_size, seed=0)
    module = method(64, _Timed)
    assert isinstance(module, _Timed)
    shares = sorted(overheads(module, data))
    low, median, high = (shares[len(shares) * part // 4] for part in (1, 2, 3))
    print(
        f"\nframework over a bare loop, 64 x 64, batch {batch_size}, {len(shares)} steps: "
        f"median {median:+.2%} (quartiles {low:+.2%}, {high:+.2%})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        module, batch = method(options.memory_of), batch_of(options.memory_of)
        measure.print_memory_growth(lambda: lambda: _loss(module, batch).backward())
        return
    print(f"device {DEVICE}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for side in options.sides:
        print_stages(side, options.rounds)
    print_overhead(batch_size=1, steps=40)
    print_overhead(batch_size=4, steps=30)


if __name__ == "__main__":
    main()
