from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.toy import Poisoned, Toy, ToyGAN, build, poisoned_batch

from repsynth.callbacks.nonfinite import NonFiniteError, NonFiniteGuard
from repsynth.checkpoints import seen


def fit(root: Path, module: pl.LightningModule, **options: Any) -> pl.Trainer:  # noqa: ANN401
    trainer, _, data = build(root, extra=(NonFiniteGuard(),), **options)
    trainer.fit(module, datamodule=data)
    return trainer


def test_names_term_progress_and_samples(tmp_path: Path) -> None:
    start, ids = poisoned_batch()
    sentence = (
        rf"the loss is not finite after {start} samples \(train/term = nan, .*samples {', '.join(ids)}\)"
    )
    with pytest.raises(NonFiniteError, match=sentence):
        fit(tmp_path, Poisoned())


def test_keeps_the_state_before_the_step(tmp_path: Path) -> None:
    class Weights(pl.Callback):
        def on_train_batch_end(self, _: object, module: Any, *__: object) -> None:  # noqa: ANN401
            self.last = {name: value.detach().clone() for name, value in module.named_parameters()}

    weights = Weights()
    trainer, module, data = build(tmp_path, Poisoned, extra=(weights, NonFiniteGuard()))
    with pytest.raises(NonFiniteError):
        trainer.fit(module, datamodule=data)
    path = tmp_path / "checkpoints" / "last_good.ckpt"
    saved = torch.load(path, weights_only=True)
    assert seen(saved) == poisoned_batch()[0]
    assert all(torch.equal(saved["state_dict"][name], value) for name, value in weights.last.items())
    trainer, module, data = build(tmp_path, Toy)
    saved["method"] = "distributed.toy.Toy"
    torch.save(saved, path)
    trainer.fit(module, datamodule=data, ckpt_path=path)
    assert trainer.callbacks[0].samples_seen == 40


@pytest.mark.parametrize("lr", [1e20, 1e-10])
def test_learning_rate(tmp_path: Path, lr: float) -> None:
    if lr == 1e20:
        with pytest.raises(NonFiniteError, match=r"train/error = (inf|nan)"):
            fit(tmp_path, Toy(lr))
    else:
        fit(tmp_path, Toy(lr))


@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_names_the_parameter_of_a_bad_gradient(tmp_path: Path, method: type[Toy]) -> None:
    module = method()
    module.network[3].bias.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(
        NonFiniteError, match=r"gradient is not finite after 0 samples \(gradient of network.3.bias;"
    ):
        fit(tmp_path, module)


def test_large_finite_gradients_pass(tmp_path: Path) -> None:
    module = Toy()
    module.network[3].weight.register_hook(lambda gradient: torch.full_like(gradient, 3e38))
    assert fit(tmp_path, module, max_steps=2).global_step == 2
