import pytest
import torch
from torch import nn

from repsynth.errors import UserError
from repsynth.nn.patch_discriminator import PatchDiscriminator


def test_scores_and_features_of_every_scale() -> None:
    judged = PatchDiscriminator(4, width=2, levels=3, scales=2)(torch.randn(5, 4, 32, 64))
    assert [tuple(scores.shape) for scores in judged.scores] == [(5, 1, 4, 8), (5, 1, 2, 4)]
    fine = [(5, 2, 16, 32), (5, 4, 8, 16), (5, 8, 4, 8), (5, 8, 4, 8)]
    coarse = [(5, channels, height // 2, width // 2) for _, channels, height, width in fine]
    assert [tuple(features.shape) for features in judged.features] == fine + coarse


def test_width_doubles_up_to_eight_times() -> None:
    features = PatchDiscriminator(3, width=1, levels=5, scales=1)(torch.randn(1, 3, 32, 32)).features
    assert [maps.shape[1] for maps in features] == [1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize(("levels", "scales"), [(1, 1), (2, 3), (3, 2)])
def test_the_smallest_side_has_one_score_on_the_coarsest_scale(levels: int, scales: int) -> None:
    network = PatchDiscriminator(3, width=2, levels=levels, scales=scales)
    side = network.smallest_side
    judged = network(torch.randn(1, 3, side, side + 3))
    assert judged.scores[-1].shape[-2] == 1
    with pytest.raises(
        UserError,
        match=rf"levels={levels} and scales={scales} needs image sides of at least {side} pixels, but gets "
        rf"{side}x{side - 1}; change data\.image_size, or lower model\.discriminator\.levels or "
        rf"model\.discriminator\.scales\.$",
    ):
        network(torch.randn(1, 3, side, side - 1))


@pytest.mark.parametrize("option", ["width", "levels", "scales"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(UserError, match=rf"model\.discriminator\.{option} is 0; expected at least 1"):
        PatchDiscriminator(**{option: 0})


def test_a_score_sees_a_patch() -> None:
    network = PatchDiscriminator(1, width=2, levels=3, scales=1)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    images = torch.ones(1, 1, 160, 160, requires_grad=True)
    network(images).scores[0][0, 0, 10, 10].backward()
    assert images.grad is not None
    seen = images.grad[0, 0].nonzero()
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [54, 54]


def test_images_are_judged_by_themselves() -> None:
    network, images = PatchDiscriminator(3, width=4), torch.randn(3, 3, 32, 32)
    together, alone = network(images), network(images[1:2])
    for found, expected in zip(
        together.scores + together.features, alone.scores + alone.features, strict=True
    ):
        torch.testing.assert_close(found[1:2], expected)


def test_the_mean_colour_is_seen() -> None:
    network, images = PatchDiscriminator(3, width=4), torch.randn(1, 3, 32, 32)
    assert (network(images).scores[0] - network(images + 0.5).scores[0]).abs().max() > 1e-3


@pytest.mark.parametrize("spectral", [False, True])
def test_every_parameter_learns(spectral: bool) -> None:
    network = PatchDiscriminator(3, width=4, spectral=spectral)
    torch.stack([scores.sum() for scores in network(torch.randn(2, 3, 32, 32)).scores]).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_spectral_normalisation_bounds_every_convolution() -> None:
    network = PatchDiscriminator(3, width=4, levels=2, scales=1, spectral=True)
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 4
    for conv in convs:
        nn.init.normal_(conv.parametrizations.weight.original, std=3.0)
        for _ in range(500):  # every access in training is one step of the power iteration
            conv.weight  # noqa: B018
    network.eval()
    for conv in convs:
        assert torch.linalg.svdvals(conv.weight.detach().flatten(1))[0] == pytest.approx(1.0, abs=0.02)


def test_power_iteration_stays_in_float32_under_autocast() -> None:
    network, twin = (PatchDiscriminator(3, width=4, spectral=True) for _ in range(2))
    twin.load_state_dict(network.state_dict())
    images = torch.randn(2, 3, 32, 32)
    network(images)
    with torch.autocast("cpu", torch.bfloat16):
        scores = twin(images).scores
    assert scores[0].dtype == torch.bfloat16
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(dict(twin.named_buffers())[name], buffer, atol=0, rtol=0)
