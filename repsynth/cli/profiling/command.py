"""From the words of `repsynth profile` to its report."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from repsynth.callbacks.preflight import Preflight, check_writable
from repsynth.cli import checks, cpu_runs, every_run
from repsynth.cli.configuration import Configuration
from repsynth.cli.parsing import parse
from repsynth.cli.profiling.measure import Experiment, profile
from repsynth.cli.profiling.report import as_json, text
from repsynth.cli.quiet import drop_advertising, speak_plainly
from repsynth.cli.training import build_trainer, instantiate
from repsynth.errors import UserError
from repsynth.exports.files import write_json


def run_profile(
    arguments: list[str], configuration: Configuration, steps: int, warm_up: int, out: Path | None
) -> None:
    """Profile an experiment and print the report; write it to `out` too.

    Args:
        arguments: `--config` files and overrides.
        configuration: the same, merged, for the words of mistakes.
        steps: steps to measure.
        warm_up: steps before them.
        out: a JSON file, or None.

    Raises:
        UserError: any mistake in the configuration or the data.
    """
    speak_plainly()
    drop_advertising()
    command = parse(arguments, configuration)
    if out is not None:
        _check_out(out)
    model, data, settings = instantiate(command)
    checks.inputs(model, data, "fit")
    settings = every_run.complete(settings, Path(command.config.trainer.default_root_dir), Callback())

    def check(model: LightningModule, trainer: Trainer) -> None:
        checks.strategy(model, trainer)
        cpu_runs.prepare(trainer, data)

    # The run directory is neither used nor looked at.
    settings["callbacks"] = [each for each in settings["callbacks"] if not isinstance(each, Preflight)]
    found = profile(Experiment(model, data, settings, build_trainer, check), steps, warm_up)
    if found.rank == 0:
        print(text(found))
        if out is not None:
            write_json(out, {"experiment": [str(file) for file in configuration.files], **as_json(found)})


def _check_out(out: Path) -> None:
    try:
        check_writable(out.parent)
    except UserError as error:
        raise UserError(f"--json {out} cannot be written; name a file in a folder that takes it") from error
