"""Keeps Lightning's advertising and device lists out of the output."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import repsynth
from repsynth.cli.wording import one_line

_LOGGERS = ("lightning.pytorch", "lightning.fabric")
_TALKATIVE = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.pytorch.trainer.connectors.checkpoint_connector",
)
_UNWANTED = ("💡", "`weights_only` was not set")  # the second is untrue: our checkpoint files always load so

_PACKAGE = Path(repsynth.__file__).parent
_DEFAULT_FORMAT = warnings.formatwarning


def speak_plainly() -> None:
    """Print the package's own warnings as one line, without the line of code that gave them, for good."""
    warnings.formatwarning = _format_warning


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    if Path(filename).is_relative_to(_PACKAGE):
        return f"warning: {one_line(str(message))}\n"
    return _DEFAULT_FORMAT(message, category, filename, lineno, line)


def drop_advertising() -> None:
    """Let Lightning's tips for other products and remarks on its own internals pass unseen, for good."""
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_is_news)
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().lstrip().startswith(_UNWANTED)


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
