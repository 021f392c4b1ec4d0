"""What belongs to every run, whether or not its YAML says so."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger


def complete(settings: dict[str, Any], root: Path, saved_config: Callback) -> dict[str, Any]:
    """Trainer settings with the callbacks and loggers of every run added where they are not given.

    Args:
        settings: Arguments of the Trainer, already built.
        root: Run directory.
        saved_config: The callback that saves the configuration.
    """
    given = _as_list(settings.get("callbacks"))
    logger = settings.get("logger")
    return {
        **settings,
        "callbacks": [
            *_missing(given, settings.get("enable_checkpointing") is not False),
            *given,
            saved_config,
            *_for_wandb(_as_list(logger), root),
        ],
        "logger": loggers(root) if logger in (None, True) else logger,
    }


def _missing(given: list[Callback], checkpoints: bool) -> list[Callback]:
    """The callbacks of every run that are not given; Preflight brings the durable checkpoint files."""
    from repsynth.callbacks.checkpoint import Checkpoint
    from repsynth.callbacks.determinism import Determinism
    from repsynth.callbacks.nonfinite import NonFiniteGuard
    from repsynth.callbacks.origin import Origin
    from repsynth.callbacks.preflight import Preflight
    from repsynth.callbacks.watchdog import Watchdog

    every: list[type[Callback]] = [Watchdog, Origin, Determinism, Preflight, NonFiniteGuard]
    missing = [kind() for kind in every if not any(isinstance(callback, kind) for callback in given)]
    if checkpoints and not any(isinstance(callback, ModelCheckpoint) for callback in given):
        missing.append(Checkpoint())
    return missing


def _for_wandb(given: list[Any], root: Path) -> list[Callback]:
    """What W&B's loggers need; they go on in the W&B run that the run directory names."""
    from repsynth.callbacks.wandb_run import WandbRun, continue_run

    ours = [logger for logger in given if isinstance(logger, WandbLogger)]
    for logger in ours:
        continue_run(logger, root)
    return [WandbRun()] if ours else []


def loggers(root: Path) -> list[Logger]:
    """CSV and TensorBoard; each start gets its own CSV folder and event file, so none is overwritten."""
    return [
        CSVLogger(root, name="csv"),
        TensorBoardLogger(root, name="tensorboard", version="", default_hp_metric=False),
    ]


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401  one object, a list of them, or None
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
