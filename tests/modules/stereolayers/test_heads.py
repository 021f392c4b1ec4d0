import pytest
import torch

from repsynth.errors import UserError
from repsynth.geometry.composition import compose_fragments
from repsynth.modules.stereolayers.depth import (
    DepthScheme,
    bounded_logits,
    layered_depth,
    logit_channels,
    sort_layers,
)
from repsynth.modules.stereolayers.texturing import Texturing, raw_channels, texture_layers

PLANES = 1 / torch.linspace(1 / 100, 1, 8)


def test_bounded_depth_is_linear_in_depth() -> None:
    logits = torch.tensor([-30.0, 0.0, 30.0]).view(1, 3, 1, 1)
    depth = layered_depth(logits, "BI", 3, PLANES)
    torch.testing.assert_close(depth.flatten(), torch.tensor([100.0, 50.5, 1.0]), atol=1e-4, rtol=0)


def test_soft_argmax_of_a_sure_distribution_is_its_plane() -> None:
    logits = torch.full((1, 2 * 8, 1, 1), -50.0)
    logits[0, 3], logits[0, 8 + 1] = 50.0, 50.0  # layer 0 on plane 3, layer 1 on plane 1 (farther)
    depth = layered_depth(logits, "SA", 2, PLANES)
    torch.testing.assert_close(depth.flatten(), PLANES[[1, 3]])


def test_group_composition_shows_the_nearest_opaque_plane_of_each_group() -> None:
    logits = torch.full((1, 8, 1, 1), -50.0)
    logits[0, 2] = (
        50.0  # group 0 holds planes 0..3, group 1 planes 4..7; group 1 is empty but for its farthest
    )
    depth = layered_depth(logits, "GC", 2, PLANES)
    assert depth[0, 0, 0, 0] == pytest.approx(float(PLANES[2]), rel=1e-4)
    assert depth[0, 1, 0, 0] == pytest.approx(float(PLANES[4]), rel=1e-4)


def test_group_composition_is_ordered_by_construction() -> None:
    torch.manual_seed(0)
    depth = layered_depth(torch.randn(2, 8, 5, 5) * 3, "GC", 4, PLANES)
    assert (depth[:, :-1] > depth[:, 1:]).all()


def test_layers_are_sorted_by_mean_depth_per_item() -> None:
    depth = torch.tensor([[1.0, 3.0, 2.0], [9.0, 7.0, 8.0]])[..., None, None].expand(2, 3, 4, 4)
    assert sort_layers(depth)[:, :, 0, 0].tolist() == [[3, 2, 1], [9, 8, 7]]


def test_groups_must_be_equal() -> None:
    with pytest.raises(UserError, match=r"planes=9 is not a multiple of model\.layers=4"):
        logit_channels("GC", 4, 9)


def test_mixing_weights_pick_their_source() -> None:
    reference, side = torch.rand(1, 3, 2, 2), torch.rand(1, 3, 3, 2, 2)
    raw = torch.zeros(1, raw_channels("RSBg", 3), 2, 2)
    raw[:, :3] = 0.5  # background = tanh(0.5)
    raw[:, 3 + 0], raw[:, 3 + 4 + 1], raw[:, 3 + 8 + 2] = 50.0, 50.0, 50.0
    raw[:, 3 + 3], raw[:, 3 + 7] = 50.0, -50.0
    rgba = texture_layers(raw, "RSBg", reference, side)
    torch.testing.assert_close(rgba[:, 0, :3], reference)
    torch.testing.assert_close(rgba[:, 1, :3], torch.full_like(reference, 0.5).tanh())
    torch.testing.assert_close(rgba[:, 2, :3], side[:, 2])
    assert rgba[0, :, 3, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.5])


def test_heads_compute_in_float32_from_half_precision() -> None:
    assert (
        layered_depth(torch.zeros(1, 4, 2, 2, dtype=torch.bfloat16), "BI", 4, PLANES).dtype == torch.float32
    )
    raw = torch.zeros(1, raw_channels("RAW", 2), 2, 2, dtype=torch.bfloat16)
    assert (
        texture_layers(raw, "RAW", torch.zeros(1, 3, 2, 2), torch.zeros(1, 2, 3, 2, 2)).dtype == torch.float32
    )


def test_inverse_bounded_depth_is_linear_in_inverse_depth() -> None:
    logits = torch.tensor([-30.0, 0.0, 30.0]).view(1, 3, 1, 1)
    depth = layered_depth(logits, "BI-inverse", 3, PLANES).flatten()
    torch.testing.assert_close(
        depth, torch.tensor([100.0, 1 / (0.5 * (1 / 100 + 1)), 1.0]), atol=1e-3, rtol=0
    )
    assert logit_channels("BI-inverse", 3, 8) == 3


@pytest.mark.parametrize("scheme", ["BI", "BI-inverse"])
def test_logits_of_a_bounded_depth(scheme: DepthScheme) -> None:
    sought = torch.tensor([90.0, 50.0, 10.0, 2.0])
    found = layered_depth(bounded_logits(sought, scheme, PLANES).view(1, 4, 1, 1), scheme, 4, PLANES)
    torch.testing.assert_close(found.flatten(), sought, rtol=1e-4, atol=0)


@pytest.mark.parametrize("scheme", ["BI", "BI-inverse"])
def test_a_layer_moves_away_as_its_logit_grows(scheme: DepthScheme) -> None:
    depth = layered_depth(torch.arange(-4.0, 5.0).view(1, 9, 1, 1), scheme, 9, PLANES, sort=False)
    assert (depth.diff(dim=1) > 0).all()


@pytest.mark.parametrize("scheme", ["RSBg", "RBg", "RAW"])
def test_softmax_alphas_show_as_much_of_each_layer_as_its_share(scheme: Texturing) -> None:
    torch.manual_seed(0)
    raw = 3 * torch.randn(2, raw_channels(scheme, 4), 3, 5)
    reference, side = torch.rand(2, 3, 3, 5), torch.rand(2, 4, 3, 3, 5)
    rgba = texture_layers(raw, scheme, reference, side, "softmax")
    plain = texture_layers(raw, scheme, reference, side)
    assert torch.equal(rgba[:, :, :3], plain[:, :, :3])
    shares = plain[:, :, 3].logit().softmax(dim=1)
    nearest_first = rgba.flip(1).movedim(1, -1)  # [B, 4, H, W, L]
    exists = torch.ones_like(nearest_first[:, 3], dtype=torch.bool)
    composed = compose_fragments(nearest_first[:, :3].movedim(1, -1), nearest_first[:, 3], exists, False)
    torch.testing.assert_close(composed.weights.flip(-1).movedim(-1, 1), shares, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rgba[:, 0, 3], torch.ones(2, 3, 5))


def test_softmax_alphas_stay_finite_where_all_of_the_share_is_in_front() -> None:
    raw = torch.zeros(1, raw_channels("RAW", 3), 1, 1)
    raw[0, 3::4, 0, 0] = torch.tensor([-500.0, -600.0, 500.0])
    raw.requires_grad_()
    alphas = texture_layers(raw, "RAW", torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 3, 1, 1), "softmax")[
        :, :, 3
    ]
    alphas.sum().backward()
    assert alphas.flatten().tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert raw.grad is not None and raw.grad.isfinite().all()
