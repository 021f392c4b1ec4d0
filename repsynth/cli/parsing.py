"""Parsing with LightningCLI: class paths, types and defaults settled, nothing built."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from repsynth.cli.configuration import Configuration, is_class_node, read_yaml
from repsynth.cli.explain import raise_first_mistake, refuse_unknown_names
from repsynth.cli.options import CLASSES, CONFIG, options
from repsynth.cli.quiet import quiet_lightning
from repsynth.cli.run_directory import expanded

_SEED = 0
_SECTIONS: dict[str, type] = {"trainer": Trainer, "model": LightningModule, "data": LightningDataModule}


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
    words, remarks = _settled(arguments, configuration)
    try:
        with quiet_lightning():
            command = CommandLine(words, _trainer_defaults(configuration))
    except (ArgumentError, TypeError) as error:
        raise_first_mistake(configuration, _SECTIONS, error)
        raise
    refuse_unknown_names(configuration, _SECTIONS)
    trainer = command.config.trainer
    if trainer.default_root_dir is not None:
        origin = configuration.origin("trainer.default_root_dir")
        trainer.default_root_dir = expanded(str(trainer.default_root_dir), origin)
    for remark in remarks:
        print(remark, file=sys.stderr)
    return command


def _settled(arguments: Sequence[str], configuration: Configuration) -> tuple[list[str], list[str]]:
    """The words for the parser, which by itself would hand on to another class whatever options it has as well.

    Args:
        arguments: `--config` files and overrides.
        configuration: The same, merged.

    Returns:
        The words, in which files that lose options stand as YAML text; and a sentence on what each of them loses.
    """
    words: list[str] = []
    remarks: list[str] = []
    former: dict[str, str] = {}
    for option in options(arguments):
        content = read_yaml(Path(option.value)) if option.key in CONFIG else {}
        lost = [
            remark
            for section in CLASSES
            if (remark := _lose_options(content, section, configuration, former, option.value))
        ]
        words += [f"--config={yaml.safe_dump(content, sort_keys=False)}"] if lost else option.words
        remarks += lost
    return words, remarks


def _lose_options(
    content: dict[str, Any], section: str, configuration: Configuration, former: dict[str, str], file: str
) -> str | None:
    """Remove from a file the options of a class that another replaces later; say which."""
    node, last = content.get(section), configuration.values[section]
    if not isinstance(node, dict) or not is_class_node(last):
        return None
    before = former[section] = str(node.get("class_path", former.get(section, "")))
    after = str(last["class_path"])
    if not before or before in (after, f"{before.rpartition('.')[0]}.{after}"):
        return None
    names = [str(name) for key in ("init_args", "dict_kwargs") for name in node.pop(key, None) or ()]
    if not names:
        return None
    name = before.rpartition(".")[2]
    return f"note: {section} is {after}, so the options of {name} in {file} are not used: {', '.join(names)}"


def _trainer_defaults(configuration: Configuration) -> dict[str, Any]:
    """Lightning's own sampler repeats evaluation samples; the run directory is named after the experiment."""
    names = [run_name(path) for path in configuration.files]
    return {"use_distributed_sampler": False, "default_root_dir": f"runs/{names[-1] if names else 'unnamed'}"}


def run_name(path: Path) -> str:
    """The name of an experiment's runs: its place below the folder `experiments`, else folder and file."""
    parts = path.resolve().with_suffix("").parts
    below = parts[len(parts) - parts[::-1].index("experiments") :] if "experiments" in parts else ()
    return "-".join(below if len(below) > 1 else parts[-2:])
