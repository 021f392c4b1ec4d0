import pytest
import torch

from repsynth.errors import UserError
from repsynth.nn.coloring_network import ColoringNetwork
from repsynth.reference.state import rename_keys
from repsynth.reference.stereolayers import load_coloring_network


def official(network: ColoringNetwork) -> dict[str, torch.Tensor]:
    return {
        key.replace("final_conv.", "final_conv.conv."): value for key, value in network.state_dict().items()
    }


def test_an_official_file_fills_the_network() -> None:
    source, target = ColoringNetwork(15, 19, width=8), ColoringNetwork(15, 19, width=8)
    load_coloring_network(target, official(source))
    x = torch.randn(1, 15, 16, 16)
    torch.testing.assert_close(target(x), source(x), atol=0, rtol=0)


def test_a_file_of_another_width_is_refused_in_one_sentence() -> None:
    with pytest.raises(
        UserError, match=r"does not fit ColoringNetwork: conv1_1\.conv\.weight is \[8, 15, 3, 3\]"
    ):
        load_coloring_network(ColoringNetwork(15, 19, width=16), official(ColoringNetwork(15, 19, width=8)))


def test_missing_and_foreign_tensors_are_counted_and_named() -> None:
    state = official(ColoringNetwork(15, 19, width=8))
    state["discriminator.weight"] = state.pop("conv1_1.conv.bias")
    with pytest.raises(
        UserError, match=r"1 tensors missing \(first: conv1_1\.conv\.bias\), 1 left over \(first: disc"
    ):
        load_coloring_network(ColoringNetwork(15, 19, width=8), state)


def test_renames_are_applied_in_turn() -> None:
    zero = torch.zeros(1)
    assert rename_keys({"a.b": zero}, [(r"^a", "x"), (r"^x\.", "y.")]) == {"y.b": zero}
