from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from repsynth.errors import UserError
from repsynth.losses.perceptual import TAP_WEIGHTS, TAPS, PerceptualLoss


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Sequential]:
    """A file like torchvision's VGG19 (random, scaled so that features live), and the network it is from."""
    torch.manual_seed(0)
    stack = torchvision.models.vgg19(weights=None).features
    for layer in stack:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save({f"features.{key}": value for key, value in stack.state_dict().items()}, path)
    return path, stack


def by_hand(stack: nn.Sequential, p: torch.Tensor, t: torch.Tensor) -> float:
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    p, t = ((x - mean.view(3, 1, 1)) / deviation.view(3, 1, 1) for x in (p, t))
    total = 0.0
    for place, layer in enumerate(stack, 1):
        layer = nn.AvgPool2d(2) if isinstance(layer, nn.MaxPool2d) else layer
        p, t = layer(p), layer(t)
        if place in TAPS:
            total += TAP_WEIGHTS[TAPS.index(place)] * (p - t).abs().mean().item()
    return total


def test_published_weights_give_the_loss_computed_by_hand(published: tuple[Path, nn.Sequential]) -> None:
    path, stack = published
    loss = PerceptualLoss(str(path))
    p, t = torch.rand(2, 3, 40, 36), torch.rand(2, 3, 40, 36)
    with torch.no_grad():
        assert loss(p, t).item() == pytest.approx(by_hand(stack, p, t), rel=1e-5)
    assert loss.name == "perceptual"


def test_the_stand_in_says_so_and_is_the_same_each_time() -> None:
    first, second = PerceptualLoss("random", 3), PerceptualLoss("random", 3)
    p, t = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    assert first.name == "perceptual_random"
    assert torch.equal(first(p, t), second(p, t))
    assert first(p, p).item() == 0


def test_features_of_the_stand_in_neither_vanish_nor_explode() -> None:
    loss = PerceptualLoss("random")
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (64, 64), mode="bilinear")
    maps = list(loss._maps(smooth))
    assert [m.shape[1] for m in maps] == [64, 128, 256, 512, 512]
    for features in maps:
        assert 0.05 < features.std() < 5
        assert (features > 0).float().mean() > 0.2


def test_fewer_levels_are_the_first_terms_of_all() -> None:
    p, t = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    deepest = PerceptualLoss("random", 3)
    pairs = zip(TAP_WEIGHTS, deepest._maps(p), deepest._maps(t), strict=False)
    terms = [weight * (a - b).abs().mean().item() for weight, a, b in pairs]
    for levels in (1, 2, 3):
        assert PerceptualLoss("random", levels)(p, t).item() == pytest.approx(sum(terms[:levels]), rel=1e-5)


def test_what_lies_far_outside_the_mask_does_not_count() -> None:
    loss = PerceptualLoss("random", 2)
    p, t = torch.rand(1, 3, 32, 64), torch.rand(1, 3, 32, 64)
    mask = torch.zeros(1, 1, 32, 64)
    mask[..., :16] = 1
    changed = p.clone()
    changed[..., 48:] = 0
    assert torch.equal(loss(p, t, mask), loss(changed, t, mask))
    assert not torch.equal(loss(p, t), loss(changed, t))


def test_the_network_is_no_part_of_the_module_that_holds_it() -> None:
    holder = nn.ModuleDict({"loss": PerceptualLoss("random", 1)})
    assert list(holder.state_dict()) == []
    assert list(holder.parameters()) == []
    holder.train()
    network = holder["loss"]._hidden[0]
    assert not network.training
    holder.load_state_dict({}, strict=True)


def test_it_follows_the_module_to_another_type() -> None:
    loss = PerceptualLoss("random", 1).to(torch.float64)
    p = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    assert next(loss._maps(p)).dtype == torch.float64


def test_gradients_reach_the_prediction_only() -> None:
    p, t = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    PerceptualLoss("random", 2)(p, t).backward()
    assert p.grad is not None and p.grad.abs().sum() > 0
    assert t.grad is None


def test_bf16_stays_close_to_float32() -> None:
    loss = PerceptualLoss("random", 3)
    p, t = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(p, t)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(p, t).item(), rel=0.02)


def test_pictures_too_small_for_the_deepest_tap_are_refused() -> None:
    with pytest.raises(UserError, match=r"5 levels needs sides of at least 16 pixels.*\[1, 3, 8, 40\]"):
        PerceptualLoss("random")(torch.rand(1, 3, 8, 40), torch.rand(1, 3, 8, 40))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vgg19.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)
    with pytest.raises(UserError, match=r"does not fit: features\.2\.weight is missing"):
        PerceptualLoss(str(path))
