import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic import textures
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError


def equal(first: object, second: object) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, np.ndarray | torch.Tensor):
        return bool((first == second).all())
    return first == second


def train_example(key: tuple[int, int] = (0, 0), **options: object) -> dict[str, Any]:
    return SyntheticScenes(**{"seed": 1, **options}).train_dataset()[SampleKey(*key)]


def test_a_batch_has_the_contracts_shapes_and_types() -> None:
    data = SyntheticScenes(
        image_size=(24, 32), clip_frames=6, window=6, source_views=3, novel_views=2, batch_size=2
    )
    batch = next(iter(data.train_dataloader()))
    for part, views in (("source", 3), ("novel", 2)):
        assert (
            batch[part]["images"].shape == (2, views, 3, 24, 32)
            and batch[part]["images"].dtype == torch.uint8
        )
        assert batch[part]["extrinsics"].shape == (2, views, 4, 4)
        assert batch[part]["intrinsics"].shape == (2, views, 3, 3)
    assert batch["novel_depth"].shape == (2, 2, 1, 24, 32) and batch["novel_depth"].isfinite().all()
    assert batch["depth_range"].shape == (2, 2) and batch["median_depth"].shape == (2,)
    figures = ("novel_depth", "depth_range", "median_depth")
    assert all(batch[key].dtype == torch.float32 for key in figures)
    assert (batch["depth_range"][:, 0] < batch["median_depth"]).all()
    assert (batch["median_depth"] < batch["depth_range"][:, 1]).all()
    assert data.on_after_batch_transfer(batch, 0)["novel"]["images"].dtype == torch.float32


def test_an_example_depends_on_seed_epoch_and_index_only() -> None:
    assert equal(train_example((3, 5)), train_example((3, 5)))
    assert equal(train_example((3, 5)), train_example((3, 5), train_scenes=7, batch_size=2))
    assert not equal(train_example((3, 5)), train_example((3, 6)))
    assert not equal(train_example((3, 5)), train_example((3, 5), seed=2))


def test_epochs_show_other_views_of_the_same_scene() -> None:
    cameras = {tuple(train_example((epoch, 5))["novel"]["extrinsics"].ravel()) for epoch in range(6)}
    assert 1 < len(cameras) <= 5  # the path's five cameras belong to the scene


def test_held_out_scenes_do_not_depend_on_the_seed() -> None:
    parts: list[Any] = [SyntheticScenes(seed=seed).eval_dataset("val") for seed in (1, 2)]
    assert equal(parts[0][SampleKey(0, 3)], parts[1][SampleKey(0, 3)])
    test: Any = SyntheticScenes(seed=1).eval_dataset("test")
    assert not equal(parts[0][SampleKey(0, 3)]["novel"], test[SampleKey(0, 3)]["novel"])
    ids = [part[SampleKey(0, index)]["id"] for part in (parts[0], test) for index in range(3)]
    assert len(set(ids)) == 6


def test_training_and_held_out_textures_share_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    # A photograph whose pixels name their own column.
    columns = np.tile(np.arange(200, dtype=np.uint8), (50, 1))
    photograph = Image.fromarray(np.repeat(columns[..., None], 3, axis=2))
    train, held = (np.asarray(textures._part_of_split(photograph, split)) for split in ("train", "held out"))
    assert set(train.ravel()) & set(held.ravel()) == set() and train.shape[1] + held.shape[1] == 200


@pytest.mark.parametrize("name", textures.PHOTOGRAPHS)
def test_photographs_ship_inside_scikit_image(name: str) -> None:
    photograph = textures.photograph(name, "train")
    assert photograph.mode == "RGB" and min(photograph.size) > 200


def test_disparities_and_magnification_are_as_promised() -> None:
    data: Any = SyntheticScenes().eval_dataset("val")
    near, far, magnification = [], [], []
    for index in range(50):
        example = data[SampleKey(0, index)]
        views = np.concatenate([example[part]["extrinsics"] for part in ("source", "novel")])
        reference, side, novel = (-pose[:3, :3].T @ pose[:3, 3] for pose in views)
        baseline = np.linalg.norm(side - reference)
        pixels = 64 * example["source"]["intrinsics"][0, 0, 0] * baseline / example["depth_range"]
        near.append(pixels[0])
        far.append(pixels[1])
        magnification.append(min(np.linalg.norm(novel - one) for one in (reference, side)) / baseline)
    assert 3 < np.median(near) < 8 and 0.4 < np.median(far) < 2
    assert min(magnification) > 0.25 and max(magnification) < 4.5 and 0.7 < np.median(magnification) < 2


def test_novel_views_show_what_no_input_sees() -> None:
    # Wall and card: the strip beside the card that only the novel camera sees is there in most examples.
    data: Any = SyntheticScenes().eval_dataset("val")
    spread = [np.ptp(data[SampleKey(0, index)]["novel_depth"]) for index in range(10)]
    assert min(spread) > 2


def test_augmentation_changes_training_only() -> None:
    plain, changed = train_example((0, 1)), train_example((0, 1), augment=True)
    assert not equal(plain["source"]["images"], changed["source"]["images"])
    held: list[Any] = [SyntheticScenes(augment=augment).eval_dataset("val") for augment in (False, True)]
    assert equal(held[0][SampleKey(0, 0)], held[1][SampleKey(0, 0)])


def test_workers_and_the_main_process_give_the_same_batches() -> None:
    options: dict[str, Any] = {
        "image_size": (16, 16),
        "train_scenes": 6,
        "batch_size": 2,
        "augment": True,
        "seed": 4,
    }
    here = list(SyntheticScenes(**options).train_dataloader())
    there = list(SyntheticScenes(num_workers=2, **options).train_dataloader())
    assert len(here) == 3 and all(equal(one, two) for one, two in zip(here, there, strict=True))


@pytest.mark.parametrize("image_size", [(16, 32), (32, 16)])
def test_the_longest_path_never_sees_past_the_wall(image_size: tuple[int, int]) -> None:
    data: Any = SyntheticScenes(clip_frames=30, window=30, mode="interpolation", image_size=image_size)
    for index in range(30):
        # The inputs of this mode are both ends of the path.
        assert np.isfinite(data.eval_dataset("val")[SampleKey(0, index)]["depth_range"]).all()


def test_neither_order_nor_global_generators_nor_threads_touch_an_example() -> None:
    examples: Any = SyntheticScenes(image_size=(16, 16), augment=True, seed=4).train_dataset()
    first = [examples[SampleKey(0, index)] for index in range(4)]
    threads = torch.get_num_threads()
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    torch.set_num_threads(threads + 1)
    again = [examples[SampleKey(0, index)] for index in reversed(range(4))][::-1]
    torch.set_num_threads(threads)
    assert all(equal(one, two) for one, two in zip(first, again, strict=True))
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    examples[SampleKey(0, 9)]
    assert state == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_counts() -> None:
    counts = SyntheticScenes(train_scenes=10, eval_scenes=3, batch_size=4).describe()
    assert list(counts.values()) == [10, 8, 3, 3]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SyntheticScenes(image_size=(4, 64)), "data.image_size is 4; expected at least 8"),
        (lambda: SyntheticScenes(train_scenes=0), "data.train_scenes is 0; expected at least 1"),
        (
            lambda: SyntheticScenes(clip_frames=31),
            "data.clip_frames is 31; a path of more than 30 cameras leaves its scene",
        ),
        (
            lambda: SyntheticScenes(source_views=0),
            "data.source_views is 0 and data.novel_views 1; each must be",
        ),
        (
            lambda: SyntheticScenes(novel_views=4),
            "a path of data.clip_frames 5 with data.window 5 cannot give 2 input and 4 novel views; 6 frames",
        ),
    ],
)
def test_impossible_options_get_one_sentence(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value).startswith(sentence)
