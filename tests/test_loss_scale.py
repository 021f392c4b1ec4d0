"""Gradients in fp16 that overflow: the step is skipped and counted, the scale falls, and no run goes on like that."""

import math
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.experiments import SYNTHETIC, Run, each_method
from half_precision import scaler, small_run, trainer_options
from modules.test_manual_steps import Pair, fit, weights
from torch import Tensor

from repsynth.callbacks.checkpoint import resume_path
from repsynth.callbacks.determinism import samples_seen
from repsynth.callbacks.nonfinite import LEAST_SCALE, NonFiniteError
from repsynth.errors import UserError
from repsynth.modules.counted_steps import CountedSteps


class Spoil(pl.Callback):
    """Gives one gradient of an optimiser a value in the batches from `first` to `last`, as an overflow does.

    Attributes:
        batches: of each batch, what became of the optimisers and the scale.
    """

    def __init__(self, number: int, first: int, last: int, value: float = math.inf) -> None:
        self.number, self.spoiled, self.value = number, range(first, last + 1), value
        self.steps = 0
        self.batches: list[dict[str, Any]] = []
        self._before: list[tuple[list[Tensor], int]] = []
        self._batch = 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        self._batch = batch_idx
        self._before = [
            ([p.detach().clone() for p in parameters(o)], remembered(o)) for o in trainer.optimizers
        ]

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        learning = [
            p for p in parameters(trainer.optimizers[self.number]) if p.requires_grad and p.grad is not None
        ]
        if self._batch in self.spoiled and learning:
            learning[-1].grad.view(-1)[0] = self.value  # type: ignore[union-attr]

    def on_before_optimizer_step(self, *_: object) -> None:
        self.steps += 1

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        moved, remembers = [], []
        for optimizer, (before, steps) in zip(trainer.optimizers, self._before, strict=True):
            now = parameters(optimizer)
            moved.append(any(not torch.equal(p, w) for p, w in zip(now, before, strict=True)))
            remembers.append(remembered(optimizer) > steps)
        scale = trainer.precision_plugin.scaler.get_scale()
        self.batches.append({"moved": moved, "remembers": remembers, "scale": scale})


def parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def remembered(optimizer: torch.optim.Optimizer) -> int:
    """The steps that Adam has made."""
    return max((int(state["step"]) for state in optimizer.state.values()), default=0)


def spoiled_run(path: Path, root: Path, spoil: Spoil, init_scale: float, steps: int = 3) -> Run:
    options = trainer_options("16-mixed", scaler(init_scale=init_scale))
    return small_run(path, root, (spoil,), steps=steps, **options)


@each_method
def test_an_overflow_costs_one_step_of_one_optimiser(path: Path, tmp_path: Path) -> None:
    """Its weights and moments stay and the scale is halved; the others step, every counter goes on, and so does it."""
    number = 0
    while True:
        spoil = Spoil(number, 1, 1)
        run = spoiled_run(path, tmp_path / str(number), spoil, 2.0**6)
        run.trainer.fit(run.module, datamodule=run.data)
        optimizers = len(run.trainer.optimizers)
        others = [each != number for each in range(optimizers)]
        assert [batch["moved"] for batch in spoil.batches] == [
            [True] * optimizers,
            others,
            [True] * optimizers,
        ]
        assert [batch["remembers"] for batch in spoil.batches] == [batch["moved"] for batch in spoil.batches]
        assert [batch["scale"] for batch in spoil.batches] == [2.0**6, 2.0**5, 2.0**5]
        assert run.trainer.global_step == spoil.steps
        assert samples_seen(run.trainer) == 3 * run.data.batch_size
        if isinstance(run.module, CountedSteps):
            assert run.module.iterations == 3
        number += 1
        if number == optimizers:
            return


class SpoiledPair(Pair):
    """The judge's gradient overflows."""

    def judge_loss(self, image: Tensor, made: Tensor) -> Tensor:
        return super().judge_loss(image, made) + (0 * self.judge(image)).square().sum().sqrt()


def test_the_optimiser_whose_gradients_wait_steps_at_the_scale_that_has_fallen(tmp_path: Path) -> None:
    """Of two that step together; plain gradient descent shows the size of the gradient."""
    plain, half = Pair(), SpoiledPair()
    start = {part: weights(getattr(plain, part)) for part in ("maker", "judge")}
    scale = scaler(init_scale=64.0)
    fit(tmp_path, plain, 4, limit_train_batches=1)
    fit(tmp_path, half, 4, limit_train_batches=1, **trainer_options("16-mixed", scale))
    assert scale.get_scale() == 32.0
    assert half.iterations == 1
    assert torch.equal(weights(half.judge), start["judge"])
    moved = weights(plain.maker) - start["maker"]
    assert float((weights(half.maker) - weights(plain.maker)).norm() / moved.norm()) < 0.01


@each_method
def test_gradients_that_are_never_finite_end_the_run(path: Path, tmp_path: Path) -> None:
    """The scaler alone would halve its scale for ever, and nothing be learned."""
    spoil = Spoil(0, 0, 9, math.nan)
    run = spoiled_run(path, tmp_path, spoil, 1.5 * LEAST_SCALE, steps=4)
    sentence = (
        r"though fp16's loss scale is down to 7\.5e-05, after 2 samples \(gradient of .*last_good\.ckpt"
    )
    with pytest.raises(NonFiniteError, match=sentence):
        run.trainer.fit(run.module, datamodule=run.data)
    assert [batch["moved"][0] for batch in spoil.batches] == [False]
    assert (tmp_path / "checkpoints" / "last_good.ckpt").exists()


def test_a_run_goes_on_in_its_own_precision_only(tmp_path: Path) -> None:
    path = SYNTHETIC[0]
    before, after = (
        small_run(path, tmp_path, steps=2, **({"max_epochs": 1, "limit_train_batches": 1} | options))
        for options in (trainer_options("16-mixed"), {"max_epochs": 2})
    )
    before.trainer.fit(before.module, datamodule=before.data)
    last = resume_path(tmp_path)
    sentence = r"last\.ckpt was trained with trainer\.precision 16-mixed, and this run has 32-true: go on with 16-mixed"
    with pytest.raises(UserError, match=sentence):
        after.trainer.fit(after.module, datamodule=after.data, ckpt_path=last)


def test_a_cpu_asked_for_fp16_says_that_it_takes_bfloat16(tmp_path: Path) -> None:
    """What Lightning does by itself; why the tests of fp16 here build its plugin by hand."""
    with pytest.warns(UserWarning, match="fp16 is not supported on CPU"):
        run = small_run(SYNTHETIC[0], tmp_path, precision="16-mixed")
    assert run.trainer.precision == "bf16-mixed"
