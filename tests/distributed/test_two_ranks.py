"""What two ranks do together. One pair of processes runs all of it: starting one takes longer than the work."""

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distributed.harness import Sends, final_state
from distributed.ranks import run_ranks
from distributed.test_exact_resume import FEW_KILLS, check, make
from distributed.toy import Poisoned, Toy, ToyGAN, build, poisoned_batch
from repsynth.callbacks.checkpoint import Stopped
from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.nonfinite import NonFiniteError, NonFiniteGuard
from repsynth.callbacks.preflight import Preflight
from repsynth.checkpoints import seen
from repsynth.errors import UserError


class Plain(Toy):
    """No noise, and one step of gradient descent with rate 1: the change of a weight is its gradient."""

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return F.mse_loss(self.network.eval()(batch["image"]), batch["image"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Drifts(Toy):
    def on_train_batch_end(self, *_: object) -> None:
        if self.global_rank == 1:
            with torch.no_grad():
                self.network[3].bias[2] += 1e-7


def step_once(root: Path, devices: int) -> None:
    trainer, module, data = build(root, Plain, devices=devices, limit_train_batches=1, max_epochs=1)
    trainer.fit(module, datamodule=data)


def resume(root: Path) -> None:
    check(partial(make, {"devices": 2, "method": ToyGAN}), root, FEW_KILLS)


def stop_at_a_signal_to_one(root: Path) -> None:
    extra = (Sends(signal.SIGTERM, 3),)
    trainer, module, data = build(root, extra=extra, devices=2, every_samples=10**6)
    with pytest.raises(Stopped):
        trainer.fit(module, datamodule=data)
    assert samples_seen(trainer) == 12


def train_drifting(root: Path) -> None:
    trainer, module, data = build(root, Drifts, extra=(Preflight(),), devices=2)
    with pytest.raises(UserError, match=r"the ranks disagree about network\.3\.bias"):
        trainer.fit(module, datamodule=data)


def train_poisoned(root: Path) -> None:
    """One rank has the bad sample; both tell the same."""
    shards = [poisoned_batch()[1][rank::2] for rank in range(2)]
    ids = ", ".join(next(shard for shard in shards if "7" in shard))
    trainer, module, data = build(root, Poisoned, extra=(NonFiniteGuard(),), devices=2)
    with pytest.raises(NonFiniteError, match=rf"train/term = nan.*samples {ids}\)"):
        trainer.fit(module, datamodule=data)


def run_all(root: Path) -> None:
    for work in (stop_at_a_signal_to_one, train_poisoned, resume, train_drifting):
        work(root / work.__name__)
    step_once(root / "gradients", devices=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(2, run_all, folder)
    return folder


def test_all_stop_at_the_signal_of_one(root: Path) -> None:
    assert seen(final_state(root / "stop_at_a_signal_to_one")) == 12


def test_all_stop_at_the_bad_loss_of_one(root: Path) -> None:
    assert (root / "train_poisoned" / "checkpoints" / "last_good.ckpt").exists()


def test_killed_and_resumed_runs_end_equal(root: Path) -> None:
    """The comparisons are made in the ranks; here, that all of them ran."""
    assert len(list((root / "resume").iterdir())) == 1 + len(FEW_KILLS)


def test_drifting_ranks_are_stopped_at_the_checkpoint(root: Path) -> None:
    assert not (root / "train_drifting" / "checkpoints" / "last.ckpt").exists()


def test_gradients_equal_those_of_one_process_on_the_joined_batch(root: Path, tmp_path: Path) -> None:
    step_once(tmp_path, devices=1)
    initial = build(tmp_path / "unused", Plain)[1].state_dict()
    one, two = (final_state(path)["state_dict"] for path in (tmp_path, root / "gradients"))
    for name in ("network.0.parametrizations.weight.original", "network.0.bias", "network.3.weight"):
        gradient = initial[name] - one[name]
        assert gradient.abs().max() > 1e-4
        torch.testing.assert_close(initial[name] - two[name], gradient, rtol=1e-5, atol=1e-6)
