"""What Lightning's loops note of their progress in checkpoints and curves, put right where a resume needs it."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loops.utilities import _is_max_limit_reached

from repsynth.checkpoints import State


def validation_follows(trainer: pl.Trainer) -> bool:
    """Whether Lightning will validate right after the batch that ends now."""
    loop = trainer.fit_loop
    return loop._data_fetcher is not None and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)


def training_ends(trainer: pl.Trainer) -> bool:
    """Whether the epoch that ends now is the last one by `max_epochs` or `max_steps`."""
    loop: Any = trainer.fit_loop
    epochs, steps = loop.epoch_progress.current.processed, loop.epoch_loop.global_step
    return _is_max_limit_reached(epochs, loop.max_epochs) or _is_max_limit_reached(steps, loop.max_steps)


def log_batch(trainer: pl.Trainer) -> None:
    """Give the loggers the row of the batch that ends now, before a checkpoint says that the batch is done.

    Lightning logs it after the hooks of the batch's end: a run that is stopped or killed between would leave a gap.
    """
    connector = trainer._logger_connector
    connector.update_train_step_metrics()
    # The call that Lightning is about to make takes this out of its way, and logs nothing twice.
    connector.update_train_step_metrics = lambda: delattr(connector, "update_train_step_metrics")  # type: ignore[method-assign]


def flush_curves(trainer: pl.Trainer) -> None:
    """Let no logger keep rows of the steps that a checkpoint is about to count as done: a kill would lose them.

    CSV is written with every row, W&B by a process of its own.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.flush()


def mark_validation_pending(fit_loop: State, under_way: bool) -> None:
    """Rewrite the progress of a checkpoint to "batch done, first validation batch started".

    That is how Lightning's loops recognise an unfinished validation, and then do the whole of it again.
    """
    training = fit_loop["epoch_loop.batch_progress"]
    validation = fit_loop["epoch_loop.val_loop.batch_progress"]
    done = validation["total"]["completed"] - (validation["current"]["completed"] if under_way else 0)
    for scope, completed in (("total", done), ("current", 0)):
        training[scope]["completed"] = training[scope]["processed"]
        validation[scope] |= {"ready": completed + 1, "started": completed + 1}
        validation[scope] |= {"processed": completed, "completed": completed}
    validation["is_last_batch"] = False


def reopen_epoch(fit_loop: State, by_steps: bool) -> None:
    """Take the end of the last epoch out of the progress of a run that was over.

    Lightning counts an epoch that `max_steps`, `max_time` or an early stop cut short as a whole one, and the
    rest of its samples would never be seen. A run limited by steps it always resumes as if inside an epoch: after
    the end of one it would count the next without training on it.
    """
    epochs = fit_loop["epoch_progress"]
    over = epochs["current"]["completed"] == epochs["current"]["started"] > 0
    if over and (by_steps or not fit_loop["epoch_loop.batch_progress"]["is_last_batch"]):
        for scope in ("total", "current"):
            epochs[scope]["processed"] -= 1
            epochs[scope]["completed"] -= 1
