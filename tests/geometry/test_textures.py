import torch
from torch.nn import functional as F

from repsynth.geometry.textures import sample_textures


def places(count: int) -> torch.Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.4 - 0.2


def test_each_place_reads_its_own_texture_as_grid_sample_does() -> None:
    textures = torch.rand(3, 4, 5, 7, dtype=torch.float64)
    index, where = torch.randint(3, (200,)), places(200)
    found = sample_textures(textures, index, where)
    expected = F.grid_sample(
        textures[index], (2 * where - 1)[:, None, None], padding_mode="border", align_corners=False
    )
    torch.testing.assert_close(found, expected[..., 0, 0])


def test_centres_of_texels_are_read_exactly_and_a_single_texel_fills_its_texture() -> None:
    texture = torch.rand(1, 2, 3, 4)
    where = torch.tensor([[(c + 0.5) / 4, (r + 0.5) / 3] for r in range(3) for c in range(4)])
    zero = torch.zeros(12, dtype=torch.long)
    torch.testing.assert_close(sample_textures(texture, zero, where), texture[0].flatten(1).T)
    lone = sample_textures(texture[..., :1, :1], zero, where)
    assert torch.equal(lone, texture[0, :, 0, 0].expand(12, 2))


def test_gradients_into_textures_and_places() -> None:
    textures = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    where = places(30).requires_grad_()
    index = torch.arange(30) % 2
    assert torch.autograd.gradcheck(
        lambda t, w: sample_textures(t, index, w), (textures, where), eps=1e-7, atol=1e-5
    )
