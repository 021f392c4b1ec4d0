"""How fast a model builds scenes and renders them, and the memory that this takes."""

import gc
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from repsynth.batches import PosedViews, Views
from repsynth.benchmark import measure
from repsynth.benchmark.measure import Measurement
from repsynth.modules.novel_views import NovelViewMethod

_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Stages(NamedTuple):
    """What is timed of a model, on one scene and one novel view."""

    scene: Callable[[], object] | None
    """Builds the scene; None for a model without one."""
    view: Callable[[], object]
    """Renders one novel view of it; predicts it from the inputs where there is no scene."""


@dataclass(frozen=True)
class Speed:
    """Of one model on one scene.

    Attributes:
        scene: Seconds to build it; None for a model that builds none.
        view: Seconds to render one novel view of it.
        memory: Bytes of the weights and of what building and rendering add at their peak; None where unknown.
    """

    scene: Measurement | None
    view: Measurement
    memory: int | None

    @property
    def frames_per_second(self) -> float:
        """Novel views rendered in a second."""
        return 1 / self.view.median


def stages(model: LightningModule, batch: PosedViews, precision: str) -> Stages:
    """The stages of a model for the first scene of a batch and its first novel view, on the batch's device."""
    batch = _first(batch)
    model.eval()

    def computed(work: Callable[[], Any]) -> Callable[[], Any]:
        def inside() -> Any:  # noqa: ANN401  what the work gives
            with torch.inference_mode(), _autocast(batch["depth_range"].device, precision):
                return work()

        return inside

    if not isinstance(model, NovelViewMethod):
        return Stages(None, computed(lambda: model.test_step(batch, 0)))
    build = computed(lambda: model.build(batch))
    scene = build()
    return Stages(build, computed(lambda: model.render_views(scene, batch["novel"])))


def race(
    models: dict[str, LightningModule], batch: PosedViews, precision: str, rounds: int
) -> dict[str, tuple[Measurement | None, Measurement]]:
    """Time all models in turn, so that a busy moment of the machine meets all.

    Args:
        models: by name, on the device of the batch.
        batch: whose first scene is built and rendered.
        precision: of the networks, as in a protocol.
        rounds: of the turn, after one that is not counted.

    Returns:
        By name, the times of scene and view as in `Speed`.
    """
    found = {name: stages(model, batch, precision) for name, model in models.items()}
    works: dict[str, Callable[[], object]] = {}
    for name, (scene, view) in found.items():
        works |= {f"view {name}": view} | ({f"scene {name}": scene} if scene else {})
    times = measure.side_by_side(works, rounds)
    return {name: (times.get(f"scene {name}"), times[f"view {name}"]) for name in models}


def peak_memory(
    config: Path, model: LightningModule, batch: PosedViews, precision: str, device: torch.device
) -> int | None:
    """Bytes of weights and work at the peak, on a CUDA device, else of a fresh process.

    Args:
        config: file with the model's configuration, for the fresh process.
        model: on the CPU.
        batch: on the CPU.
        precision: of the networks, as in a protocol.
        device: where the model runs.
    """
    if device.type == "cuda":
        return _device_peak(model, batch, precision, device)
    if not Path("/proc/self/status").exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        example = Path(folder) / "example.pt"
        torch.save(_first(batch), example)
        arguments = ["-m", "repsynth.benchmark.speed", str(config), str(example), precision]
        try:
            return measure.memory_of(arguments)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [f"code {error.returncode}"])[-1]
            warnings.warn(f"the memory of {config} could not be measured ({last})", stacklevel=2)
            return None


def weight_bytes(model: LightningModule) -> int:
    """Of parameters and buffers."""
    return sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])


def to_device(batch: Any, device: torch.device) -> Any:  # noqa: ANN401  nested
    """The tensors of nested dictionaries on a device."""
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    return batch.to(device) if isinstance(batch, Tensor) else batch


def _device_peak(model: LightningModule, batch: PosedViews, precision: str, device: torch.device) -> int:
    batch = to_device(_first(batch), device)
    model.to(device)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    _once(model, batch, precision)
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - before + weight_bytes(model)
    model.to("cpu")
    return peak


def _once(model: LightningModule, batch: PosedViews, precision: str) -> None:
    stages(model, batch, precision).view()


def _first(batch: PosedViews) -> PosedViews:
    """One scene of a batch with one novel view; float images in [0, 1]."""
    one: PosedViews = {
        **batch,
        "ids": batch["ids"][:1],
        "source": _views(batch["source"], None),
        "novel": _views(batch["novel"], 1),
        "depth_range": batch["depth_range"][:1],
        "median_depth": batch["median_depth"][:1],
    }
    one.pop("novel_depth", None)
    return one


def _views(views: Views, count: int | None) -> Views:
    return {
        "images": views["images"][:1, :count].clone(),
        "extrinsics": views["extrinsics"][:1, :count].clone(),
        "intrinsics": views["intrinsics"][:1, :count].clone(),
    }


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    dtype = _DTYPES.get(precision)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def _print_memory(config: Path, example: Path, precision: str) -> None:
    """What the fresh process does: build the model, note the memory, build and render, print by how much it rose."""
    from repsynth.cli.configuration import merge
    from repsynth.cli.training import build_model

    arguments = [f"--config={config}"]
    model = build_model(arguments, merge(arguments))
    batch: PosedViews = torch.load(example, weights_only=True)
    before = measure.host_memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    _once(model, batch, precision)
    print(json.dumps({"bytes": measure.host_memory("VmHWM") - before + weight_bytes(model)}))


if __name__ == "__main__":
    _print_memory(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
