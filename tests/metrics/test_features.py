from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import inception_v3
from torchvision.models import vgg16 as torchvision_vgg16

from repsynth import weights
from repsynth.errors import UserError
from repsynth.metrics.features import Extractor, checksum, exact_float32, quantised, tensorflow_bilinear
from repsynth.metrics.inception import Inception, inception, inception_extractor
from repsynth.metrics.random_features import RandomFeatures, random_extractor
from repsynth.metrics.vgg16 import vgg16_extractor, vgg16_network


def bytes_of(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


# From images to what networks take.


def test_images_are_clamped_and_rounded_to_the_nearest_of_256_levels() -> None:
    values = torch.tensor([-0.5, 0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.0, 3.0])
    expected = torch.tensor([0, 0, 0, 1, 255, 255, 255], dtype=torch.uint8)
    images = values.expand(1, 3, 2, 7)
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(quantised(images.to(dtype), ["a"])[0, 0, 0], expected)
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(quantised(levels, ["a"]), levels)
    assert torch.equal(quantised(levels.float() / 255, ["a"]), levels)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_refused_with_the_image(value: float) -> None:
    images = torch.zeros(3, 3, 4, 4)
    images[1, 2, 3, 0] = value
    with pytest.raises(UserError) as raised:
        quantised(images, ["a", "b", "c"])
    assert str(raised.value) == (
        "evaluation image b holds values that are not finite (NaN or infinity), expected [0, 1]: set figures of it "
        "mean nothing; evaluate a checkpoint from before the training diverged"
    )


def test_resizing_is_that_of_tensorflow_1() -> None:
    """Output pixel i lies at i * input / output; nothing is averaged when the image shrinks."""
    line = torch.tensor([0.0, 10.0, 4.0, 8.0])
    images = line.expand(1, 1, 4, 4)
    assert tensorflow_bilinear(images, 8)[0, 0, 0].tolist() == [0, 5, 10, 7, 4, 6, 8, 8]
    assert tensorflow_bilinear(images.mT, 8)[0, 0, :, 5].tolist() == [0, 5, 10, 7, 4, 6, 8, 8]
    assert tensorflow_bilinear(images, 2)[0, 0].tolist() == [[0, 4], [0, 4]]
    assert torch.equal(tensorflow_bilinear(images, 4), images)


def test_resizing_agrees_with_grid_sampling_at_the_same_places() -> None:
    images = bytes_of(2, 3, 50, 37).double()
    rows, columns = (torch.arange(64, dtype=torch.float64) * (side / 64) for side in (50, 37))
    places = torch.stack(torch.meshgrid(rows / 49, columns / 36, indexing="ij")[::-1], -1) * 2 - 1
    expected = F.grid_sample(
        images, places.expand(2, -1, -1, -1), mode="bilinear", padding_mode="border", align_corners=True
    )
    torch.testing.assert_close(tensorflow_bilinear(images.float(), 64).double(), expected, rtol=0, atol=1e-3)


# The networks.


class Watching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.dropout = nn.Dropout()
        self.precision = ""

    def forward(self, x: Tensor) -> Tensor:
        self.precision = torch.get_float32_matmul_precision()
        return self.dropout(self.layer(x.mean((2, 3))))


def test_extractors_stay_frozen_in_evaluation_mode_and_in_exact_float32() -> None:
    network = Watching()
    extractor = Extractor("watching", network, checksum(network), lambda images: images / 255, 2, "none")
    extractor.train()
    images = bytes_of(4, 3, 5, 5)
    plain = extractor(images)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", torch.bfloat16):
            inside = extractor(images)
        assert network.precision == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(plain, inside)
    assert inside.dtype == torch.float32 and not inside.requires_grad
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


def test_the_precision_of_the_run_comes_back_after_a_failure() -> None:
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), exact_float32(torch.device("cpu")):
        _ = 1 / 0
    assert torch.get_float32_matmul_precision() == before


def test_a_checksum_knows_the_weights_and_nothing_else() -> None:
    first, second = random_extractor(), random_extractor()
    assert first.checksum == second.checksum
    network = RandomFeatures()
    weights.fill_randomly(network)
    assert checksum(network) == first.checksum
    network.get_parameter("stages.2.bias").data[3] += 1e-7
    assert checksum(network) != first.checksum


def test_the_stand_in_tells_images_apart_and_refuses_tiny_ones() -> None:
    extractor = random_extractor()
    features = extractor(bytes_of(6, 3, 16, 20))
    assert features.shape == (6, extractor.dimensions)
    assert (features.std(0) > 0).float().mean() > 0.9
    with pytest.raises(UserError) as raised:
        extractor(bytes_of(1, 3, 20, 15))
    assert str(raised.value) == (
        "the extractor 'random' of set figures needs sides of at least 16 pixels, but gets [1, 3, 20, 15]: evaluate "
        "larger images or leave set figures out of metrics"
    )


@pytest.fixture(scope="module")
def trained() -> Inception:
    """Inception with weights and normalisations that let signals pass and are all different."""
    torch.manual_seed(0)
    network = Inception().eval()
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.1)
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return network.requires_grad_(False)


def torchvision_features(network: Inception, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Features by torchvision's Inception, its poolings replaced by those of the graph of 2015."""
    reference = inception_v3(weights=None, init_weights=False, transform_input=False).eval()
    missing = reference.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert {key.split(".")[0] for key in missing if "num_batches" not in key} == {"AuxLogits", "fc"}
    reference.fc = nn.Identity()
    average, calls = F.avg_pool2d, []

    def pool(x: Tensor, **options: int) -> Tensor:
        calls.append(options)
        last = len(calls) == 9
        return F.max_pool2d(x, **options) if last else average(x, **options, count_include_pad=False)

    with monkeypatch.context() as patch:
        patch.setattr(F, "avg_pool2d", pool)
        features = reference(images)
    assert len(calls) == 9
    return features


def test_inception_is_torchvisions_with_the_poolings_of_2015(
    trained: Inception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = bytes_of(2, 3, 80, 64)
    expected = torchvision_features(trained, tensorflow_bilinear(images.float(), 299) / 128 - 1, monkeypatch)
    # As published: with logits that nobody asks for, perhaps without counters that only training reads.
    state = trained.state_dict() | {"fc.weight": torch.zeros(1008, 2048)}
    short = {key: value for key, value in state.items() if "num_batches" not in key}
    checksums = set()
    for name, content in {"whole": state, "short": short}.items():
        torch.save(content, tmp_path / f"{name}.pth")
        extractor = inception(str(tmp_path / f"{name}.pth"), False, "sets.inception_weights")
        checksums.add(extractor.checksum)
    assert checksums == {checksum(trained)}
    features = extractor(images)
    assert features.shape == (2, extractor.dimensions)
    assert (features - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (features[0] - features[1]).abs().max() > 0.01 * expected.abs().max()


def test_fusing_keeps_the_function(trained: Inception) -> None:
    images = bytes_of(1, 3, 299, 299)
    plain = trained((images.float() - 128) / 128)
    fused = Inception()
    fused.load_state_dict(trained.state_dict())
    torch.testing.assert_close(inception_extractor(fused)(images), plain, rtol=1e-5, atol=1e-5)


def test_a_file_of_another_network_is_named(tmp_path: Path) -> None:
    torch.save({"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other.pth \(sets.inception_weights\) does not fit: .* is missing"):
        inception(str(tmp_path / "other.pth"), False, "sets.inception_weights")


def test_weights_that_are_nowhere_are_told_in_the_sentence_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPSYNTH_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError) as raised:
        inception("auto", False, "sets.inception_weights")
    file = weights.FILES["inception_fid"]
    assert str(raised.value) == (
        f"the weight file {file.name} is neither in $REPSYNTH_WEIGHTS nor in {tmp_path}/checkpoints, and the option "
        f"forbids downloading it: fetch it from {file.address}, then give its path as sets.inception_weights or its "
        'folder as $REPSYNTH_WEIGHTS, or set sets.inception_weights to "random" for the stand-in'
    )


@pytest.mark.slow
def test_vgg16_ends_after_its_second_connected_layer() -> None:
    torch.manual_seed(0)
    reference = torchvision_vgg16().eval().requires_grad_(False)
    network = vgg16_network()
    weights.fill(network, reference.state_dict(), Path("vgg"), "option")
    images = bytes_of(2, 3, 40, 56)
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = reference.features((tensorflow_bilinear(images.float(), 224) / 255 - mean) / deviation).flatten(1)
    for layer in (reference.classifier[0], reference.classifier[3]):
        x = layer(x).relu()
    extractor = vgg16_extractor(network)
    features = extractor(images)
    assert features.shape == (2, extractor.dimensions)
    torch.testing.assert_close(features, x, rtol=1e-4, atol=1e-5 * x.abs().max().item())
