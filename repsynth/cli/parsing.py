"""Parsing with LightningCLI: class paths, types and defaults settled, nothing built."""

from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from repsynth.cli.configuration import Configuration
from repsynth.cli.explain import raise_first_mistake
from repsynth.cli.quiet import quiet_lightning

_SEED = 0


class CommandLine(LightningCLI):
    """LightningCLI as a parser: `config` is complete and typed, objects are built by whoever asks.

    Checks have their place between parsing and building, so nothing is built here.

    Args:
        arguments: `--config` files and overrides.
        trainer_defaults: Defaults of the section `trainer`.
    """

    def __init__(self, arguments: Sequence[str], trainer_defaults: dict[str, Any]) -> None:
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_defaults=trainer_defaults,
            save_config_callback=None,
            seed_everything_default=_SEED,
            auto_configure_optimizers=False,
            parser_kwargs={"parser_mode": "yaml", "exit_on_error": False, "allow_abbrev": False},
            args=list(arguments),
            run=False,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the words given, whatever this process was started with."""
        self.config = parser.parse_args(args)  # type: ignore[arg-type]  # always words here

    def instantiate_classes(self) -> None:
        """Leave building to the caller."""

    def dump(self) -> str:
        """The complete configuration as YAML."""
        return str(self.parser.dump(self.config, skip_unset=False, skip_link_targets=False, format="yaml"))

    def plain(self) -> dict[str, Any]:
        """The complete configuration as plain dictionaries."""
        return dict(yaml.safe_load(self.dump()))


def parse(arguments: Sequence[str], configuration: Configuration) -> CommandLine:
    """Parse a configuration.

    Args:
        arguments: `--config` files and overrides.
        configuration: The same, merged, for the words of mistakes.

    Raises:
        UserError: The first mistake, in one sentence.
    """
    try:
        with quiet_lightning():
            return CommandLine(arguments, _trainer_defaults(configuration))
    except (ArgumentError, TypeError) as error:
        sections = {"trainer": Trainer, "model": LightningModule, "data": LightningDataModule}
        raise_first_mistake(configuration, sections, error)
        raise


def _trainer_defaults(configuration: Configuration) -> dict[str, Any]:
    """Lightning's own sampler repeats evaluation samples; the run directory is named after the experiment."""
    names = [f"{path.resolve().parent.name}-{path.stem}" for path in configuration.files]
    return {"use_distributed_sampler": False, "default_root_dir": f"runs/{names[-1] if names else 'unnamed'}"}
