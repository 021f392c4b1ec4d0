"""A discriminator that takes over what one of another size has learned."""

from pathlib import Path

import pytest
import torch

from modules.cips.tiny_module import tiny_cips
from repsynth.checkpoints import write_weights
from repsynth.cli.starting_point import load_weights
from repsynth.errors import UserError
from repsynth.modules.cips.discriminator import CIPSDiscriminator
from repsynth.modules.cips.growing import grown


def small_and_large() -> tuple[CIPSDiscriminator, CIPSDiscriminator]:
    torch.manual_seed(0)
    return CIPSDiscriminator(64, first_layers=1, width=16), CIPSDiscriminator(256, first_layers=1, width=16)


@pytest.mark.parametrize("grows", [True, False])
def test_blocks_of_the_same_maps_are_taken_over(grows: bool) -> None:
    small, large = small_and_large()
    source, target = (small, large) if grows else (large, small)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    target.load_state_dict(grown(target, source.state_dict()))
    maps = torch.randn(2, 16, 64, 64)
    shared_of_small, shared_of_large = small.blocks, large.blocks[2:]
    assert torch.equal(shared_of_small(maps), shared_of_large(maps))
    assert torch.equal(target.score.weight, source.score.weight)
    new = [name for name, value in target.state_dict().items() if torch.equal(value, before[name])]
    assert {name.split(".")[0] for name in new if value_is_drawn(name)} == (
        {"first", "first_layers", "blocks"} if grows else {"first", "first_layers"}
    )


def value_is_drawn(name: str) -> bool:
    """Biases begin as zeros everywhere, so that nothing can be said of them."""
    return name.endswith("weight")


def test_a_network_of_the_same_size_is_taken_whole() -> None:
    small, _ = small_and_large()
    torch.manual_seed(1)
    other = CIPSDiscriminator(64, first_layers=1, width=16)
    other.load_state_dict(grown(other, small.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), small.parameters(), strict=True))


def test_a_run_starts_from_a_checkpoint_of_smaller_images(tmp_path: Path) -> None:
    small, large = tiny_cips(), tiny_cips(discriminator={"size": 16})
    with torch.no_grad():
        small.generator.inputs.embedding.add_(1)
        small.discriminator.score.weight.add_(1)
    write_weights(small, tmp_path / "small.ckpt")
    load_weights(large, tmp_path / "small.ckpt")
    assert torch.equal(large.generator.inputs.embedding, small.generator.inputs.embedding)
    assert torch.equal(large.discriminator.score.weight, small.discriminator.score.weight)


def test_another_generator_is_refused(tmp_path: Path) -> None:
    write_weights(tiny_cips({"variant": "residual"}), tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"other.ckpt"):
        load_weights(tiny_cips(), tmp_path / "other.ckpt")
