import torch

from repsynth.modules.stereomag.texturing import raw_channels, texture_planes

REFERENCE, SWEEP = torch.rand(1, 3, 2, 2), torch.rand(1, 3, 3, 2, 2)


def test_rbg_has_weights_then_alphas_then_the_background_all_through_tanh() -> None:
    raw = torch.zeros(1, raw_channels("RBg", 3), 2, 2)
    assert raw.shape[1] == 9
    raw[:, 0], raw[:, 1], raw[:, 2] = 50.0, -50.0, torch.tensor(0.2).atanh()
    raw[:, 3], raw[:, 4], raw[:, 5] = 50.0, -50.0, torch.tensor(0.5).atanh()
    raw[:, 6:] = torch.tensor([-0.3, 0.1, 0.7]).atanh().view(3, 1, 1)
    rgba = texture_planes(raw, "RBg", REFERENCE, SWEEP)
    background = torch.tensor([-0.3, 0.1, 0.7]).view(3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(rgba[:, 0, :3], REFERENCE)
    torch.testing.assert_close(rgba[:, 1, :3], background)
    torch.testing.assert_close(rgba[:, 2, :3], 0.6 * REFERENCE + 0.4 * background)
    torch.testing.assert_close(rgba[0, :, 3, 0, 0], torch.tensor([1.0, 0.0, 0.75]))


def test_rsbg_has_the_background_and_then_four_outputs_for_each_plane() -> None:
    raw = torch.zeros(1, raw_channels("RSBg", 3), 2, 2)
    assert raw.shape[1] == 15
    raw[:, :3] = 0.5
    raw[:, 3 + 0], raw[:, 3 + 4 + 1], raw[:, 3 + 8 + 2] = 50.0, 50.0, 50.0
    raw[:, 3 + 3], raw[:, 3 + 7] = 50.0, -50.0
    rgba = texture_planes(raw, "RSBg", REFERENCE, SWEEP)
    torch.testing.assert_close(rgba[:, 0, :3], REFERENCE)
    torch.testing.assert_close(rgba[:, 1, :3], torch.full_like(REFERENCE, 0.5).tanh())
    torch.testing.assert_close(rgba[:, 2, :3], SWEEP[:, 2])
    torch.testing.assert_close(rgba[0, :, 3, 0, 0], torch.tensor([1.0, 0.0, 0.5]))


def test_heads_compute_in_float32_from_half_precision() -> None:
    for scheme in ("RBg", "RSBg"):
        raw = torch.zeros(1, raw_channels(scheme, 3), 2, 2, dtype=torch.bfloat16)
        assert texture_planes(raw, scheme, REFERENCE, SWEEP).dtype == torch.float32
