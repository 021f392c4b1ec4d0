import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from processes import started
from torch.utils.data import Dataset

from repsynth.datamodules import base
from repsynth.datamodules.base import DataModule, EvalStage, bytes_to_unit
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError


class Numbers(Dataset[dict[str, Any]]):
    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        return {"epoch": key.epoch, "index": key.index, "noise": key.rng(self.seed).random()}


class NumbersData(DataModule):
    def __init__(self, size: int = 11, **options: object) -> None:
        super().__init__(**options)
        self.size = size

    def train_dataset(self) -> Numbers:
        return Numbers(self.size, self.seed)

    def eval_dataset(self, stage: EvalStage) -> Numbers:
        return Numbers(5, self.seed)


class Recorder(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, tuple[int, ...], tuple[float, ...]]] = []
        self.evaluated: list[int] = []

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        keys = batch["index"].tolist()
        self.seen.append((int(batch["epoch"][0]), tuple(keys), tuple(batch["noise"].tolist())))
        return self.weight * 0

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.evaluated += batch["index"].tolist()

    def predict_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> list[int]:
        return batch["index"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class KilledError(Exception):
    pass


class KillAt(pl.Callback):
    """Save and die in the hook `where` when `count` batches are done."""

    def __init__(self, where: str, count: int, path: Path) -> None:
        self.count, self.path = count, path
        setattr(self, where, self.die)

    def die(self, trainer: pl.Trainer, *rest: object) -> None:
        if trainer.global_step >= self.count and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)
            raise KilledError


def fit(data: DataModule, *callbacks: pl.Callback, ckpt: Path | None = None, **options: object) -> Recorder:
    module = Recorder()
    settings: dict[str, Any] = {"max_epochs": 3, "limit_val_batches": 0, **options}
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        **settings,
    )
    trainer.fit(module, data, ckpt_path=ckpt, weights_only=True)
    return module


@pytest.fixture(scope="module")
def whole() -> list[Any]:
    return fit(NumbersData(batch_size=2, seed=3)).seen


@pytest.mark.parametrize(
    ("where", "count", "workers"),
    [
        ("on_train_batch_end", 1, 0),
        ("on_train_batch_end", 5, 2),  # last of the first epoch
        ("on_train_batch_end", 6, 2),
        ("on_train_epoch_end", 5, 0),
        ("on_train_epoch_end", 10, 0),
        ("on_validation_start", 5, 0),
        ("on_validation_end", 3, 0),
    ],
)
def test_a_resumed_run_reads_what_was_left(
    tmp_path: Path, whole: list[Any], where: str, count: int, workers: int
) -> None:
    limits = {"limit_val_batches": 2, "num_sanity_val_steps": 0} if "validation" in where else {}
    if where == "on_validation_end":
        limits["val_check_interval"] = 3
    path = tmp_path / "killed.ckpt"
    with pytest.raises(KilledError):
        fit(NumbersData(batch_size=2, seed=3, num_workers=workers), KillAt(where, count, path), **limits)
    # Another seed in the options: the checkpoint's counts.
    rest = fit(NumbersData(batch_size=2, seed=99, num_workers=workers), ckpt=path, **limits).seen
    done = torch.load(path, weights_only=True)["global_step"]
    assert done == count and len(whole) == 15
    assert rest == whole[done:]


def test_limited_epochs_end_where_the_trainer_ends_them(tmp_path: Path) -> None:
    whole = fit(NumbersData(batch_size=2, seed=3), limit_train_batches=3).seen
    path = tmp_path / "killed.ckpt"
    with pytest.raises(KilledError):
        fit(NumbersData(batch_size=2, seed=3), KillAt("on_train_batch_end", 3, path), limit_train_batches=3)
    rest = fit(NumbersData(batch_size=2, seed=3), ckpt=path, limit_train_batches=3).seen
    assert [epoch for epoch, *_ in whole] == [0] * 3 + [1] * 3 + [2] * 3
    assert rest == whole[3:]


def test_overfitting_sees_the_same_batches_again(whole: list[Any]) -> None:
    assert fit(NumbersData(batch_size=2, seed=3), overfit_batches=2).seen == 3 * whole[:2]


def test_reloaded_loaders_continue_with_the_next_epoch(whole: list[Any]) -> None:
    assert fit(NumbersData(batch_size=2, seed=3), reload_dataloaders_every_n_epochs=1).seen == whole


def test_predict_reads_every_sample_once_in_order() -> None:
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    parts = trainer.predict(Recorder(), NumbersData(eval_batch_size=2))
    assert parts == [[0, 1], [2, 3], [4]]


def test_another_batch_size_cannot_resume(tmp_path: Path) -> None:
    path = tmp_path / "killed.ckpt"
    with pytest.raises(KilledError):
        fit(NumbersData(batch_size=2), KillAt("on_train_batch_end", 1, path))
    with pytest.raises(UserError, match=r"batch_size is 4, but the checkpoint .* with 2 .* resume with"):
        fit(NumbersData(batch_size=4), ckpt=path)


def trainer_of(world: int, rank: int = 0, *, distributed_sampler: bool = False) -> SimpleNamespace:
    progress = SimpleNamespace(current=SimpleNamespace(started=0, processed=0))
    return SimpleNamespace(
        world_size=world,
        global_rank=rank,
        limit_train_batches=1.0,
        overfit_batches=0.0,
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        fit_loop=SimpleNamespace(
            epoch_progress=progress, epoch_loop=SimpleNamespace(batch_progress=progress)
        ),
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=distributed_sampler),
    )


def with_trainer(data: NumbersData, trainer: object) -> NumbersData:
    data.trainer = trainer
    return data


def test_ranks_share_training_batches_and_evaluation() -> None:
    ranks = [with_trainer(NumbersData(size=12, batch_size=4), trainer_of(2, rank)) for rank in range(2)]
    trained = [batch["index"].tolist() for data in ranks for batch in data.train_dataloader()]
    assert [len(part) for part in trained] == [2] * 6 and sorted(chain(*trained)) == list(range(12))
    evaluated = [batch["index"].tolist() for data in ranks for batch in data.test_dataloader()]
    assert sorted(chain(*evaluated)) == list(range(5))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: NumbersData(batch_size=0), "data.batch_size is 0; expected at least 1"),
        (lambda: NumbersData(eval_batch_size=-1), "data.eval_batch_size is -1; expected at least 1"),
        (lambda: NumbersData(num_workers=-1), "data.num_workers is -1; expected at least 0"),
        (lambda: NumbersData(seed=-4), "data.seed is -4; expected at least 0"),
        (
            lambda: with_trainer(NumbersData(batch_size=3), trainer_of(2)).setup("fit"),
            "data.batch_size is 3, the size over all 2 ranks, and cannot be divided by them; use",
        ),
        (
            lambda: with_trainer(NumbersData(), trainer_of(2, distributed_sampler=True)).setup("test"),
            "trainer.use_distributed_sampler is true",
        ),
        (
            lambda: NumbersData(size=3, batch_size=4).train_dataloader(),
            "NumbersData: 3 training samples are fewer than data.batch_size 4, so no full batch exists",
        ),
    ],
)
def test_impossible_options_get_one_sentence(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value).startswith(sentence)


def test_one_process_may_have_any_sampler_option() -> None:
    data = with_trainer(NumbersData(), trainer_of(1, distributed_sampler=True))
    data.setup("fit")
    assert len(data.val_dataloader()) == len(data.eval_dataset("val"))


def test_seed_comes_from_seed_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert NumbersData().seed == 0
    monkeypatch.setenv("PL_GLOBAL_SEED", "17")
    assert NumbersData().seed == 17
    assert NumbersData(seed=3).seed == 3


def test_counts() -> None:
    assert NumbersData(size=11, batch_size=4).samples_per_epoch == 8
    assert NumbersData(size=11, batch_size=4).describe() == {
        "training samples": 11,
        "samples per epoch": 8,
        "validation samples": 5,
        "test samples": 5,
    }


class Pair(NamedTuple):
    image: torch.Tensor
    name: str


def test_bytes_become_unit_floats_wherever_they_are() -> None:
    image = torch.tensor([0, 51, 255], dtype=torch.uint8)
    batch = {
        "a": image,
        "b": [image, (image, 3)],
        "c": Pair(image, "x"),
        "d": torch.tensor([300]),
        "m": image > 0,
    }
    unit = bytes_to_unit(batch)
    expected = torch.tensor([0, 0.2, 1])
    for value in (unit["a"], unit["b"][0], unit["b"][1][0], unit["c"].image):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected)
    assert isinstance(unit["c"], Pair) and unit["c"].name == "x" and unit["b"][1][1] == 3
    assert (
        unit["m"].tolist() == [False, True, True]
        and unit["d"].dtype == torch.int64
        and image.dtype == torch.uint8
    )


def test_a_workers_mistake_keeps_its_sentence() -> None:
    class Broken(Numbers):
        def __getitem__(self, key: SampleKey) -> dict[str, Any]:
            raise UserError("one.png: cannot be decoded")

    data = NumbersData(num_workers=1, batch_size=1)
    data.train_dataset = lambda: Broken(4, 0)  # type: ignore[method-assign]
    with pytest.raises(UserError) as error:
        next(iter(data.train_dataloader()))
    assert str(error.value) == "one.png: cannot be decoded"


def sleep_as_a_loader(grace: int, signal_itself: bool) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)  # what the main process may have set
    base._GRACE_SECONDS = grace
    base.outlive_signals(0)
    Path("ready").touch()
    if signal_itself:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        Path("outlived").touch()
    time.sleep(60)


def test_a_loader_process_outlives_a_signal_to_stop_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    process = started(sleep_as_a_loader, 1, True, output=tmp_path / "said")
    process.join()
    assert process.exitcode == -signal.SIGALRM
    assert Path("outlived").exists()


def test_a_loader_process_ends_when_its_main_process_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    process = multiprocessing.get_context("fork").Process(target=sleep_as_a_loader, args=(30, False))
    process.start()
    while not Path("ready").exists():
        time.sleep(0.05)
    process.terminate()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL
