"""One writer per run directory: an advisory lock that the kernel drops when its process ends, however it ends."""

import errno
import fcntl
import json
import os
import socket
import warnings
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from pathlib import Path

from repsynth.callbacks.checkpoint import folder
from repsynth.errors import UserError

NAME = "run.lock"
_RANKS = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "SLURM_PROCID",
    "JSM_NAMESPACE_RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
)
"""Where launchers say which rank a process is."""

_held: set[int] = set()
"""Descriptors of the locks of this process."""


def _drop_in_child() -> None:
    """A forked child shares its parent's lock: a loader that outlives a killed run would keep it."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_in_child)


class RunLock(AbstractContextManager["RunLock"]):
    """The lock of a run directory, held by rank zero of the run that writes into it; to be used with `with`.

    The file `run.lock` names its holder. It goes when the run ends, and stays when it is killed, which locks nothing.

    Args:
        root: The run directory.
        wanted: Whether the command writes into it; without, nothing is locked.
    """

    def __init__(self, root: Path, wanted: bool) -> None:
        self._root = root
        self._path = root / NAME
        self._wanted = wanted
        self._descriptor: int | None = None

    def __exit__(self, *_: object) -> None:
        """Give the lock back, and remove its file while nobody else can hold it."""
        if self._descriptor in _held:
            with suppress(OSError):
                self._path.unlink()
            _held.discard(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None

    def before_reading(self) -> None:
        """Take the lock of a directory that holds checkpoints, so that none comes while one is chosen to go on from.

        A refused start leaves no trace in other directories. Before there is a trainer, only the launcher's variables
        tell whether this is rank zero; if in doubt the lock waits for `before_writing`.

        Raises:
            UserError: Another process holds it.
        """
        if folder(self._root).is_dir() and all(os.environ.get(name, "0") == "0" for name in _RANKS):
            self._take()

    def before_writing(self, first_rank: bool) -> None:
        """Take the lock on rank zero, if `before_reading` did not.

        Raises:
            UserError: Another process holds it.
        """
        if first_rank:
            self._take()

    def _take(self) -> None:
        if not self._wanted:
            return
        while self._descriptor is None:
            descriptor = self._opened()
            try:
                self._lock(descriptor)
            except UserError:
                os.close(descriptor)
                raise
            if _is_at(descriptor, self._path):
                self._descriptor = descriptor
                _held.add(descriptor)
                _write(descriptor, _describe_holder())
            else:  # the last holder has removed the file meanwhile
                os.close(descriptor)

    def _opened(self) -> int:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(
                f"the lock {self._path} cannot be opened ({error.strerror}): change its permissions, or choose another "
                "folder (trainer.default_root_dir)"
            ) from error

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.ESTALE:  # NFS: removed meanwhile, which `_is_at` sees
                return
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UserError(
                    f"another run writes into {self._root}: {_holder(descriptor)}; wait for it, end it, or choose "
                    "another folder (trainer.default_root_dir)"
                ) from error
            warnings.warn(
                f"the file system of {self._root} has no locks ({error.strerror}): nothing keeps a second run out of "
                "this folder",
                stacklevel=2,
            )


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _describe_holder() -> str:
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": since})


def _write(descriptor: int, text: str) -> None:
    with suppress(OSError):  # a full disk is told by who needs more of it, and the lock holds
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _holder(descriptor: int) -> str:
    """The process that wrote the file; a moment after it took the lock, or on a slow disk, it may not tell yet."""
    try:
        told = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {told['pid']} on {told['host']}, since {told['since']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "a process that does not tell its name"
