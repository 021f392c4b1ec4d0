"""`PhotoPairs`: photographs without labels, each to be shown in the light of another."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from repsynth.datamodules.base import EvalStage
from repsynth.datamodules.image_folder import ImageFolder
from repsynth.datamodules.image_sets import First, collate_named
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.square_images import FixedImages
from repsynth.errors import UserError

_DRAWS = 0x9A125
"""Keeps the draws of styles apart from others of the same seed."""


class PhotoPairs(ImageFolder):
    """Photographs of a folder or an archive: training as in `ImageFolder`, evaluation with `batches.Relighting`.

    Example i of validation, test and `predict` is photograph i, in the order of the names, and as style another
    photograph of the same, drawn from (`eval_seed`, i). There is no truth. Translations are compared as a set with all
    photographs, as `ImageFolder` says.

    Args:
        root: see `ImageFolder`.
        held_out: share of the photographs that training leaves out and evaluation is made of, chosen by a hash of
            their names: a photograph keeps its part whatever is added. 0 trains on all and evaluates on all.
        options: those of `ImageFolder`; `val_samples`, `test_samples` and `predict_samples` are at most so many
            photographs, the first.

    Raises:
        UserError: for impossible options.
    """

    asks_for = "relightings"

    def __init__(
        self,
        root: str,
        *,
        held_out: float = 0.0,
        **options: Any,  # noqa: ANN401  those of the base, which the command line reads there
    ) -> None:
        super().__init__(root, **options)
        if not 0 <= held_out < 1:
            raise UserError(f"data.held_out is {held_out:g}; expected a share from 0 to below 1, such as 0.1")
        self.held_out = held_out

    def check(self, stage: str | None = None) -> None:
        """List the photographs and hold their heads against the options, for every stage.

        Raises:
            UserError: besides what `ImageFolder` finds, too few photographs to evaluate on.
        """
        super().check("test" if stage == "predict" else stage)
        count = len(self._evaluated())
        if count < 2:
            raise UserError(
                f"{self.root}: {count} photographs are held out (data.held_out {self.held_out:g}), but one is shown in "
                "the light of another; raise data.held_out or add photographs"
            )

    @property
    def protocol(self) -> str:
        """What evaluation figures on this data are figures of, in one line for their report."""
        evaluated = f"{len(self._evaluated())} of them held out" if self.held_out else "trained on"
        return f"{super().protocol}; photographs in the light of others, {evaluated}, styles of seed {self.eval_seed}"

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """Photographs, each with another one as its style; joined to `batches.Relighting`."""
        return self._pairs(self.val_samples if stage == "val" else self.test_samples)

    def predict_dataset(self) -> Dataset[Any]:
        """The first `predict_samples` of them."""
        return self._pairs(self.predict_samples)

    def collate(self, examples: list[Any]) -> Any:  # noqa: ANN401
        """Join pairs to `Relighting`, others as the base does."""
        return collate_named(examples) if "content" in examples[0] else super().collate(examples)

    def _trained(self) -> np.ndarray:
        return self._part(held_out=False)

    def _evaluated(self) -> np.ndarray:
        return self._part(held_out=True) if self.held_out else super()._trained()

    def _part(self, *, held_out: bool) -> np.ndarray:
        """[N] int64: the photographs of the store that are held out, or those that are not."""
        found = self._found()
        chosen, store = found.chosen.indices, found.laid_out.store
        return np.array(
            [index for index in chosen if (_place(store.name(int(index))) < self.held_out) == held_out],
            dtype=np.int64,
        )

    def _pairs(self, most: int) -> Dataset[Any]:
        photographs = FixedImages(self._found().laid_out.store, self._evaluated(), self.square)
        return First(_Pairs(photographs, self.eval_seed), min(most, len(photographs)))


@dataclass(frozen=True)
class _Pairs(Dataset[dict[str, Any]]):
    photographs: FixedImages
    seed: int

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        count = len(self)
        further = np.random.default_rng([_DRAWS, self.seed, key.index]).integers(1, count)
        content = self.photographs[key]
        style = self.photographs[SampleKey(0, int(key.index + further) % count)]
        return {"ids": content["ids"], "content": content["images"], "style": style["images"]}


def _place(name: str) -> float:
    """Where a name lies in [0, 1)."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:7]) / 2**56
