"""`--dry-run`: what would be trained on what, proved on one batch, without leaving a trace."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from repsynth.cli.quiet import quiet_lightning


class OutputShapes(Callback):
    """Notes the shapes that each top-level network gives the first time it is called.

    Attributes:
        shapes: Name of a network -> its output's shapes in words.
    """

    def __init__(self) -> None:
        self.shapes: dict[str, str] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hang a hook on every direct child that has parameters."""
        for name, child in networks(pl_module).items():
            child.register_forward_hook(self._note(name))

    def _note(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, arguments: object, output: object) -> None:
            self.shapes.setdefault(name, shapes(output))

        return hook


def show(
    verb: str, model: LightningModule, data: LightningDataModule, trainer: Callable[..., Trainer]
) -> None:
    """Print the counts of the data, then run one batch of `verb` and print the networks.

    Args:
        verb: `fit`, `validate`, `test` or `predict`; `fit` does one training step and one validation step.
        model: The module; its weights are changed by one step and then thrown away.
        data: The data module.
        trainer: Makes the experiment's trainer, with the arguments given changed.
    """
    from repsynth.callbacks.determinism import Determinism

    print("# data")
    for what, count in data.describe().items() if hasattr(data, "describe") else ():
        print(f"{what}: {count}")
    recorder = OutputShapes()
    rehearsal = trainer(
        fast_dev_run=1,
        callbacks=[Determinism(), recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with quiet_lightning():
        getattr(rehearsal, verb)(model, datamodule=data)
    _print_networks(model, recorder.shapes)


def networks(module: LightningModule) -> dict[str, nn.Module]:
    """The direct children of a module that have parameters."""
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
