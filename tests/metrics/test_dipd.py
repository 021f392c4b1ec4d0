from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.metrics.dipd import DIPD
from repsynth.weights import fill_randomly


@pytest.fixture(scope="module")
def published_like(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    network = torchvision.models.vgg16(weights=None)
    fill_randomly(network.features, seed=5)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({f"features.{key}": value for key, value in network.features.state_dict().items()}, path)
    return path, network


def test_by_hand(published_like: tuple[Path, nn.Module]) -> None:
    """Layer by layer up to the last ReLU before the last pooling; normalised image by image, channel by channel."""
    path, network = published_like
    metric = DIPD(str(path))
    images = torch.rand(2, 2, 3, 48, 64)
    found = []
    for batch in images:
        x = (batch - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(3, 1, 1)
        rectified = 0
        for layer in network.features:  # type: ignore[attr-defined]
            x = layer(x)
            rectified += isinstance(layer, nn.ReLU)
            if rectified == 13:  # two in each of the first two blocks, three in the others
                break
        assert x.shape == (2, 512, 3, 4)
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), unbiased=False, keepdim=True)
        found.append((x - mean) / (variance + 1e-5).sqrt())
    expected = (found[0] - found[1]).pow(2).mean((1, 2, 3))
    assert metric.name == "dipd"
    torch.testing.assert_close(metric(*images), expected, rtol=1e-4, atol=1e-5)


def test_the_stand_in_says_so_repeats_and_orders_sensibly() -> None:
    metric = DIPD("random")
    assert metric.name == "dipd_random" and not metric.training
    scenes = F.interpolate(torch.rand(2, 3, 12, 12), (64, 64), mode="bicubic").clamp(0, 1)
    same, little, much = (metric(scenes, factor * scenes) for factor in (1, 0.9, 0.5))
    assert same.tolist() == [0.0, 0.0]
    assert (little > 0).all() and (little < 0.5 * much).all()
    assert torch.equal(much, DIPD("random")(scenes, 0.5 * scenes))


def test_images_that_are_too_small() -> None:
    with pytest.raises(
        UserError, match=r"dipd needs sides of at least 32 pixels, but gets \[1, 3, 31, 64\]: evaluate"
    ):
        DIPD("random")(torch.rand(1, 3, 31, 64), torch.rand(1, 3, 31, 64))


def test_weights_that_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("REPSYNTH_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth is neither in .* translations\.vgg_weights"):
        DIPD(download=False)
