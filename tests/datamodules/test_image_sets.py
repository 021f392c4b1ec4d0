from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from repsynth.datamodules.base import EvalStage
from repsynth.datamodules.image_sets import GeneratedSets
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError


class Greys(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 11

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        return {"ids": f"{key.index:02d}", "images": torch.full((3, 2, 2), key.index, dtype=torch.uint8)}


class GreySets(GeneratedSets):
    def train_dataset(self) -> Dataset[Any]:
        return Greys()

    def real_images(self, stage: EvalStage) -> Dataset[Any]:
        return Greys()


def test_evaluation_samples_are_numbers_with_the_seed_of_the_set() -> None:
    data = GreySets(val_samples=12, test_samples=5, eval_seed=4, eval_batch_size=5)
    batches = list(data.val_dataloader())
    assert [batch["ids"] for batch in batches] == [
        ["00", "01", "02", "03", "04"],
        ["05", "06", "07", "08", "09"],
        ["10", "11"],
    ]
    assert torch.cat([batch["numbers"] for batch in batches]).tolist() == list(range(12))
    assert torch.cat([batch["seeds"] for batch in batches]).tolist() == [4] * 12
    moved = data.on_after_batch_transfer(batches[0], 0)
    assert moved["numbers"].dtype == moved["seeds"].dtype == torch.int64
    assert [batch["ids"] for batch in data.test_dataloader()] == [["0", "1", "2", "3", "4"]]
    assert data.describe("validate") == {"validation samples": 12}


@pytest.mark.parametrize(("asked", "count"), [(50_000, 11), (4, 4)])
def test_real_images_come_in_order_as_bytes_up_to_their_number(asked: int, count: int) -> None:
    data = GreySets(real_samples=asked, eval_batch_size=3)
    batches = list(data.real_loader("val"))
    assert data.real_count("val") == count
    assert [name for batch in batches for name in batch["ids"]] == [f"{index:02d}" for index in range(count)]
    images = torch.cat([batch["images"] for batch in batches])
    assert images.dtype == torch.uint8 and images[:, 0, 0, 0].tolist() == list(range(count))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"real_samples": 1}, "data.real_samples is 1; expected at least 2"),
        ({"val_samples": 0}, "data.val_samples is 0; expected at least 1"),
        ({"test_samples": 0}, "data.test_samples is 0; expected at least 1"),
        ({"eval_seed": -1}, "data.eval_seed is -1; expected at least 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        GreySets(**options)
    assert str(raised.value) == sentence
