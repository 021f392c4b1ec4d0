"""Keeps Lightning's advertising and device lists out of the output."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("lightning.pytorch", "lightning.fabric")


def drop_advertising() -> None:
    """Let Lightning's tips for other products and a warning about its own internals pass unseen, for good."""
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    logger.addFilter(_no_tip)
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")


def _no_tip(record: logging.LogRecord) -> bool:
    return not record.getMessage().lstrip().startswith("💡")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Show only warnings and errors of Lightning inside the block."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
