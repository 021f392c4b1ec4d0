"""Which part of a step each action of Lightning is, and the clock that Lightning calls at each."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import Profiler
from torch.optim import Optimizer

from repsynth.cli.profiling.clock import Part, PartClock

_HOOKS: dict[str, Part] = {
    "on_before_batch_transfer": "transfer",
    "transfer_batch_to_device": "transfer",
    "on_after_batch_transfer": "transfer",
    "batch_to_device": "transfer",
    "training_step": "forward",
    "validation_step": "forward",
    "backward": "backward",
    "optimizer_step": "optimiser",
    "optimizer_zero_grad": "optimiser",
    "on_before_zero_grad": "optimiser",
    "on_before_optimizer_step": "optimiser",
    "configure_gradient_clipping": "optimiser",
    "lr_scheduler_step": "optimiser",
    "on_before_backward": "callbacks",
    "on_after_backward": "callbacks",
    "on_train_batch_start": "callbacks",
    "on_train_batch_end": "callbacks",
    "on_validation_batch_start": "callbacks",
    "on_validation_batch_end": "callbacks",
}
"""Hooks of modules, data modules and strategies; those of callbacks are the callbacks' all."""


def part_of(action: str) -> Part | None:
    """The part that an action of Lightning's profiler is; None for one that lies in whatever is around it.

    Args:
        action: such as "[Callback]EMA.on_train_batch_end" or "[_TrainingEpochLoop].train_dataloader_next".
    """
    if action.endswith("_next"):
        return "data"
    if action.startswith("[Callback]Evaluation"):
        return "figures"
    if action.startswith("[Callback]"):
        return "callbacks"
    return _HOOKS.get(action.rpartition(".")[2])


class ActionClock(Profiler):
    """Tells a clock which part of the step Lightning is at.

    Args:
        clock: the clock.
    """

    def __init__(self, clock: PartClock) -> None:
        super().__init__()
        self.clock = clock

    def start(self, action_name: str) -> None:
        """Enter the part that the action is, if it is one."""
        part = part_of(action_name)
        if part is not None:
            self.clock.enter(part)

    def stop(self, action_name: str) -> None:
        """Leave it again."""
        if part_of(action_name) is not None:
            self.clock.leave()


@contextmanager
def unnamed_actions(clock: PartClock, trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Time what Lightning has no name for: steps by hand, and what logging costs."""
    parts: list[tuple[Any, str, Part]] = [
        (trainer.strategy, "backward", "backward"),
        (trainer.strategy, "optimizer_step", "optimiser"),
        (Optimizer, "zero_grad", "optimiser"),
        (module, "log", "callbacks"),
        (trainer._logger_connector, "update_train_step_metrics", "callbacks"),
    ]
    with ExitStack() as replaced:
        for owner, name, part in parts:
            replaced.enter_context(_replaced(owner, name, _timed(getattr(owner, name), clock, part)))
        yield


@contextmanager
def _replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:  # noqa: ANN401
    """Give an object or a class another method for a while."""
    own = vars(owner).get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _timed(function: Callable[..., Any], clock: PartClock, part: Part) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  whatever the function takes and gives
        with clock.inside(part):
            return function(*arguments, **options)

    return timed
