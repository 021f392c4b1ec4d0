import warnings
from pathlib import Path

import lpips
import pytest
import torch
import torchvision
from torch import nn

from repsynth.errors import UserError
from repsynth.metrics.lpips import LPIPS, Backbone
from repsynth.weights import fill_randomly

TORCHVISION = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}


def published_like(folder: Path, backbone: str) -> tuple[Path, nn.Module]:
    network = getattr(torchvision.models, TORCHVISION[backbone])(weights=None)
    fill_randomly(network.features, seed=5)
    path = folder / f"{backbone}.pth"
    torch.save({f"features.{key}": value for key, value in network.features.state_dict().items()}, path)
    return path, network.features


def of_the_package(backbone: str, features: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    for key, value in package.net.state_dict().items():
        # Keys are slice.place.rest; places are those of torchvision's stack.
        value.copy_(features.state_dict()[key.split(".", 1)[1]])
    return package


@pytest.mark.parametrize("backbone", ["alex", "squeeze", pytest.param("vgg", marks=pytest.mark.slow)])
def test_agrees_with_the_lpips_package_on_equal_weights(backbone: Backbone, tmp_path: Path) -> None:
    path, features = published_like(tmp_path, backbone)
    metric = LPIPS(backbone, str(path))
    p, t = torch.rand(2, 3, 64, 72), torch.rand(2, 3, 64, 72)
    with torch.no_grad():
        expected = of_the_package(backbone, features)(2 * p - 1, 2 * t - 1).flatten()
    assert metric.name == "lpips"
    assert metric(p, t).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_the_stand_in_says_so_repeats_and_orders_sensibly() -> None:
    metric = LPIPS("alex", "random")
    t = nn.functional.interpolate(torch.rand(1, 3, 12, 12), (64, 64), mode="bicubic").clamp(0, 1)
    noise = torch.randn(1, 3, 64, 64)
    little, much = ((t + amount * noise).clamp(0, 1) for amount in (0.02, 0.2))
    assert metric.name == "lpips_random"
    assert metric(t, t).item() == 0
    assert 1e-4 < metric(little, t).item() < metric(much, t).item()
    assert torch.equal(metric(much, t), LPIPS("alex", "random")(much, t))


def test_takes_images_from_zero_to_one() -> None:
    metric = LPIPS("alex", "random")
    p, t = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 40)
    assert torch.equal(metric(p, t), metric.network(2 * p - 1, 2 * t - 1).flatten())


def test_frozen_in_evaluation_mode_and_float32_under_autocast() -> None:
    metric = LPIPS("alex", "random").train()
    assert not any(part.training for part in metric.modules())
    assert not any(parameter.requires_grad for parameter in metric.parameters())
    p, t = torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 40)
    with torch.autocast("cpu", torch.bfloat16):
        inside = metric(p, t)
    assert torch.equal(inside, metric(p, t))


def test_no_tf32_inside_and_the_users_choice_afterwards() -> None:
    metric, inside = LPIPS("alex", "random"), []
    hook = metric.network.register_forward_pre_hook(
        lambda *_: inside.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32))
    )
    before = torch.backends.cudnn.allow_tf32
    metric(*torch.rand(2, 1, 3, 40, 40))
    hook.remove()
    assert inside == [(True, False)] and torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize(("backbone", "side"), [("alex", 31), ("squeeze", 17)])
def test_the_smallest_image_works_and_a_smaller_one_is_refused(backbone: Backbone, side: int) -> None:
    metric = LPIPS(backbone, "random")
    assert metric(*torch.rand(2, 1, 3, side, side)).isfinite().all()
    with pytest.raises(UserError, match=f"{backbone} needs sides of at least {side} pixels"):
        metric(*torch.rand(2, 1, 3, side - 1, 64))
