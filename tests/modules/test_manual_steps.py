"""Two optimisers by hand, against plain loops and larger batches."""

import copy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.harness import make_trainer
from distributed.toy import ToyData
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import functional as F

from repsynth.callbacks.nonfinite import NonFiniteError, NonFiniteGuard
from repsynth.errors import UserError
from repsynth.modules.manual_steps import ManualSteps, StepOptions


def network(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(8, channels, 3, padding=1)
    )


class Pair(ManualSteps):
    """A maker that copies images, and a judge of the copies; every loss is a mean over the batch."""

    def __init__(self, steps: StepOptions = StepOptions(), rate: float = 0.1) -> None:  # noqa: B008
        super().__init__()
        torch.manual_seed(0)
        self.automatic_optimization = False
        self.steps, self.rate = steps, rate
        self.maker, self.judge = network(3), network(1)
        self.seen: list[dict[str, Any]] = []

    def judge_loss(self, image: Tensor, made: Tensor) -> Tensor:
        return F.softplus(self.judge(made.detach())).mean() + F.softplus(-self.judge(image)).mean()

    def maker_loss(self, image: Tensor, made: Tensor) -> Tensor:
        return 5 * F.mse_loss(made, image) + F.softplus(-self.judge(made)).mean()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        of_maker, of_judge = self.own_optimizers()
        image = batch["image"]
        made = self.maker(image)
        self.learn(of_judge, lambda: self.judge_loss(image, made), batch_idx)
        self.learn(of_maker, lambda: self.maker_loss(image, made), batch_idx)
        self.step_all(batch_idx)
        rates = [optimizer.param_groups[0]["lr"] for optimizer in (of_maker, of_judge)]
        self.seen.append({"image": image, "iterations": self.iterations, "rates": rates})

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        optimizers = [torch.optim.SGD(part.parameters(), self.rate) for part in (self.maker, self.judge)]
        size = self.trainer.datamodule.batch_size
        return optimizers, [
            torch.optim.lr_scheduler.LambdaLR(o, lambda n: rate(n * size)) for o in optimizers
        ]


def rate(samples: int) -> float:
    return 0.5 ** (samples / 20)


class Gradients(pl.Callback):
    """Norms of the gradients of each optimiser as it gets them, before and after clipping."""

    def __init__(self) -> None:
        self.before: list[float] = []

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.before.append(norm(optimizer))


def norm(optimizer: torch.optim.Optimizer) -> float:
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
    return float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())


def fit(
    root: Path, module: pl.LightningModule, batch_size: int, *callbacks: pl.Callback, **trainer: object
) -> pl.Trainer:
    options: dict[str, Any] = {
        "enable_checkpointing": False,
        "limit_val_batches": 0,
        "max_epochs": 1,
    } | trainer
    made = make_trainer(root, list(callbacks), **options)
    made.fit(module, datamodule=ToyData(batch_size=batch_size, seed=5))
    return made


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_both_gradients_are_those_of_the_networks_before_the_step(tmp_path: Path) -> None:
    module = Pair()
    initial = copy.deepcopy(module)
    fit(tmp_path, module, 4, limit_train_batches=1)
    image = module.seen[0]["image"]
    made = initial.maker(image)
    judge = torch.autograd.grad(initial.judge_loss(image, made), list(initial.judge.parameters()))
    maker = torch.autograd.grad(initial.maker_loss(image, made), list(initial.maker.parameters()))
    for part, gradients in (("judge", judge), ("maker", maker)):
        before, after = (getattr(each, part).parameters() for each in (initial, module))
        for old, new, gradient in zip(before, after, gradients, strict=True):
            assert gradient.abs().max() > 1e-4
            torch.testing.assert_close(new, old - 0.1 * gradient)


@pytest.mark.parametrize("clip", [None, 0.05])
def test_accumulated_batches_make_the_step_of_a_larger_batch(tmp_path: Path, clip: float | None) -> None:
    """Two epochs of 4 batches of 5, in pairs, are two of 2 batches of 10."""
    pairs, whole = Pair(StepOptions(clip, accumulate=2)), Pair(StepOptions(clip))
    start = weights(whole)
    fit(tmp_path, pairs, 5, max_epochs=2)
    fit(tmp_path, whole, 10, max_epochs=2)
    assert pairs.iterations == whole.iterations == 4
    assert (weights(whole) - start).abs().max() > 1e-3
    torch.testing.assert_close(weights(pairs), weights(whole), rtol=1e-5, atol=1e-7)


def test_what_is_left_at_the_end_of_an_epoch_is_a_smaller_batch(tmp_path: Path) -> None:
    """Five batches in pairs: the last one steps alone, with its whole gradient, and nothing leaks on."""
    module = Pair(StepOptions(accumulate=2))
    replayed = copy.deepcopy(module)
    trainer = fit(tmp_path, module, 4, max_epochs=2)
    assert [seen["iterations"] for seen in module.seen] == [0, 1, 1, 2, 3, 3, 4, 4, 5, 6]
    assert trainer.global_step == 2 * module.iterations, "Lightning counts both optimisers"
    optimizers = [torch.optim.SGD(part.parameters()) for part in (replayed.maker, replayed.judge)]
    for epoch in range(2):
        for first, last in ((0, 2), (2, 4), (4, 5)):
            image = torch.cat([seen["image"] for seen in module.seen[5 * epoch :][first:last]])
            made = replayed.maker(image)
            for optimizer, part, loss in (
                (optimizers[1], replayed.judge, replayed.judge_loss(image, made)),
                (optimizers[0], replayed.maker, replayed.maker_loss(image, made)),
            ):
                optimizer.param_groups[0]["lr"] = 0.1 * rate(4 * (5 * epoch + first))
                gradients = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True)
                for parameter, gradient in zip(part.parameters(), gradients, strict=True):
                    parameter.grad = gradient
            for optimizer in optimizers:
                optimizer.step()
    torch.testing.assert_close(weights(module), weights(replayed), rtol=1e-5, atol=1e-7)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_rates_follow_the_samples_whatever_is_joined(tmp_path: Path) -> None:
    module = Pair(StepOptions(accumulate=3))
    fit(tmp_path, module, 4, max_epochs=2)
    after = [seen["rates"][0] / 0.1 for seen in module.seen]
    done = [0, 0, 3, 3, 5, 5, 5, 8, 8, 10]  # batches that stepped
    assert after == pytest.approx([rate(4 * batches) for batches in done])
    assert all(first == second for first, second in (seen["rates"] for seen in module.seen))


def test_each_optimiser_is_clipped_by_its_own_norm(tmp_path: Path) -> None:
    before, clipped, free = Gradients(), Pair(StepOptions(gradient_clip=0.5), rate=1.0), Pair(rate=1.0)
    start = {part: weights(getattr(clipped, part)) for part in ("judge", "maker")}
    fit(tmp_path, clipped, 4, before, limit_train_batches=1)
    fit(tmp_path, free, 4, limit_train_batches=1)
    whole = {part: start[part] - weights(getattr(free, part)) for part in start}
    norms = [float(whole[part].norm()) for part in ("maker", "judge")]
    assert before.before == pytest.approx(norms, rel=1e-5), "callbacks see what was not clipped"
    assert min(norms) < 0.5 < max(norms), "one has to be clipped here, and one not"
    for part, gradient in whole.items():
        found = start[part] - weights(getattr(clipped, part))
        torch.testing.assert_close(
            found, gradient * min(1.0, 0.5 / float(gradient.norm())), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_a_changing_loss_scale_of_fp16_changes_no_step(
    tmp_path: Path, accumulate: int, clip: float | None
) -> None:
    """The scale grows after each step, so also between the steps of the two optimisers, with gradients waiting."""
    plain, half = Pair(StepOptions(clip, accumulate)), Pair(StepOptions(clip, accumulate))
    start = weights(plain)
    scaler = GradScaler("cpu", init_scale=64.0, growth_interval=1)
    fit(tmp_path, plain, 4)
    fit(tmp_path, half, 4, plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)])
    steps = 5 if accumulate == 1 else 3
    assert scaler.get_scale() == 64.0 * 2.0 ** (2 * steps)
    moved = weights(plain) - start
    off = weights(half) - weights(plain)
    assert float(off.norm() / moved.norm()) < 0.02


def test_the_counter_is_in_the_checkpoint(tmp_path: Path) -> None:
    module = Pair(StepOptions(accumulate=2))
    trainer = fit(tmp_path, module, 4)
    trainer.save_checkpoint(tmp_path / "file.ckpt")
    state = torch.load(tmp_path / "file.ckpt", weights_only=True)
    resumed = Pair()
    resumed.on_load_checkpoint(state)
    assert state["iterations"] == resumed.iterations == module.iterations == 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (StepOptions(accumulate=0), r"model\.steps\.accumulate is 0; expected at least 1"),
        (
            StepOptions(gradient_clip=0.0),
            r"model\.steps\.gradient_clip is 0\.0; expected a norm above 0, or null",
        ),
    ],
)
def test_impossible_options_are_refused(options: StepOptions, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        options.check()


@pytest.mark.parametrize(
    ("trainer", "sentence"),
    [
        (
            {"gradient_clip_val": 20.0},
            r"trainer\.gradient_clip_val is 20\.0, which Pair .* remove it, and set model\.steps\.gradient_clip\.$",
        ),
        (
            {"accumulate_grad_batches": 2},
            r"trainer\.accumulate_grad_batches is 2, which Pair .* remove it, and set model\.steps\.accumulate\.$",
        ),
    ],
)
def test_options_of_the_trainer_for_one_optimiser_are_refused(
    tmp_path: Path, trainer: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        fit(tmp_path, Pair(), 4, **trainer)


class Breaks(Pair):
    """The maker's loss is a number, and its gradient is none."""

    def maker_loss(self, image: Tensor, made: Tensor) -> Tensor:
        return super().maker_loss(image, made) + (0 * made).square().sum().sqrt()


class BreaksTheOther(Pair):
    def judge_loss(self, image: Tensor, made: Tensor) -> Tensor:
        return super().judge_loss(image, made) + (0 * self.judge(image)).square().sum().sqrt()


@pytest.mark.parametrize("method", [Breaks, BreaksTheOther])
def test_a_gradient_that_is_no_number_stops_the_run_before_either_steps(
    tmp_path: Path, method: type[Pair]
) -> None:
    module = method()
    before = weights(module)
    with pytest.raises(NonFiniteError, match=r"gradient of (maker|judge)"):
        fit(tmp_path, module, 4, NonFiniteGuard())
    assert torch.equal(weights(module), before)
    kept = torch.load(tmp_path / "checkpoints" / "last_good.ckpt", weights_only=True)
    assert kept["iterations"] == 0
