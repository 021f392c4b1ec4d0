"""What belongs to every run, whether or not its YAML says so."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins import CheckpointIO


def complete(settings: dict[str, Any], root: Path, saved_config: Callback) -> dict[str, Any]:
    """Trainer settings with the callbacks, loggers and plugin of every run added where they are not given.

    Args:
        settings: Arguments of the Trainer, already built.
        root: Run directory.
        saved_config: The callback that saves the configuration.
    """
    given = _as_list(settings.get("callbacks"))
    types = {type(callback) for callback in given}
    added = [callback for callback in callbacks() if type(callback) not in types]
    logger = settings.get("logger")
    return {
        **settings,
        "callbacks": [*added, *given, saved_config],
        "logger": loggers(root) if logger in (None, True) else logger,
        "plugins": _plugins(_as_list(settings.get("plugins"))),
    }


def callbacks() -> list[Callback]:
    """Determinism first: the others read its counter."""
    from repsynth.callbacks.determinism import Determinism
    from repsynth.callbacks.nonfinite import NonFinite
    from repsynth.callbacks.preflight import Preflight

    return [Determinism(), Preflight(), NonFinite()]


def loggers(root: Path) -> list[Logger]:
    """CSV and TensorBoard; each start gets its own CSV folder and event file, so none is overwritten."""
    return [
        CSVLogger(root, name="csv"),
        TensorBoardLogger(root, name="tensorboard", version="", default_hp_metric=False),
    ]


def _plugins(given: list[Any]) -> list[Any]:
    from repsynth.checkpoints import DurableCheckpointIO

    if any(isinstance(plugin, CheckpointIO) for plugin in given):
        return given
    return [*given, DurableCheckpointIO()]


def _as_list(value: Any) -> list[Any]:  # noqa: ANN401  one object, a list of them, or None
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
