"""The data module that all others derive from: batch size, seed, resumable loaders, device transfer."""

import os
import signal
import threading
import warnings
from collections.abc import Sized
from typing import Any, Literal, Protocol

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from repsynth.datamodules.samplers import EvalBatchSampler, TrainBatchSampler
from repsynth.errors import UserError, require_at_least

EvalStage = Literal["val", "test"]
Part = Literal["train", "val", "test"]

_GRACE_SECONDS = 300
"""How long a loader process lives on after a signal to stop."""
_PARTS: dict[str, tuple[Part, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
}
"""What each verb reads."""
_VERBS = {
    TrainerFn.FITTING: "fit",
    TrainerFn.VALIDATING: "validate",
    TrainerFn.TESTING: "test",
    TrainerFn.PREDICTING: "predict",
}


class HasImageSize(Protocol):
    """A data module whose images all have one size."""

    image_size: tuple[int, int]


class DataModule(LightningDataModule):
    """Loaders that resume exactly and count every evaluation sample once.

    A subclass gives `train_dataset`, `eval_dataset`, perhaps `predict_dataset` and `check`. Its data sets
    have a length, are indexed by `SampleKey` and give dicts with uint8 images; `collate` joins them. Every
    uint8 tensor of a batch becomes float32 in [0, 1]: give masks as bool or as 0 and 255, labels as int64.

    Args:
        batch_size: samples per training step over ALL ranks; must be divisible by their number.
        eval_batch_size: samples per evaluation batch; a batch is evaluated by one rank.
        num_workers: loader processes per rank; 0 loads in the training process.
        seed: of the order of the data and of every example; None takes the one of `seed_everything`, else 0.
            A resumed run continues with the seed of its checkpoint.
        persistent_workers: keep the loader processes between epochs.
        prefetch_factor: batches that each worker prepares ahead.

    Raises:
        UserError: a batch size below 1 or a negative number of workers.
    """

    def __init__(
        self,
        batch_size: int = 4,
        eval_batch_size: int = 1,
        num_workers: int = 0,
        seed: int | None = None,
        persistent_workers: bool = True,
        prefetch_factor: int = 2,
    ) -> None:
        super().__init__()
        require_at_least(
            "data", 1, batch_size=batch_size, eval_batch_size=eval_batch_size, prefetch_factor=prefetch_factor
        )
        require_at_least("data", 0, num_workers=num_workers, seed=seed or 0)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self.persistent_workers = persistent_workers
        self.prefetch_factor = prefetch_factor
        # A small evaluation set may leave a rank without any sample.
        self.allow_zero_length_dataloader_with_multiple_devices = True

    # What a subclass gives.

    def train_dataset(self) -> Dataset[Any]:
        """The training examples, in a fixed order."""
        raise NotImplementedError

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """The examples of validation or test, in the order of their ids."""
        raise NotImplementedError

    def predict_dataset(self) -> Dataset[Any]:
        """The examples of `predict`; those of the test by default."""
        return self.eval_dataset("test")

    def check(self, stage: str | None = None) -> None:
        """Look at the data before any worker starts; raise UserError for what is missing or broken.

        Args:
            stage: `fit`, `validate`, `test` or `predict`: only what it reads has to be there; None for all.
        """

    def parts(self, stage: str | None = None) -> tuple[Part, ...]:
        """The parts that a stage reads; all for None."""
        return ("train", "val", "test") if stage is None else _PARTS[stage]

    def collate(self, examples: list[Any]) -> Any:  # noqa: ANN401
        """Join examples to the typed batch of the task."""
        return default_collate(examples)

    def describe(self, stage: str | None = None) -> dict[str, int]:
        """Counts of what a stage reads for `--dry-run`, by what they count."""
        counts: dict[str, int] = {}
        parts = self.parts(stage)
        if "train" in parts:
            counts["training samples"] = length(self.train_dataset())
            counts["samples per epoch"] = self.samples_per_epoch
        if "val" in parts:
            counts["validation samples"] = length(self.eval_dataset("val"))
        if "test" in parts:
            counts["test samples"] = length(self.eval_dataset("test"))
        return counts

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        return type(self).__name__

    @property
    def samples_per_epoch(self) -> int:
        """Samples that one epoch trains on over all ranks (the incomplete last batch is dropped)."""
        return length(self.train_dataset()) // self.batch_size * self.batch_size

    # What Lightning calls.

    def prepare_data(self) -> None:
        """Check the data in the main process, before loaders exist."""
        fn = None if self.trainer is None else self.trainer.state.fn
        self.check(None if fn is None else _VERBS[fn])

    def setup(self, stage: str) -> None:
        """Check that batch size, ranks and Trainer fit together."""
        world = self._world
        trainer = self.trainer
        if trainer is not None and world > 1 and trainer._accelerator_connector.use_distributed_sampler:
            raise UserError(
                "trainer.use_distributed_sampler is true: Lightning would repeat evaluation samples and "
                "change the training order; set it to false, the data module shards by itself"
            )
        if stage == "fit" and self.batch_size % world:
            raise UserError(
                f"data.batch_size is {self.batch_size}, the size over all {world} ranks, and cannot be "
                f"divided by them; use a multiple of {world}"
            )

    def train_dataloader(self) -> DataLoader[Any]:
        """The shuffled loader, from the position that Lightning restored."""
        dataset = self.train_dataset()
        if length(dataset) < self.batch_size:
            raise UserError(
                f"{type(self).__name__}: {length(dataset)} training samples are fewer than data.batch_size "
                f"{self.batch_size}, so no full batch exists; lower data.batch_size or add data"
            )
        # Lightning knows only loaders with a state of their own; this one starts where it should.
        warnings.filterwarnings(
            "ignore", message="You're resuming from a checkpoint that ended before the epoch"
        )
        sampler = TrainBatchSampler(length(dataset), self.batch_size, self.seed, self._rank, self._world)
        sampler.epoch, sampler.start_batch = self._position(len(sampler))
        if self.trainer is not None and self.trainer.overfit_batches:  # type: ignore[attr-defined]
            sampler.repeat_first_epoch()
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Every validation sample once over all ranks."""
        return self._eval_loader(self.eval_dataset("val"))

    def test_dataloader(self) -> DataLoader[Any]:
        """Every test sample once over all ranks."""
        return self._eval_loader(self.eval_dataset("test"))

    def predict_dataloader(self) -> DataLoader[Any]:
        """Every sample to predict once over all ranks."""
        # Lightning cannot know that ours drops nothing, and says so.
        warnings.filterwarnings("ignore", message=".*custom batch sampler `EvalBatchSampler` for prediction")
        return self._eval_loader(self.predict_dataset())

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Images to float32 in [0, 1], on the device."""
        return bytes_to_unit(batch)

    def state_dict(self) -> dict[str, Any]:
        """What fixes the order of the data."""
        return {"seed": self.seed, "batch_size": self.batch_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the checkpoint's seed; refuse another global batch when training goes on.

        Raises:
            UserError: the checkpoint's batch size is another one.
        """
        fitting = self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if fitting and state_dict["batch_size"] != self.batch_size:
            raise UserError(
                f"data.batch_size is {self.batch_size}, but the checkpoint to resume was trained with "
                f"{state_dict['batch_size']} and its place in the data counts such batches; resume with "
                f"data.batch_size {state_dict['batch_size']}"
            )
        self.seed = state_dict["seed"]

    # Inner parts.

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer is not None else 1

    def _position(self, length_of_epoch: int) -> tuple[int, int]:
        """(epoch, batch) to start from; Lightning has restored its loops when it asks for the loader."""
        if self.trainer is None:
            return 0, 0
        # The one counter that is the same whether the checkpoint was saved at the end of the last
        # batch, in validation, at the end of the epoch or at the start of the next: epochs begun.
        loop: Any = self.trainer.fit_loop
        epochs = loop.epoch_progress.current.started
        batches = loop.epoch_loop.batch_progress.current.processed
        if batches >= _batches_per_epoch(length_of_epoch, self.trainer.limit_train_batches):
            return epochs, 0
        return max(epochs - 1, 0), batches

    def _eval_loader(self, dataset: Dataset[Any]) -> DataLoader[Any]:
        sampler = EvalBatchSampler(length(dataset), self.eval_batch_size, self._rank, self._world)
        return self._loader(dataset, sampler)

    def _loader(
        self, dataset: Dataset[Any], sampler: TrainBatchSampler | EvalBatchSampler
    ) -> DataLoader[Any]:
        workers: dict[str, Any] = {}
        if self.num_workers:
            workers = {"persistent_workers": self.persistent_workers, "prefetch_factor": self.prefetch_factor}
        # An iterator draws its workers' base seed: from the loader's own generator, so that the global stream
        # of a resumed run is not one draw off. The worker processes themselves run torch on one thread.
        return DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=self.collate,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),
            worker_init_fn=outlive_signals,
            **workers,
        )


def outlive_signals(worker: int) -> None:
    """Let a loader process go on when a signal to stop reaches all processes of a run.

    Schedulers and `timeout` signal every process. The main one finishes its step and saves, for which it needs its
    loaders; they end with it, or after `_GRACE_SECONDS`. SIGTERM from the main process itself ends them at once.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever it does in the main one
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_in_time, args=(os.getppid(),), daemon=True).start()


def _end_in_time(main_process: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != main_process:
        signal.alarm(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def bytes_to_unit(batch: Any) -> Any:  # noqa: ANN401
    """Turn every uint8 tensor in nested dicts, lists and tuples into float32 / 255; keep the rest, also bool."""
    if isinstance(batch, Tensor):
        return batch.float().div_(255) if batch.dtype == torch.uint8 else batch
    if isinstance(batch, dict):
        return {key: bytes_to_unit(value) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(bytes_to_unit(value) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(bytes_to_unit(value) for value in batch)
    return batch


def length(dataset: Dataset[Any]) -> int:
    """The number of examples; torch's `Dataset` does not declare it."""
    assert isinstance(dataset, Sized)
    return len(dataset)


def _batches_per_epoch(batches: int, limit: float) -> int:
    """How many batches the Trainer reads per epoch under its `limit_train_batches`."""
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
