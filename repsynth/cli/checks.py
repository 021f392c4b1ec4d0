"""What is looked at between building the objects and the first batch, so that a mistake costs seconds."""

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy

from repsynth.errors import UserError


def inputs(model: LightningModule, data: LightningDataModule, verb: str) -> None:
    """Let the data and the module look at what they were given, before any worker or rank starts.

    A data module may have `check(stage)`; a module may have `check(datamodule)` for what only the pair can know,
    such as an image side that its networks cannot halve often enough.

    Raises:
        UserError: From either.
    """
    for check, arguments in (
        (getattr(data, "check", None), (verb,)),
        (getattr(model, "check", None), (data,)),
    ):
        if check is not None:
            check(*arguments)


def strategy(model: LightningModule, trainer: Trainer) -> None:
    """Refuse plain DDP for a module that steps by hand: each backward leaves parameters without gradient.

    Raises:
        UserError: The strategy is DDP without `find_unused_parameters`.
    """
    used = trainer.strategy
    if model.automatic_optimization or not isinstance(used, DDPStrategy):
        return
    if not used._ddp_kwargs.get("find_unused_parameters", False):
        raise UserError(
            f"{type(model).__name__} steps several optimisers by hand, and plain DDP fails when a backward "
            "pass leaves parameters unused; set trainer.strategy: ddp_find_unused_parameters_true"
        )
