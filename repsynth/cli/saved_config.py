"""The merged configuration of a run, saved beside its checkpoints and sent to its loggers."""

import itertools
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, WandbLogger


class SavedConfig(Callback):
    """Writes `config.yaml` into the run directory when training starts, on rank 0.

    A run that starts again with the same configuration changes nothing; another configuration in the same
    directory becomes `config-2.yaml`, `config-3.yaml`, ..., so that no start overwrites or stops another.

    Args:
        config: The complete configuration as plain dictionaries.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save and log the configuration: only now is it certain that nobody refuses the run."""
        if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        save(self.config, Path(trainer.default_root_dir))
        for logger in trainer.loggers:
            _log(logger, flatten(self.config))


def save(config: dict[str, Any], folder: Path) -> Path:
    """Write a configuration under the first free name, unless the folder has it already.

    Returns:
        The file that holds the configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        path = folder / ("config.yaml" if number == 1 else f"config-{number}.yaml")
        if not path.exists():
            path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
            return path
        if yaml.safe_load(path.read_text(encoding="utf-8")) == config:
            return path
    raise AssertionError("unreachable: itertools.count does not end")


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys, which is how a sweep names its parameters."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _log(logger: Logger, flat: dict[str, Any]) -> None:
    if isinstance(logger, WandbLogger):
        # A sweep agent has put its values here already, perhaps under short names: they stay as they are.
        given = set(logger.experiment.config.keys())
        short = {key: key.replace(".init_args.", ".") for key in flat}
        flat = {key: value for key, value in flat.items() if not {key, short[key]} & given}
        logger.experiment.config.update(flat)
    else:
        logger.log_hyperparams(flat)
