"""`--dry-run`: what would be trained on what, proved on one batch, without leaving a trace."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from repsynth.cli.quiet import quiet_lightning

_REHEARSAL: dict[str, Any] = {
    "fast_dev_run": 1,
    "strategy": "auto",
    "devices": 1,
    "num_nodes": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
_FEW = 4  # a network made of more parts than this is one network, not several


class OutputShapes(Callback):
    """Notes the shapes that each network gives the first time it is called.

    Attributes:
        shapes: Name of a network -> its output's shapes in words.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, str] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hang a hook on every network."""
        for name, child in networks(pl_module).items():
            child.register_forward_hook(self._note(name))

    def _note(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: object, output: object) -> None:
            self.shapes.setdefault(name, shapes(output))

        return hook


def show(
    verb: str, model: LightningModule, data: LightningDataModule, trainer: Callable[[dict[str, Any]], Trainer]
) -> None:
    """Print the counts of the data, then run one batch of `verb` and print the networks.

    Args:
        verb: `fit`, `validate`, `test` or `predict`; `fit` does one training step and one validation step.
        model: The module; its weights are changed by one step and then thrown away.
        data: The data module.
        trainer: Makes the experiment's trainer, with the settings given changed.
    """
    from repsynth.callbacks.determinism import Determinism

    print("# data")
    for what, count in data.describe(verb).items() if hasattr(data, "describe") else ():
        print(f"{what}: {count}")
    recorder = OutputShapes()
    rehearsal = trainer({**_REHEARSAL, "callbacks": [Determinism(), recorder]})
    with quiet_lightning():
        getattr(rehearsal, verb)(model, datamodule=data)
    _print_networks(model, recorder.shapes)


def networks(module: LightningModule) -> dict[str, nn.Module]:
    """The direct children of a module that have parameters, each followed by its own when they are few."""
    found: dict[str, nn.Module] = {}
    for name, child in _parametrised(module).items():
        parts = _parametrised(child)
        found[name] = child
        if len(parts) <= _FEW:
            found.update({f"{name}.{part}": network for part, network in parts.items()})
    return found


def _parametrised(module: nn.Module) -> dict[str, nn.Module]:
    return {name: child for name, child in module.named_children() if any(True for _ in child.parameters())}


def shapes(output: object) -> str:
    """The shapes inside a network's output, whatever its structure."""
    if isinstance(output, Tensor):
        return f"[{', '.join(map(str, output.shape))}]"
    if isinstance(output, dict):
        return ", ".join(f"{key}: {shapes(value)}" for key, value in output.items())
    if isinstance(output, list | tuple):
        return ", ".join(shapes(value) for value in output)
    if hasattr(output, "__dataclass_fields__"):
        return shapes({name: getattr(output, name) for name in output.__dataclass_fields__})
    return type(output).__name__


def _print_networks(model: LightningModule, seen: dict[str, str]) -> None:
    rows = [("network", "parameters", "trainable", "output")]
    for name, child in networks(model).items():
        counts = [(weight.numel(), weight.requires_grad) for weight in child.parameters()]
        total, trainable = sum(n for n, _ in counts), sum(n for n, learns in counts if learns)
        rows.append((name, f"{total:,}", f"{trainable:,}", seen.get(name, "not called as a module")))
    print("# networks")
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = (row[0].ljust(widths[0]), row[1].rjust(widths[1]), row[2].rjust(widths[2]), row[3])
        print("  ".join(cells))
