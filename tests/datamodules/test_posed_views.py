from typing import Any

import numpy as np
import pytest
import torch

from repsynth.datamodules.colour import jitter_colours
from repsynth.datamodules.posed_views import assemble, augmented, collate, mirrored, take
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.datamodules.views import Choice
from repsynth.geometry.cameras import Cameras


def example() -> dict[str, Any]:
    return SyntheticScenes(seed=0, image_size=(24, 32)).train_dataset()[SampleKey(0, 0)]


def cameras(frames: dict[str, Any]) -> Cameras:
    return Cameras(torch.from_numpy(frames["extrinsics"]), torch.from_numpy(frames["intrinsics"]))


def test_a_mirrored_scene_is_seen_by_mirrored_cameras() -> None:
    plain = example()
    plain["source"]["intrinsics"][0, 0, 2] = 0.42  # no symmetric camera
    flipped = mirrored(plain)
    points = torch.tensor(
        np.random.default_rng(0).uniform([-2, -2, 3], [2, 2, 8], (50, 3)), dtype=torch.float32
    )
    through = points * torch.tensor([-1.0, 1, 1])
    for part in ("source", "novel"):
        here, depth = cameras(plain[part]).project(points)
        there, same_depth = cameras(flipped[part]).project(through)
        torch.testing.assert_close(there, torch.stack([1 - here[..., 0], here[..., 1]], dim=-1))
        torch.testing.assert_close(same_depth, depth)
        np.testing.assert_allclose(np.linalg.det(flipped[part]["extrinsics"][:, :3, :3]), 1, rtol=1e-5)
        np.testing.assert_array_equal(flipped[part]["images"], plain[part]["images"][..., ::-1])
    np.testing.assert_array_equal(flipped["novel_depth"], plain["novel_depth"][..., ::-1])


def test_mirroring_twice_changes_nothing() -> None:
    plain = example()
    twice = mirrored(mirrored(plain))
    for part in ("source", "novel"):
        for key in ("images", "extrinsics", "intrinsics"):
            np.testing.assert_array_equal(twice[part][key], plain[part][key])


def test_colours_change_alike_in_all_views_and_by_the_generator_only() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 13), dtype=np.uint8)
    images = np.repeat(image, 3, axis=0)
    results = [jitter_colours(images, np.random.default_rng(seed)) for seed in range(8)]
    for changed in results:
        assert changed.shape == images.shape and changed.dtype == np.uint8
        np.testing.assert_array_equal(changed, np.repeat(changed[:1], 3, axis=0))
    assert len({changed.tobytes() for changed in results}) > 3
    np.testing.assert_array_equal(jitter_colours(images, np.random.default_rng(3)), results[3])


def test_colours_change_pixel_by_pixel() -> None:
    # Equal colours stay equal wherever they are, so geometry is untouched.
    images = np.random.default_rng(0).integers(0, 4, (2, 3, 16, 12), dtype=np.uint8) * 80
    changed = jitter_colours(images, np.random.default_rng(1))
    before = images.transpose(0, 2, 3, 1).reshape(-1, 3)
    after = changed.transpose(0, 2, 3, 1).reshape(-1, 3)
    mapping: dict[bytes, bytes] = {}
    for old, new in zip(before, after, strict=True):
        assert mapping.setdefault(old.tobytes(), new.tobytes()) == new.tobytes()


def test_augmentation_keeps_the_original_and_mirrors_half_of_the_time() -> None:
    plain = example()
    before = plain["source"]["images"].copy()
    turns = [
        bool(
            (
                augmented(plain, np.random.default_rng(s))["source"]["extrinsics"]
                != plain["source"]["extrinsics"]
            ).any()
        )
        for s in range(40)
    ]
    np.testing.assert_array_equal(plain["source"]["images"], before)
    assert 10 <= sum(turns) <= 30


def test_examples_join_to_the_batch() -> None:
    frames: Any = {
        "images": np.zeros((4, 3, 8, 8), dtype=np.uint8),
        "extrinsics": np.tile(np.eye(4), (4, 1, 1)),
        "intrinsics": np.tile(np.eye(3), (4, 1, 1)),
    }
    frames["images"] += np.arange(4, dtype=np.uint8)[:, None, None, None]
    batch = collate([assemble(name, frames, Choice([2, 1], [3]), (1, 5), 2.5) for name in ("a", "b")])
    assert batch["ids"] == ["a", "b"] and "novel_depth" not in batch
    assert batch["source"]["images"][:, :, 0, 0, 0].tolist() == [[2, 1], [2, 1]]
    assert batch["novel"]["images"][:, :, 0, 0, 0].tolist() == [[3], [3]]
    assert batch["depth_range"].tolist() == [[1, 5]] * 2 and batch["median_depth"].tolist() == [2.5] * 2
    assert batch["median_depth"].dtype == batch["source"]["extrinsics"].dtype == torch.float32
    assert take(frames, [0])["images"].base is None  # its own memory


@pytest.mark.parametrize("views", [1, 3])
def test_shapes_survive_augmentation(views: int) -> None:
    data = SyntheticScenes(image_size=(16, 24), novel_views=views, augment=True, batch_size=2, train_scenes=2)
    batch = next(iter(data.train_dataloader()))
    assert batch["novel"]["images"].shape == (2, views, 3, 16, 24)
    assert batch["novel_depth"].shape == (2, views, 1, 16, 24)
