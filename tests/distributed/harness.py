"""Kill a run, resume it, and compare it with the run that was never stopped: usable for any method.

A run is a function `make(root, extra) -> (trainer, module, datamodule)` that puts the callbacks `extra`
before the checkpoint callback. It is called once per start, as a new process would.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import Strategy

from repsynth.callbacks.checkpoint import resume_path
from repsynth.callbacks.determinism import Determinism
from repsynth.checkpoints import DurableCheckpointIO

Make = Callable[
    [Path, tuple[pl.Callback, ...]], tuple[pl.Trainer, pl.LightningModule, pl.LightningDataModule]
]

EXPECTED_DIFFERENCES = ("/callbacks/Checkpoint{",)
"""Entries that hold paths or clocks: the checkpoint callback's own file names lie in another folder."""


class Killed(BaseException):
    """Stands for SIGKILL: no `except Exception` catches it, and nothing is saved on the way out."""


class KillAt(pl.Callback):
    """Ends the run at the nth call of a hook, without letting any other callback save.

    With several ranks choose a call that each of them reaches: with fewer evaluation batches one goes on and waits.
    """

    def __init__(self, hook: str, count: int) -> None:
        self.left = count
        setattr(self, hook, self._count)

    def _count(self, trainer: pl.Trainer, *_: object, **__: object) -> None:
        self.left -= 1
        if self.left == 0:
            trainer.save_checkpoint = lambda *_, **__: None  # type: ignore[method-assign]
            raise Killed


class Sends(pl.Callback):
    """Sends a signal to this process in the middle of the nth step, from rank 0 only."""

    def __init__(self, number: int, step: int) -> None:
        self.number = number
        self.left = step

    def on_before_backward(self, trainer: pl.Trainer, *_: object) -> None:
        self.left -= 1
        if self.left == 0 and trainer.is_global_zero:
            os.kill(os.getpid(), self.number)


@contextmanager
def kill_while_saving(count: int) -> Iterator[None]:
    """Ends the run in the middle of the nth checkpoint file, whose second half is then missing."""
    left = count

    def save(strategy: Any, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        nonlocal left
        left -= 1
        with mock.patch("repsynth.checkpoints.os.fsync", _cut if left == 0 else os.fsync):
            real_save(strategy, *arguments, **options)
        if left == 0:  # the ranks that write nothing
            raise Killed

    real_save = Strategy.save_checkpoint
    with mock.patch.object(Strategy, "save_checkpoint", save):
        yield


def _cut(descriptor: int) -> None:
    os.truncate(descriptor, os.fstat(descriptor).st_size // 2)
    raise Killed


def make_trainer(root: Path, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:  # noqa: ANN401
    """A quiet Trainer of two epochs on the CPU with `Determinism` and durable files; `options` are the Trainer's."""
    defaults: dict[str, Any] = {
        "max_epochs": 2,
        "default_root_dir": root,
        "accelerator": "cpu",
        "plugins": [DurableCheckpointIO()],
        "callbacks": [Determinism(), *callbacks],
        "use_distributed_sampler": False,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return pl.Trainer(**(defaults | options))


def start(make: Make, root: Path, extra: tuple[pl.Callback, ...] = ()) -> pl.Trainer:
    """Train in `root` from its newest good checkpoint, or from the beginning."""
    trainer, module, data = make(root, extra)
    trainer.fit(module, datamodule=data, ckpt_path=resume_path(root))
    return trainer


def start_and_kill(make: Make, root: Path, hook: str, count: int) -> None:
    """Train until the nth call of `hook`; `saving` is the middle of a checkpoint file."""
    try:
        if hook == "saving":
            with kill_while_saving(count):
                start(make, root)
        else:
            start(make, root, (KillAt(hook, count),))
    except Killed:
        return
    raise AssertionError(f"the run ended before call {count} of {hook}")


def check_resumed(make: Make, whole: dict[str, Any], root: Path, kills: Sequence[tuple[str, int]]) -> None:
    """Kill a run at each of some points (hook, call), resume it, and compare its end with that of the whole run."""
    for hook, count in kills:
        killed = root / f"{hook}-{count}"
        start_and_kill(make, killed, hook, count)
        start(make, killed)
        assert differences(whole, final_state(killed)) == [], (hook, count)


class GivenGradients(pl.Callback):
    """Keeps what optimisers are given; their steps leave the weights as they are, so that all start from the same.

    Attributes:
        found: the gradients of each step by the names of their parameters.
    """

    def __init__(self) -> None:
        self.found: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:  # noqa: ANN401
        named = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        self.found.append({name: gradient.clone() for name, gradient in named.items()})
        optimizer.param_groups[0]["lr"] = 0.0


def final_state(root: Path) -> dict[str, Any]:
    """The checkpoint with which a run ended."""
    return torch.load(root / "checkpoints" / "last.ckpt", weights_only=True)


def differences(first: object, second: object, place: str = "") -> list[str]:
    """Where two checkpoints differ by a single bit, as paths of keys."""
    if place.startswith(EXPECTED_DIFFERENCES):
        return []
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape and torch.equal(first, second)
        return [] if same else [place]
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        odd = [f"{place}/{key}" for key in first.keys() ^ second.keys()]
        shared = [key for key in first if key in second]
        return odd + [d for key in shared for d in differences(first[key], second[key], f"{place}/{key}")]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        pairs = enumerate(zip(first, second, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{place}/{i}")]
    return [] if type(first) is type(second) and first == second else [f"{place}: {first!r} != {second!r}"]
