"""Ranks as forks of this process, which saves the ten seconds that a new interpreter needs for its imports."""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable

import torch


def run_forked(
    world: int, function: Callable[..., None], *arguments: object, seconds: float = 60
) -> list[int | None]:
    """Call `function(rank, *arguments)` as each rank of Trainers with `devices=world`.

    Returns:
        The exit codes: 1 after an exception, negative after a signal, None of a rank that ran longer than `seconds`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # After CUDA was used only a new interpreter works.
    processes = multiprocessing.get_context("spawn" if torch.cuda.is_initialized() else "fork")
    ranks = [
        processes.Process(target=_as_rank, args=(rank, world, port, function, arguments))
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(seconds)
    codes = [process.exitcode for process in ranks]
    for process in ranks:
        if process.is_alive():
            process.kill()
    return codes


def _as_rank(
    rank: int, world: int, port: int, function: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=str(world),
        LOCAL_RANK=str(rank),
        NODE_RANK="0",
        GLOO_SOCKET_IFNAME="lo",
    )
    try:
        function(rank, *arguments)
    except BaseException:
        # A plain exit would wait for the other ranks, which wait for this one.
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
