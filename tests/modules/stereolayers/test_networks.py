import pytest
import torch

from repsynth.errors import UserError
from repsynth.modules.stereolayers.geometry_network import GeometryNetwork
from repsynth.nn.coloring_network import ColoringNetwork


@pytest.mark.parametrize(("levels", "size"), [(0, (32, 64)), (1, (64, 64)), (2, (128, 128))])
def test_geometry_network_keeps_the_size(levels: int, size: tuple[int, int]) -> None:
    network = GeometryNetwork(9, 5, width=4, levels=levels)
    assert network(torch.randn(1, 9, *size)).shape == (1, 5, *size)


def test_released_sizes() -> None:
    def parameters(network: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    assert parameters(GeometryNetwork(99, 4)) == 9_846_020  # measured on the official networks
    assert parameters(ColoringNetwork(15, 19)) == 18_582_483


def test_geometry_network_names_the_multiple_it_needs() -> None:
    with pytest.raises(
        UserError, match=r"levels=3 needs image sides that are multiples of 256, but gets 200x256"
    ):
        GeometryNetwork(9, 4, width=4)(torch.zeros(1, 9, 200, 256))


def test_coloring_network_names_the_multiple_it_needs() -> None:
    with pytest.raises(UserError, match=r"multiples of 8, but gets 20x16"):
        ColoringNetwork(15, 19, width=4)(torch.zeros(1, 15, 20, 16))


def test_spectral_norm_bounds_the_weight_and_rests_in_evaluation() -> None:
    network = GeometryNetwork(9, 4, width=4, levels=0)
    for _ in range(500):  # every access in training is one step of the power iteration
        network.conv1.conv.weight  # noqa: B018
    network.eval()
    norms = network.conv1.conv.parametrizations.weight[0]
    before = norms._u.clone()
    largest = torch.linalg.svdvals(network.conv1.conv.weight.detach().flatten(1))[0]
    assert largest == pytest.approx(1.0, abs=0.02)
    network(torch.randn(1, 9, 32, 32))
    torch.testing.assert_close(norms._u, before, atol=0, rtol=0)


def test_power_iteration_stays_in_float32_under_autocast() -> None:
    network = GeometryNetwork(9, 4, width=4, levels=0)
    twin = GeometryNetwork(9, 4, width=4, levels=0)
    twin.load_state_dict(network.state_dict())
    x = torch.randn(1, 9, 32, 32)
    network(x)
    with torch.autocast("cpu", torch.bfloat16):
        twin(x)
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(dict(twin.named_buffers())[name], buffer, atol=0, rtol=0)
