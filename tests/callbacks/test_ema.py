from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.harness import final_state
from distributed.toy import BATCH, Toy, ToyGAN, build
from torch import Tensor

from repsynth.callbacks.ema import EMA
from repsynth.errors import UserError


class Record(pl.Callback):
    """The raw weight after each batch, and the weight that each evaluation sees."""

    def __init__(self) -> None:
        self.raw: list[Tensor] = []
        self.evaluated: list[Tensor] = []

    def on_train_batch_end(self, _: object, module: Any, *__: object) -> None:  # noqa: ANN401
        self.raw.append(module.network[3].weight.detach().clone())

    def on_validation_batch_start(self, _: object, module: Any, *__: object) -> None:  # noqa: ANN401
        self.evaluated.append(module.network[3].weight.detach().clone())

    on_test_batch_start = on_validation_batch_start


NAME = "network.3.weight"


def fit(root: Path, method: type[Toy], ema: EMA) -> tuple[pl.Trainer, Toy, Record, Tensor]:
    record = Record()
    trainer, module, data = build(root, method, extra=(record,))
    trainer.callbacks[1] = ema
    initial = module.network[3].weight.detach().clone()
    trainer.fit(module, datamodule=data)
    return trainer, module, record, initial


@pytest.mark.parametrize("method", [Toy, ToyGAN])
def test_equals_the_closed_form(tmp_path: Path, method: type[Toy]) -> None:
    """With two optimisers too the average moves once per batch."""
    ema = EMA(["network"], half_life=10)
    _, module, record, initial = fit(tmp_path, method, ema)
    decay = 0.5 ** (BATCH / 10)
    expected = initial.double()
    for weight in record.raw:
        expected = decay * expected + (1 - decay) * weight.double()
    torch.testing.assert_close(ema.averages[NAME].double(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(record.evaluated[-1], ema.averages[NAME], rtol=0, atol=0)
    assert torch.equal(module.network[3].weight, record.raw[-1])


def test_checkpoint_holds_both(tmp_path: Path) -> None:
    ema = EMA(["network"], half_life=10)
    _, _, record, _ = fit(tmp_path, Toy, ema)
    state = final_state(tmp_path)
    assert torch.equal(state["state_dict"][NAME], record.raw[-1])
    assert torch.equal(state["callbacks"]["EMA"]["averages"][NAME], ema.averages[NAME])


def test_only_the_named_networks_are_averaged(tmp_path: Path) -> None:
    ema = EMA(["network.0", "critic.3"], decay=0.9)
    fit(tmp_path, ToyGAN, ema)
    assert {name.rsplit(".", 1)[0] for name in ema.averages} == {
        "network.0",
        "network.0.parametrizations.weight",
        "critic.3",
    }


def test_test_from_a_checkpoint_uses_the_averages(tmp_path: Path) -> None:
    ema = EMA(["network"], half_life=10)
    fit(tmp_path, Toy, ema)
    record = Record()
    trainer, module, data = build(tmp_path, extra=(record,))
    trainer.test(module, datamodule=data, ckpt_path=tmp_path / "checkpoints" / "last.ckpt", verbose=False)
    assert torch.equal(record.evaluated[0], ema.averages[NAME])
    assert torch.equal(module.network[3].weight, final_state(tmp_path)["state_dict"][NAME])


def test_raw_weights_on_request(tmp_path: Path) -> None:
    _, _, record, _ = fit(tmp_path, Toy, EMA(["network"], half_life=10, use_for_evaluation=False))
    assert torch.equal(record.evaluated[-1], record.raw[-1])


def test_a_training_without_averages_is_told(tmp_path: Path) -> None:
    trainer, module, data = build(tmp_path)
    assert isinstance(trainer.callbacks.pop(1), EMA)
    trainer.fit(module, datamodule=data)
    record, path = Record(), tmp_path / "checkpoints" / "last.ckpt"
    trainer, module, data = build(tmp_path, extra=(record,))
    with pytest.warns(UserWarning, match=r"last\.ckpt holds no averaged weights: using its own"):
        trainer.test(module, datamodule=data, ckpt_path=path, verbose=False)
    assert torch.equal(record.evaluated[0], final_state(tmp_path)["state_dict"][NAME])


class Fails(Toy):
    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        raise RuntimeError("no memory left")


def test_failing_evaluation_leaves_raw_weights_in_module_and_file(tmp_path: Path) -> None:
    record = Record()
    trainer, module, data = build(tmp_path, Fails, extra=(record,), every_samples=10**6)
    with pytest.raises(RuntimeError, match="no memory left"):
        trainer.fit(module, datamodule=data)
    assert torch.equal(module.network[3].weight, record.raw[-1])
    assert not torch.equal(record.evaluated[0], record.raw[-1])
    assert torch.equal(final_state(tmp_path)["state_dict"][NAME], record.raw[-1])


class SavesInside(pl.Callback):
    def on_validation_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "inside.ckpt")


def test_a_save_inside_an_evaluation_holds_raw_weights(tmp_path: Path) -> None:
    record = Record()
    trainer, module, data = build(tmp_path, extra=(record, SavesInside()))
    trainer.fit(module, datamodule=data)
    inside = torch.load(tmp_path / "inside.ckpt", weights_only=True)
    assert torch.equal(inside["state_dict"][NAME], record.raw[-1])


def test_decays() -> None:
    half_life = EMA(["a"], half_life=1000)
    assert half_life.decay_at(10**6, 10) ** 100 == pytest.approx(0.5)
    assert half_life.decay_at(10**6, 10) ** 2 == pytest.approx(half_life.decay_at(10**6, 20))
    ramped = EMA(["a"], half_life=1000, ramp=0.05)
    assert ramped.decay_at(2000, 10) == pytest.approx(0.5 ** (10 / 100))
    assert ramped.decay_at(10**6, 10) == half_life.decay_at(10**6, 10)
    assert EMA(["a"], decay=0.99).decay_at(10, 10) == 0.99
    growing = EMA(["a"], decay=0.99, ramp=0.1)
    assert growing.decay_at(10, 10) == pytest.approx(2 / 11)
    assert growing.decay_at(10**6, 10) == 0.99


def test_half_precision_is_averaged_in_float32() -> None:
    class Half(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = torch.nn.Linear(2, 2).bfloat16()

    module, ema = Half(), EMA(["network"], decay=0.9)
    ema.setup(None, module, "fit")
    assert {average.dtype for average in ema.averages.values()} == {torch.float32}
    raw = module.network.weight.detach().clone()
    ema.averages["network.weight"] += 1
    with pytest.raises(ZeroDivisionError), ema.averaged(module):
        assert torch.equal(module.network.weight, (raw.float() + 1).bfloat16())
        _ = 1 / 0
    assert torch.equal(module.network.weight, raw)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"modules": ["netwrk"], "decay": 0.9},
            "names 'netwrk', which Toy does not have: the nearest .* 'network'",
        ),
        ({"modules": ["network"]}, "exactly one of half_life"),
        ({"modules": ["network"], "decay": 0.9, "half_life": 5}, "exactly one of half_life"),
        ({"modules": ["network"], "half_life": 0}, "half_life is 0: expected a positive"),
        ({"modules": ["network"], "decay": 1.0}, "decay is 1.0: expected at least 0 and less than 1"),
        ({"modules": ["network"], "decay": 0.5, "ramp": -1}, "ramp is -1"),
        ({"modules": [], "decay": 0.5}, "modules is empty"),
    ],
)
def test_mistakes(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        EMA(**options).setup(None, Toy(), "fit")


def test_averages_of_other_networks_are_refused() -> None:
    ema = EMA(["network"], decay=0.9)
    ema.load_state_dict({"averages": {"other.weight": torch.zeros(1)}})
    with pytest.raises(UserError, match="differ in 5 parameters"):
        ema.on_train_start(None, Toy())
