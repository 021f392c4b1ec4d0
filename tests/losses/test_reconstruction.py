import numpy as np
import torch
from skimage.transform import resize

from repsynth.losses.reconstruction import l1, l2, masked_mean


def test_unmasked_losses_are_plain_means() -> None:
    p, t = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    assert torch.allclose(l1(p, t), torch.nn.functional.l1_loss(p, t))
    assert torch.allclose(l2(p, t), torch.nn.functional.mse_loss(p, t))


def test_pixels_outside_the_mask_do_not_count() -> None:
    p, t = torch.rand(1, 3, 6, 6), torch.rand(1, 3, 6, 6)
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., :3, :] = 1
    changed = torch.where(mask > 0, p, torch.full_like(p, 9.0))
    assert torch.equal(l1(p, t, mask), l1(changed, t, mask))
    assert torch.allclose(l1(p, t, mask), (p - t)[..., :3, :].abs().mean(), rtol=1e-6)


def test_each_image_weighs_the_same_however_small_its_mask() -> None:
    error = torch.stack([torch.full((1, 4, 4), 1.0), torch.full((1, 4, 4), 3.0)])
    mask = torch.ones(2, 1, 4, 4)
    mask[1] = 0
    mask[1, 0, 0, 0] = 1
    assert torch.allclose(masked_mean(error, mask), torch.tensor(2.0), atol=1e-5)


def test_an_empty_mask_gives_zero_and_finite_gradients() -> None:
    p = torch.rand(1, 3, 4, 4, requires_grad=True)
    loss = l2(p, torch.rand(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert loss.item() == 0
    assert p.grad is not None and p.grad.abs().sum() == 0


def test_a_mask_of_another_size_is_resized_bilinearly() -> None:
    error, mask = torch.rand(1, 1, 8, 12), torch.rand(1, 1, 4, 6)
    large = resize(mask[0, 0].numpy(), (8, 12), order=1, mode="edge", anti_aliasing=False)
    expected = (error[0, 0].numpy() * large).sum() / large.sum()
    np.testing.assert_allclose(masked_mean(error, mask).item(), expected, rtol=1e-5)


def test_half_precision_inputs_are_averaged_in_float32() -> None:
    p, t = torch.full((1, 1, 64, 64), 0.1).bfloat16(), torch.zeros(1, 1, 64, 64)
    loss = l1(p, t)
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, p.float()[0, 0, 0, 0])
