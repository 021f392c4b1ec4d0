"""Processes of tests: real ones, forked from a server that has imported torch once and runs no thread."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

_PRELOADED = [
    "repsynth",
    "lightning.pytorch",
    "torchmetrics",
    "repsynth.cli.training",
    "torch.utils.tensorboard",
]


def started(
    function: Callable[..., int | None],
    *arguments: object,
    output: Path,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Call `function(*arguments)` in a process of its own.

    Args:
        function: of a module; what it returns is the exit code, None is 0, and after an exception it is 1.
        arguments: that can be pickled.
        output: file to which all that the process prints is appended.
        environment: variables set before.
    """
    # A fork of this process could inherit a lock that one of its threads holds, and wait for it for ever.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_PRELOADED)
    process = processes.Process(target=_run, args=(output, dict(environment or {}), function, arguments))
    process.start()
    return process


def _run(
    output: Path,
    environment: Mapping[str, str],
    function: Callable[..., int | None],
    arguments: tuple[object, ...],
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    # The loaders of a process that a user starts are forks.
    multiprocessing.set_start_method("fork", force=True)
    os.environ.update(environment)
    code = 1
    try:
        code = function(*arguments) or 0
    except BaseException:
        traceback.print_exc()
    # A plain exit would wait for the other ranks, and a thread of gloo that lets go of a tensor while the interpreter
    # ends aborts the process.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
