"""`repsynth fit | validate | test | predict`: from a configuration to a run."""

import errno
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from repsynth.callbacks.preflight import check_unused, check_writable
from repsynth.cli import checks, cpu_runs, dry_run, every_run, starting_point
from repsynth.cli.configuration import Configuration
from repsynth.cli.parsing import CommandLine, parse
from repsynth.cli.quiet import drop_advertising, quiet_lightning, speak_plainly
from repsynth.cli.run_lock import RunLock
from repsynth.cli.saved_config import SavedConfig
from repsynth.cli.wording import one_line
from repsynth.errors import UserError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Of a disk that is full or may not be written."""


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        verb: `fit`, `validate`, `test` or `predict`.
        arguments: The words that make the configuration (`--config`, overrides).
        configuration: The same, merged, for the words of mistakes.
        ckpt_path: A checkpoint, `best`, `last`, `none`, or None for the verb's default.
        resume: Continue from the newest good checkpoint of the run directory.
        init_from: A checkpoint whose weights training starts from.
        dry_run: Show what would run, and leave.
    """

    verb: str
    arguments: list[str]
    configuration: Configuration
    ckpt_path: str | None = None
    resume: bool = False
    init_from: Path | None = None
    dry_run: bool = False


def run(request: Request) -> None:
    """Parse, check, build and run.

    Raises:
        UserError: Any mistake in configuration, data or checkpoint; before training and before workers start.
    """
    speak_plainly()
    drop_advertising()
    command = parse(request.arguments, request.configuration)
    root = Path(command.config.trainer.default_root_dir)
    if not request.dry_run:
        check_writable(root)
    with RunLock(root, wanted=request.verb == "fit" and not request.dry_run) as lock:
        lock.before_reading()
        _run(request, command, root, lock)


def _run(request: Request, command: CommandLine, root: Path, lock: RunLock) -> None:
    start = starting_point.find(request.verb, root, request.ckpt_path, request.resume, request.dry_run)
    if request.verb == "fit" and not request.dry_run:
        check_unused(root, start)
    model, data, settings = instantiate(command)
    checks.inputs(model, data, request.verb)
    if start:
        starting_point.check(model, start, request.verb)
    if request.init_from:
        starting_point.load_weights(model, request.init_from)
    trainer = build_trainer(every_run.complete(settings, root, SavedConfig(command.plain())))
    checks.strategy(model, trainer)
    if request.dry_run:
        print(command.dump())
        dry_run.show(request.verb, model, data, lambda changes: build_trainer({**settings, **changes}))
        return
    lock.before_writing(trainer.is_global_zero)
    cpu_runs.prepare(trainer, data)
    _announce(request.verb, root, trainer, start)
    try:
        ckpt_path = starting_point.without_exported(model, start)
        getattr(trainer, request.verb)(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    except MisconfigurationException as error:
        raise UserError(f"{request.verb} was refused: {one_line(str(error))}") from error
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        what = f"{error.filename} cannot be written" if error.filename else "a file cannot be written"
        raise UserError(
            f"{request.verb} ended because {what} ({error.strerror}): make room or choose another folder "
            "(trainer.default_root_dir); checkpoints that were written are whole (--resume)"
        ) from error


def build_model(arguments: list[str], configuration: Configuration) -> LightningModule:
    """Build the module of a configuration, and nothing else of it.

    Raises:
        UserError: any mistake in the configuration.
    """
    speak_plainly()
    drop_advertising()
    command = parse(arguments, configuration)
    return instantiate(command)[0]


def instantiate(command: CommandLine) -> tuple[LightningModule, LightningDataModule, dict[str, Any]]:
    """Build module, data module and the trainer's settings of a command.

    Raises:
        UserError: what a constructor refuses.
    """
    try:
        objects = command.parser.instantiate_classes(command.config)
    except (MisconfigurationException, ValueError) as error:
        # The parser tries each type that an option allows, and reports what a constructor refused among the rest.
        refusal = _cause(error, (UserError, MisconfigurationException))
        if refusal is None:
            raise
        if isinstance(refusal, UserError):
            raise refusal from error
        raise UserError(f"the configuration was refused: {one_line(str(refusal))}") from error
    return objects.model, objects.data, dict(objects.trainer)


def _cause(error: BaseException | None, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """The first exception of these kinds among an exception and what led to it."""
    while error is not None and not isinstance(error, kinds):
        error = error.__cause__ or error.__context__
    return error


def build_trainer(settings: dict[str, Any]) -> Trainer:
    """Build the trainer.

    Raises:
        UserError: what it refuses, which is an option of the section `trainer`.
    """
    try:
        with quiet_lightning():
            return Trainer(**settings)
    except UserError:
        raise
    except (MisconfigurationException, ImportError, ValueError, TypeError) as error:
        raise UserError(
            f"the section 'trainer' of the configuration was refused: {one_line(str(error))}"
        ) from error


def _announce(verb: str, root: Path, trainer: Trainer, start: Path | None) -> None:
    if trainer.is_global_zero:
        devices = (
            f"{trainer.world_size} x {trainer.accelerator.__class__.__name__.removesuffix('Accelerator')}"
        )
        origin = f", from {start}" if start else ""
        print(
            f"{verb}: {devices}, precision {trainer.precision}, run directory {root}{origin}", file=sys.stderr
        )
