import math

import pytest
import torch

from repsynth.errors import UserError
from repsynth.modules.cips.coordinates import panorama_coordinates
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.sampling.options import PanoramaOptions
from repsynth.modules.cips.sampling.panorama import around
from repsynth.modules.cips.sampling.sampler import to_bytes

from ..tiny import tiny_generator
from .helpers import assert_same, frames, numbered, predicted, sampler


@pytest.fixture
def generator() -> CIPSGenerator:
    return tiny_generator(surface="cylinder").eval()


@pytest.mark.parametrize("scenes", [1, 3])
def test_a_panorama_closes(generator: CIPSGenerator, scenes: int) -> None:
    """The last column is followed by the first: their difference is as any other's."""
    found = frames(
        predicted(
            1,
            generator=generator,
            task="panorama",
            noise="none",
            size=(16, 256),
            panorama=PanoramaOptions(scenes),
        )
    )
    assert found.shape == (1, 1, 3, 16, 256)
    picture = found[0, 0].float()
    steps = (picture.roll(-1, 2) - picture).abs().mean(dim=(0, 1))
    assert float(steps[-1]) <= float(steps.max()) and float(steps[-1]) < 2 * float(steps[:-1].mean()) + 1
    across = (picture - picture.roll(128, 2)).abs().mean()
    assert float(across) > 4 * float(steps.mean()), "there is something to see"


def test_without_a_size_pixels_are_as_the_images(generator: CIPSGenerator) -> None:
    assert frames(predicted(1, generator=generator, task="panorama")).shape == (1, 1, 3, 16, 64)


@pytest.mark.parametrize("scenes", [1, 3])
def test_another_start_turns_the_panorama(generator: CIPSGenerator, scenes: int) -> None:
    straight, turned = (
        frames(
            predicted(
                2,
                generator=generator,
                task="panorama",
                noise="none",
                panorama=PanoramaOptions(scenes, degrees),
            )
        )
        for degrees in (0.0, 90.0)
    )
    assert_same(turned, straight.roll(-16, -1))


def test_one_scene_is_one_sample(generator: CIPSGenerator) -> None:
    batch = numbered(1)
    with torch.no_grad():
        w = sampler(generator).styles(batch["seeds"], batch["numbers"])
        expected = generator.synthesize(w, panorama_coordinates(16, 64)[None], noise=3)
    assert_same(frames(predicted(1, generator=generator, task="panorama", noise=3))[0], to_bytes(expected))


def test_scenes_are_the_samples_at_their_angles(generator: CIPSGenerator) -> None:
    """Column 0 of 64 is scene 0, columns 16, 32, 48 are the scenes 1, 2, 3; between two they are blended."""
    options = {"generator": generator, "task": "panorama", "noise": 3}
    found = frames(predicted(2, **options, panorama=PanoramaOptions(scenes=4)))[0, 0]
    alone = frames(predicted(8, 9, 10, 11, **options))[:, 0]
    for scene in range(4):
        column = 16 * scene
        assert_same(found[..., column], alone[scene, ..., column])
        others = [other for other in range(4) if other != scene]
        assert all((found[..., column] != alone[other, ..., column]).any() for other in others)


def test_styles_are_blended_linearly_around_the_turn() -> None:
    keys = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    angles = 2 * math.pi * torch.tensor([0.0, 1 / 6, 1 / 3, 5 / 6, 1.0, -1 / 6], dtype=torch.float64)
    found = around(keys, angles)
    expected = [keys[0], (keys[0] + keys[1]) / 2, keys[1], (keys[2] + keys[0]) / 2, keys[0]]
    torch.testing.assert_close(found, torch.stack([*expected, expected[3]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scenes", [1, 2])
def test_few_points_at_once_change_nothing(
    generator: CIPSGenerator, scenes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"generator": generator, "task": "panorama", "panorama": PanoramaOptions(scenes)}
    whole = frames(predicted(1, **options))
    trunk, seen = type(generator.trunk), []
    original = trunk.colours

    def spied(self, folded, inputs, noise):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        seen.append(len(folded[0].weight) * inputs.points.shape[-1])
        return original(self, folded, inputs, noise)

    monkeypatch.setattr(trunk, "colours", spied)
    assert_same(frames(predicted(1, **options, points_at_once=40)), whole)
    assert max(seen) <= 40


def test_a_plane_has_no_panorama() -> None:
    with pytest.raises(UserError) as raised:
        predicted(1, task="panorama")
    assert str(raised.value) == (
        "model.sampling.task is panorama, but this generator was trained with model.generator.surface plane; expected "
        "cylinder: train one on landscapes with it"
    )
