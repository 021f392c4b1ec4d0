from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsynth.errors import UserError
from repsynth.metrics.classifier import classifier

IMAGES = torch.randint(0, 256, (3, 3, 40, 56), dtype=torch.uint8)


class Colours(nn.Module):
    """Logits from mean colours."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.head = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean((2, 3)))


def seen(side: int) -> Tensor:
    """What a network of torchvision takes, in float64."""
    small = F.interpolate(IMAGES.double() / 255, (side, side), mode="bilinear", antialias=True)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((small - mean[:, None, None]) / deviation[:, None, None]).float()


def test_a_torchscript_file(tmp_path: Path) -> None:
    network = Colours()
    path = tmp_path / "classifier.pt"
    torch.jit.trace(network, torch.zeros(1, 3, 32, 32)).save(str(path))
    found = classifier(str(path), None, 32)
    assert (found.name, found.dimensions) == ("torchscript", 4)
    torch.testing.assert_close(found(IMAGES), network(seen(32)).detach(), atol=1e-5, rtol=1e-5)


def test_weights_of_a_timm_model_with_its_own_number_of_classes(tmp_path: Path) -> None:
    network = timm.create_model("resnet18", num_classes=5).eval()
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    found = classifier(str(path), "resnet18", 64)
    assert (found.name, found.dimensions) == ("resnet18", 5)
    torch.testing.assert_close(found(IMAGES), network(seen(64)).detach(), atol=1e-4, rtol=1e-4)


def test_the_stand_in_is_the_same_everywhere_and_tells_images_apart() -> None:
    found, again = classifier("random", None, 64), classifier("random", None, 64)
    assert (found.name, found.dimensions) == ("random", 4) and found.checksum == again.checksum
    smooth = (F.interpolate(torch.rand(6, 3, 3, 3), (40, 40), mode="bicubic").clamp(0, 1) * 255).byte()
    said = found(smooth).softmax(1)
    assert torch.equal(said, again(smooth).softmax(1))
    assert (said - said.mean(0)).abs().max() > 0.02


def saved(path: Path, network: nn.Module) -> str:
    torch.jit.trace(network, torch.zeros(2, 3, 32, 32)).save(str(path))
    return str(path)


def test_mistakes(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save({"head.weight": torch.zeros(4, 3)}, weights)
    maps, one = saved(tmp_path / "maps.pt", nn.Conv2d(3, 4, 1)), saved(tmp_path / "one.pt", Colours(1))
    fixed = saved(tmp_path / "fixed.pt", nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)))
    cases: list[tuple[str, str | None, int, str]] = [
        (
            str(tmp_path / "none.pt"),
            None,
            32,
            r"translations\.classifier names .*none\.pt, where there is no file",
        ),
        (
            str(weights),
            None,
            32,
            r"weights\.pth \(translations\.classifier\) is no TorchScript file \(.*\); write one",
        ),
        (str(weights), "resnet0", 32, r"translations\.architecture is resnet0, which timm does not know"),
        (
            str(weights),
            "resnet18",
            32,
            r"weights\.pth .* does not fit: fc\.weight is missing; give the state dict of",
        ),
        (one, None, 32, r"one\.pt gives \[2, 1\] for 2 images; expected logits"),
        (maps, None, 32, r"maps\.pt gives \[2, 4, 32, 32\] for 2 images"),
        (fixed, None, 16, r"fixed\.pt does not take images \[2, 3, 16, 16\] \(.*\); set .*classifier_size"),
    ]
    for path, architecture, side, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            classifier(path, architecture, side)
