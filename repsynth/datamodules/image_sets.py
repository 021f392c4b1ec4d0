"""What set figures need of a data module: real images to compare with, and numbers of samples to generate."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch.utils.data import DataLoader, Dataset

from repsynth.datamodules.base import DataModule, EvalStage, length
from repsynth.datamodules.samplers import EvalBatchSampler, SampleKey
from repsynth.datamodules.transport import stack
from repsynth.errors import UserError, require_at_least

Asked = Literal["samples", "relightings"]
"""What evaluation asks a method for: samples of numbers (`batches.Numbered`), or photographs in another light."""


class RealImages(DataModule):
    """A data module with a set of real images to compare generated ones with.

    A subclass gives `real_images` and `signature`, besides what every data module gives.

    Args:
        real_samples: real images that generated ones are compared with, the first in the order of the set; published
            figures take 50000. A smaller set counts whole.

    Raises:
        UserError: for fewer than 2 of them.
    """

    asks_for: ClassVar[Asked]

    def __init__(
        self,
        real_samples: int = 50_000,
        **loaders: Any,  # noqa: ANN401  those of DataModule
    ) -> None:
        super().__init__(**loaders)
        require_at_least("data", 2, real_samples=real_samples)
        self.real_samples = real_samples

    def real_images(self, stage: EvalStage) -> Dataset[Any]:
        """The images, indexed by `SampleKey`, in a fixed order and without augmentation.

        An item is {"ids": str, "images": uint8 [3, H, W]}; ids are unique, images are of one size.
        """
        raise NotImplementedError

    def signature(self, stage: EvalStage) -> str:
        """What the pixels of `real_images` depend on, in one line; statistics are cached under it and their number.

        Another set, or another way to its images, must give another line. For files that is path, size and time of
        change of each (`repsynth.cache.key_of`), and every option between file and pixel.
        """
        raise NotImplementedError

    def real_count(self, stage: EvalStage) -> int:
        """How many of the real images count."""
        return min(self.real_samples, length(self.real_images(stage)))

    def real_loader(self, stage: EvalStage, sharded: bool = True) -> DataLoader[Any]:
        """The real images that count, as `batches.Real`: each once over all ranks, or all on every rank."""
        images = First(self.real_images(stage), self.real_count(stage))
        if sharded:
            return self._eval_loader(images)
        return self._loader(images, EvalBatchSampler(len(images), self.eval_batch_size))


class GeneratedSets(RealImages):
    """A data module whose evaluation samples are numbers: what a generator of images from nothing is asked for.

    Args:
        val_samples: images to generate at every validation.
        test_samples: images to generate for a test; published figures take 50000.
        predict_samples: what `predict` is asked for: the numbers 0 to this one less.
        eval_seed: of the samples to generate: figures of two models with the same seed stand on the same latents.

    Raises:
        UserError: for fewer than 1 sample or a negative seed.
    """

    asks_for: ClassVar[Asked] = "samples"

    def __init__(
        self,
        val_samples: int = 5000,
        test_samples: int = 50_000,
        predict_samples: int = 16,
        eval_seed: int = 0,
        **sets: Any,  # noqa: ANN401  those of RealImages
    ) -> None:
        super().__init__(**sets)
        require_at_least(
            "data", 1, val_samples=val_samples, test_samples=test_samples, predict_samples=predict_samples
        )
        require_at_least("data", 0, eval_seed=eval_seed)
        self.val_samples = val_samples
        self.test_samples = test_samples
        self.predict_samples = predict_samples
        self.eval_seed = eval_seed

    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        """Numbers of samples to generate; joined to `batches.Numbered`."""
        return Numbers(self.val_samples if stage == "val" else self.test_samples, self.eval_seed)

    def predict_dataset(self) -> Dataset[Any]:
        """Numbers of samples to make something of; needs no image on disk."""
        return Numbers(self.predict_samples, self.eval_seed)


def check_asks_for(datamodule: object, answered: Asked, method: str, fitting: str) -> None:
    """Raise UserError where validation, perhaps hours later, would ask a method for what it does not make.

    Args:
        datamodule: any; those without real images ask for neither.
        answered: what the method makes.
        method: its name.
        fitting: data modules that ask for it.
    """
    asked = getattr(datamodule, "asks_for", answered)
    if asked != answered:
        raise UserError(
            f"validation on {type(datamodule).__name__} asks for {asked}, but {method} makes {answered}; set "
            f"data.class_path to {fitting}"
        )


class Numbers(Dataset[dict[str, Any]]):
    """The samples 0 .. count - 1 of a seed."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        # Ids of one width sort as their numbers do.
        return {
            "ids": f"{key.index:0{len(str(self.count - 1))}d}",
            "numbers": torch.tensor(key.index),
            "seeds": torch.tensor(self.seed),
        }


class First(Dataset[Any]):
    """The first `count` examples of a data set."""

    def __init__(self, dataset: Dataset[Any], count: int) -> None:
        self.dataset = dataset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> Any:  # noqa: ANN401
        return self.dataset[key]


def collate_named(examples: Sequence[dict[str, Any]]) -> Any:  # noqa: ANN401  a loader process wraps the dictionary
    """Stack the arrays of examples, and list their ids."""
    arrays = [{key: value for key, value in example.items() if key != "ids"} for example in examples]
    return stack(arrays, ids=[example["ids"] for example in examples])
