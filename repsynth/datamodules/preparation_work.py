"""The work of a preparation: pictures of the source one by one, in processes, their outcomes in order."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from repsynth.datamodules.image_stores import ImageStore
from repsynth.datamodules.preparation_pictures import encoded, fitted
from repsynth.datamodules.preparation_recipes import Preparation
from repsynth.datamodules.preparation_targets import Done, Target
from repsynth.datamodules.stored_pictures import read_stored
from repsynth.errors import UserError

_CHUNK, _AHEAD = 4, 2
"""Pictures that a process is given at a time, and how often that may be done before the first are taken."""


@dataclass(frozen=True, eq=False)
class Work:
    """What a process needs to prepare any picture of the source."""

    store: ImageStore
    preparation: Preparation
    target: Target

    def do(self, index: int) -> Done:
        """Prepare a picture in the sizes that the target lacks.

        Raises:
            OSError: it cannot be written.
        """
        sizes = self.target.lacking(index)
        if not sizes:
            return Done(index)
        try:
            contents = self._contents(index, sizes)
        except UserError as error:
            return Done(index, complaint=of_options(str(error)))
        return Done(index, made=True, contents=self.target.keep(index, contents))

    def _contents(self, index: int, sizes: list[int]) -> dict[int, bytes]:
        recipe, label = self.preparation.recipe, self.store.label(index)
        image = read_stored(self.store, index, recipe.convert_colours)
        self._require_large(image, label)
        return {
            size: encoded(fitted(image, size, recipe.crop, recipe.filter), recipe, label) for size in sizes
        }

    def _require_large(self, image: np.ndarray, label: str) -> None:
        height, width = image.shape[1:]
        largest = self.preparation.sizes[-1]
        if min(height, width) < largest and not self.preparation.allow_upscale:
            raise UserError(
                f"{label} is {width}x{height} (width x height), its shorter side below --size {largest}; replace it or "
                "pass --allow-upscale"
            )


def of_options(sentence: str) -> str:
    """A sentence on a picture, speaking of the options of the command line where it means those of an experiment."""
    return sentence.replace("set data.convert_colours: true", "pass --convert-colours")


def all_done(work: Work, indices: range, workers: int) -> Iterator[Done]:
    """Do the work on pictures of the source; the outcomes come in their order.

    Args:
        work: to be done.
        indices: of the pictures.
        workers: processes; 0 does it in this one.

    Raises:
        UserError: a process was killed.
        OSError: something cannot be written.
    """
    if workers == 0 or not indices:
        yield from map(work.do, indices)
        return
    step = max(1, min(_CHUNK, len(indices) // (2 * workers)))
    chunks = iter([indices[start : start + step] for start in range(0, len(indices), step)])
    pool = ProcessPoolExecutor(workers, initializer=_begin, initargs=(work, os.getpid()))
    running: deque[Future[list[Done]]] = deque()
    try:
        while True:
            while len(running) < _AHEAD * workers and (chunk := next(chunks, None)) is not None:
                running.append(pool.submit(_do, chunk))
            if not running:
                return
            yield from running.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process of the preparation was killed, perhaps for want of memory; use fewer with --workers and "
            "start again: what is there is kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_work: list[Work] = []
"""In a worker process: the argument of `_begin`."""


def _begin(work: Work, parent: int) -> None:
    _work[:] = [work]
    # Ctrl+C reaches all processes of a terminal, and the one that started these stops them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process soon after its parent was killed, which otherwise it would wait for without end."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _do(indices: range) -> list[Done]:
    return [_work[0].do(index) for index in indices]
