"""Ranks as processes of this machine."""

import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from processes import started


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
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / str(rank) for rank in range(world)]
        ranks = [
            started(function, *arguments, output=output, environment=_environment(rank, world, port))
            for rank, output in enumerate(outputs)
        ]
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


def _environment(rank: int, world: int, port: int) -> dict[str, str]:
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "NODE_RANK": "0",
        "GLOO_SOCKET_IFNAME": "lo",
    }
