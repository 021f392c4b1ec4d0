"""Exponential moving average of chosen networks, for evaluation and release.

Lightning's own averages the whole module and its buffers, and with two optimisers may never update.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from repsynth.callbacks.determinism import samples_seen
from repsynth.checkpoint_tools.weights import averages
from repsynth.errors import UserError


class EMA(pl.Callback):
    """Keeps averaged float parameters of named submodules, updated once per training batch.

    Buffers are not averaged: the evaluated network has the current ones. The module's own `state_dict` holds
    the raw weights always; the averages lie in the checkpoint under the callback's key, as
    `{"averages": {parameter name: tensor}}`.

    Args:
        modules: dotted names of submodules, for example `[generator]`.
        half_life: training samples after which a weight counts half; the same for any batch size.
        decay: factor per batch, in place of `half_life`.
        ramp: shortens the half-life to at most this part of the samples seen (StyleGAN3 uses 0.05), or
            under `decay` lets it grow as (1 + n) / (1 / ramp + n) with n batches; None has no ramp.
        use_for_evaluation: validate, test and predict with the averages.

    Raises:
        UserError: neither or both of `half_life` and `decay`, a value out of its range, an unknown submodule.
    """

    def __init__(
        self,
        modules: list[str],
        half_life: float | None = None,
        decay: float | None = None,
        ramp: float | None = None,
        use_for_evaluation: bool = True,
    ) -> None:
        if (half_life is None) == (decay is None):
            raise UserError("EMA needs exactly one of half_life (in samples) and decay (per batch): give one")
        if half_life is not None and half_life <= 0:
            raise UserError(f"EMA.half_life is {half_life}: expected a positive number of samples")
        if decay is not None and not 0 <= decay < 1:
            raise UserError(f"EMA.decay is {decay}: expected at least 0 and less than 1")
        if ramp is not None and ramp <= 0:
            raise UserError(f"EMA.ramp is {ramp}: expected a positive number, or null for no ramp")
        if not modules:
            raise UserError("EMA.modules is empty: name the submodules to average, or leave the callback out")
        self.modules = modules
        self.half_life = half_life
        self.decay = decay
        self.ramp = ramp
        self.use_for_evaluation = use_for_evaluation
        self.averages: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] = {}
        self._swap = ExitStack()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the names and, for training, start from the present weights."""
        named = self._parameters(pl_module)
        if stage == "fit" and not self.averages:
            self.averages = {name: _as_average(parameter) for name, parameter in named.items()}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the averages."""
        return {"averages": self.averages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the averages of a checkpoint."""
        self.averages = dict(state_dict["averages"])

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Warn of a training without averages; what holds weights only may hold averages as its weights."""
        if self.use_for_evaluation and checkpoint.get("optimizer_states") and not averages(checkpoint):
            rank_zero_warn(f"{trainer.ckpt_path} holds no averaged weights: using its own")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the averages to the device, and see that they fit."""
        self._fit_to(pl_module)

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Move the averages towards the weights of this batch."""
        named = self._parameters(pl_module)
        averages = [self.averages[name] for name in named]
        current = [p.detach().to(average.dtype) for p, average in zip(named.values(), averages, strict=True)]
        seen = samples_seen(trainer)
        batch_size = trainer.datamodule.batch_size  # type: ignore[attr-defined]
        get_ema_multi_avg_fn(self.decay_at(seen, batch_size))(averages, current, 0)

    def decay_at(self, seen: int, batch_size: int) -> float:
        """The factor of the average for the batch that ends at `seen` samples."""
        if self.half_life is not None:
            half_life = self.half_life if self.ramp is None else min(self.half_life, self.ramp * seen)
            return 0.5 ** (batch_size / half_life)
        assert self.decay is not None
        batches = seen / batch_size
        return self.decay if self.ramp is None else min(self.decay, (1 + batches) / (1 / self.ramp + batches))

    @contextmanager
    def averaged(self, pl_module: pl.LightningModule) -> Iterator[None]:
        """Give the networks their averaged weights; the raw ones come back exactly, also after an error."""
        self._fit_to(pl_module)
        named = self._parameters(pl_module)
        self._raw = {name: parameter.detach().clone() for name, parameter in named.items()}
        try:
            _assign(named, self.averages)
            yield
        finally:
            _assign(named, self._raw)
            self._raw = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the raw weights in the checkpoint also when it is saved inside an evaluation."""
        checkpoint["state_dict"].update(self._raw)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Evaluate with the averages."""
        if not self.use_for_evaluation or not self.averages:
            return
        self._swap.enter_context(self.averaged(pl_module))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go back to the raw weights."""
        self._swap.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Go back to the raw weights before anybody saves them."""
        self._swap.close()

    on_test_start = on_validation_start
    on_predict_start = on_validation_start
    on_test_end = on_validation_end
    on_predict_end = on_validation_end

    def _parameters(self, pl_module: pl.LightningModule) -> dict[str, Tensor]:
        """The float parameters to average, by their name in the module."""
        known = dict(pl_module.named_modules())
        for name in self.modules:
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.0)
                raise UserError(
                    f"EMA.modules names '{name}', which {type(pl_module).__name__} does not have: "
                    f"the nearest name is '{near[0]}'"
                )
        prefixes = tuple(f"{name}." for name in self.modules)
        named = pl_module.named_parameters()
        return {name: p for name, p in named if name.startswith(prefixes) and p.is_floating_point()}

    def _fit_to(self, pl_module: pl.LightningModule) -> None:
        named = self._parameters(pl_module)
        if named.keys() != self.averages.keys():
            odd = sorted(named.keys() ^ self.averages.keys())
            raise UserError(
                f"EMA: the checkpoint's averages and EMA.modules {self.modules} differ in "
                f"{len(odd)} parameters, first {odd[0]}: use the modules that it was trained with"
            )
        self.averages = {name: self.averages[name].to(p.device) for name, p in named.items()}


def _as_average(parameter: Tensor) -> Tensor:
    """A copy to average in, of at least float32: steps of an average are lost in half precision."""
    return parameter.detach().to(torch.promote_types(parameter.dtype, torch.float32), copy=True)


@torch.no_grad()
def _assign(named: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, parameter in named.items():
        parameter.copy_(values[name])
