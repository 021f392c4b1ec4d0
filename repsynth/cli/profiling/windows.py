"""The callbacks that cut the time of a run into steps."""

import time

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from repsynth.cli.profiling.clock import Lap, PartClock
from repsynth.cli.profiling.memory import used_memory
from repsynth.cli.profiling.results import Evaluated, Memory, Steps


class TrainingWindows(Callback):
    """Lets some steps pass, measures others, and then ends the training.

    A step reaches from the end of one batch to the end of the next. On a GPU there are as many steps again before the
    measured ones in which nobody waits for the device: only they tell how fast training is.

    Args:
        clock: the clock.
        warm_up: steps that do not count.
        steps: steps that do.

    Attributes:
        free: seconds of a step that nobody watches, on average.
        memory: at the end of the measured steps.
    """

    def __init__(self, clock: PartClock, warm_up: int, steps: int) -> None:
        self.clock = clock
        self._warm_up, self._count = warm_up, steps
        self._on_gpu = False
        self._done = 0
        self._laps: list[Lap] = []
        self._free_since = 0.0
        self.free = 0.0
        self.memory = Memory(0, 0, None, None)

    @property
    def steps(self) -> Steps:
        """The measured ones."""
        return Steps(self._laps)

    @property
    def _from(self) -> int:
        return self._warm_up + self._count * self._on_gpu

    @property
    def _until(self) -> int:
        return self._from + self._count

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """See that the run is long enough, and start the clock."""
        self._on_gpu = trainer.strategy.root_device.type == "cuda"
        loop = trainer.fit_loop
        epochs = -(-self._until // max(1, int(min(trainer.num_training_batches, self._until))))
        if loop.max_epochs is not None and loop.max_epochs != -1:
            loop.max_epochs = max(loop.max_epochs, epochs)
        loop.epoch_loop.max_steps = -1
        self.clock.synchronised = False
        self._begin()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """End a step."""
        self._done += 1
        if self._done > self._from:
            self._laps.append(self.clock.lap())
        self._begin()
        trainer.should_stop = self._done >= self._until

    def _begin(self) -> None:
        """See whether the next step is of another kind."""
        if self._done == self._warm_up:
            self.clock.wait()
            self._free_since = time.perf_counter()
            if self._on_gpu:
                torch.cuda.reset_peak_memory_stats()
        if self._done == self._from:
            self.clock.wait()
            if self._on_gpu:
                self.free = (time.perf_counter() - self._free_since) / self._count
            self.clock.synchronised = self._on_gpu
            self.clock.lap()
        if self._done == self._until:
            self.free = self.free or self.steps.mean
            self.memory = used_memory(self._on_gpu)


class EvaluationWindows(Callback):
    """Measures the batches of an evaluation, and what follows the last; the first does not count if there are others.

    Args:
        clock: the clock.
    """

    def __init__(self, clock: PartClock) -> None:
        self.clock = clock
        self._laps: list[Lap] = []
        self._sizes: list[int] = []
        self._end = 0.0

    def evaluated(self) -> Evaluated | str:
        """What was measured, or why nothing was."""
        if not self._laps:
            return "this rank has no validation samples"
        first = min(1, len(self._laps) - 1)
        sizes = self._sizes[first:]
        return Evaluated(Steps(self._laps[first:]), sum(sizes) / len(sizes), self._end)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.clock.lap()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End a batch."""
        self._laps.append(self.clock.lap())
        self._sizes.append(_samples(outputs, batch))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the evaluation."""
        self._end = sum(self.clock.lap().values())


def _samples(outputs: object, batch: object) -> int:
    """How many samples a step has evaluated."""
    for found in (outputs, batch):
        if isinstance(found, dict) and "ids" in found:
            return len(found["ids"])
    return 1
