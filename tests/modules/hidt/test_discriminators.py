from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from repsynth.errors import UserError

from .tiny import tiny_discriminators


def test_scores_and_features_of_every_scale() -> None:
    verdicts = tiny_discriminators()(torch.randn(2, 3, 32, 48), torch.randn(2, 3))
    for judgement in verdicts:
        assert [tuple(scores.shape) for scores in judgement.scores] == [(2, 1, 8, 12), (2, 1, 4, 6)]
        assert [tuple(maps.shape[1:]) for maps in judgement.features] == [
            (4, 16, 24),
            (8, 8, 12),
            (4, 8, 12),
            (8, 4, 6),
        ]


@pytest.mark.parametrize("shared_trunk", [False, True])
def test_scores_by_hand(shared_trunk: bool) -> None:
    """Layers one after the other; the style is the inner product of its embedding with the last features."""
    network = tiny_discriminators(shared_trunk=shared_trunk)
    images, styles = torch.randn(2, 3, 32, 32), torch.randn(2, 3)
    verdicts = network(images, styles)
    small = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
    for scale, seen in enumerate((images, small)):
        for judgement, heads, number in (
            (verdicts.unconditional, network.unconditional, 0),
            (verdicts.conditional, network.conditional, 0 if shared_trunk else 1),
        ):
            x = seen
            for conv in network.trunks[number].scales[scale]:
                padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
                x = F.leaky_relu(F.conv2d(padded, conv.weight, conv.bias, stride=2), 0.2)
            head = heads[scale]
            expected = F.conv2d(x, head.score.weight, head.score.bias)
            if head.embedding is not None:
                for image in range(2):
                    vector = head.embedding.weight @ styles[image]
                    expected[image, 0] += (vector[:, None, None] * x[image]).sum(0)
            torch.testing.assert_close(judgement.scores[scale], expected, atol=1e-5, rtol=1e-5)


def test_a_shared_trunk_has_its_weights_once() -> None:
    apart, together = (
        sum(p.numel() for p in tiny_discriminators(shared_trunk=shared).trunks.parameters())
        for shared in (False, True)
    )
    assert apart == 2 * together


def test_styles_matter_to_one_of_the_two_and_get_no_gradient() -> None:
    network, images = tiny_discriminators(), torch.randn(1, 3, 32, 32, requires_grad=True)
    styles = torch.randn(2, 1, 3, requires_grad=True)
    first, second = network(images, styles[0]), network(images, styles[1])
    assert torch.equal(first.unconditional.scores[0], second.unconditional.scores[0])
    assert not torch.allclose(first.conditional.scores[0], second.conditional.scores[0])
    first.conditional.scores[0].sum().backward()
    assert styles.grad is None
    assert images.grad is not None and images.grad.any()


@pytest.mark.parametrize("options", [{}, {"spectral": True}, {"shared_trunk": True}])
def test_every_parameter_learns(options: dict[str, Any]) -> None:
    network = tiny_discriminators(**options)
    verdicts = network(torch.randn(2, 3, 32, 32), torch.randn(2, 3))
    torch.stack([scores.sum() for judgement in verdicts for scores in judgement.scores]).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_spectral_normalisation_bounds_every_layer() -> None:
    network = tiny_discriminators(spectral=True)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 2 * 2 * 2 + 4 + 2
    for layer in layers:
        for _ in range(200):  # every access in training is one step of the power iteration
            layer.weight  # noqa: B018
    network.eval()
    for layer in layers:
        assert torch.linalg.svdvals(layer.weight.detach().flatten(1))[0] == pytest.approx(1.0, abs=0.02)


def test_half_precision() -> None:
    network = tiny_discriminators(spectral=True).eval()
    images, styles = torch.randn(2, 3, 32, 32), torch.randn(2, 3)
    expected = network(images, styles)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(images, styles)
    for judgement, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(judgement.scores[0].float(), exact.scores[0], atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("levels", "scales"), [(1, 1), (2, 3), (4, 2)])
def test_the_smallest_side(levels: int, scales: int) -> None:
    network = tiny_discriminators(levels=levels, scales=scales)
    side = network.smallest_side
    judged = network(torch.randn(1, 3, side, side + 3), torch.randn(1, 3))
    assert judged.conditional.scores[-1].shape[-2] >= 1
    with pytest.raises(
        UserError,
        match=rf"levels={levels} and scales={scales} need image sides of at least {side} pixels, but get "
        rf"{side}x{side - 1}; use larger images, or lower model\.discriminator\.levels or model\.disc.*scales\.$",
    ):
        network(torch.randn(1, 3, side, side - 1), torch.randn(1, 3))


def test_a_side_below_the_smallest_cannot_be_padded() -> None:
    network = tiny_discriminators(levels=4, scales=2)
    side = network.smallest_side - 1
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        network.trunks[0](torch.randn(1, 3, side, side))


@pytest.mark.parametrize("option", ["width", "levels", "scales"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(UserError, match=rf"model\.discriminator\.{option} is 0; expected at least 1"):
        tiny_discriminators(**{option: 0})
