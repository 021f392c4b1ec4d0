"""Ranks as processes of this machine, forked from a server that has imported torch once and runs no thread."""

import multiprocessing
import os
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

_PRELOADED = ["repsynth", "lightning.pytorch", "torchmetrics"]


def run_ranks(world: int, function: Callable[..., None], *arguments: object, seconds: float = 240) -> None:
    """Call `function(*arguments)` as each rank of Trainers with `devices=world`.

    Nobody has to destroy the process group, and nobody should: with gloo the last reference to it waits for a thread
    that may wait for Python's lock (torch 2.13).

    Args:
        world: number of ranks.
        function: of a module; `rank()` tells it which rank it is.
        arguments: that can be pickled.
        seconds: after which the ranks are killed.

    Raises:
        AssertionError: A rank failed or was too slow; the text holds all that the ranks printed.
    """
    codes, output = exit_codes(world, function, *arguments, seconds=seconds)
    assert codes == [0] * world, f"the ranks ended with {codes}:\n{output}"


def exit_codes(
    world: int, function: Callable[..., None], *arguments: object, seconds: float = 240
) -> tuple[list[int | None], str]:
    """As `run_ranks`, for ranks that are meant to end otherwise.

    Returns:
        The exit codes (1 after an exception, negative after a signal, None of a rank that was too slow), and all that
        the ranks printed.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A fork of this process could inherit a lock that one of its threads holds, and wait for it for ever.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / str(rank) for rank in range(world)]
        ranks = [
            processes.Process(target=_as_rank, args=(rank, world, port, outputs[rank], function, arguments))
            for rank in range(world)
        ]
        for process in ranks:
            process.start()
        end = time.monotonic() + seconds
        for process in ranks:
            process.join(max(0.0, end - time.monotonic()))
        codes = [process.exitcode for process in ranks]
        for process in ranks:
            process.kill()
            process.join()
        return codes, "".join(
            f"--- rank {rank}\n{path.read_text(errors='replace')}"
            for rank, path in enumerate(outputs)
            if path.exists()
        )


def rank() -> int:
    """The rank of this process."""
    return int(os.environ["LOCAL_RANK"])


def _as_rank(
    rank: int,
    world: int,
    port: int,
    output: Path,
    function: Callable[..., None],
    arguments: tuple[object, ...],
) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    # The loaders of a rank that a launcher starts are forks.
    multiprocessing.set_start_method("fork", force=True)
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=str(world),
        LOCAL_RANK=str(rank),
        NODE_RANK="0",
        GLOO_SOCKET_IFNAME="lo",
    )
    code = 1
    try:
        function(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    # A plain exit would wait for the other ranks, and a thread of gloo that lets go of a tensor while the interpreter
    # ends aborts the process.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
