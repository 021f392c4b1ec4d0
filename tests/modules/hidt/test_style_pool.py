from pathlib import Path

import pytest
import torch
from distributed.ranks import rank, run_ranks
from torch import Tensor, distributed, nn

from repsynth.errors import UserError
from repsynth.modules.hidt.losses import style_distribution_loss
from repsynth.modules.hidt.style_pool import StylePool, gathered


def rows(tensor: Tensor) -> list[list[float]]:
    return sorted(tensor.tolist())


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 12])
def test_the_last_styles_are_kept(batch: int) -> None:
    pool, all_styles = StylePool(2, length=5), torch.randn(40, 2)
    for step, styles in enumerate(all_styles.split(batch)):
        before = all_styles[: step * batch][-5:]
        found = pool.with_current(styles)
        assert torch.equal(found[: len(styles)], styles)
        assert rows(found[len(styles) :]) == rows(before)
        pool.remember(styles)


def test_a_batch_longer_than_the_pool_leaves_its_last_styles_in_order() -> None:
    pool, styles = StylePool(2, length=5), torch.randn(14, 2)
    pool.remember(styles[:12])
    pool.remember(styles[12:])
    assert rows(pool.with_current(styles[:0])) == rows(styles[-5:])


def test_only_current_styles_have_a_gradient() -> None:
    pool, styles = StylePool(3, length=8), torch.randn(2, 3, requires_grad=True)
    pool.remember(torch.randn(6, 3, requires_grad=True))
    style_distribution_loss(pool.with_current(styles)).backward()
    assert styles.grad is not None and styles.grad.any()
    pool.remember(styles)
    assert not pool.kept.requires_grad


def test_the_pool_is_part_of_the_checkpoint() -> None:
    first, second = StylePool(2, length=3), StylePool(2, length=3)
    first.remember(torch.randn(4, 2))
    second.load_state_dict(first.state_dict())
    styles = torch.randn(2, 2)
    for pool in (first, second):
        pool.remember(styles)
    assert torch.equal(first.with_current(styles), second.with_current(styles))


def test_a_pool_of_nothing_is_the_batch() -> None:
    pool, styles = StylePool(2, length=0), torch.randn(3, 2)
    pool.remember(styles)
    assert torch.equal(pool.with_current(styles), styles)
    with pytest.raises(UserError, match=r"model\.style_pool_length is -1; expected at least 0"):
        StylePool(2, length=-1)


def test_half_precision_styles_become_float32() -> None:
    pool = StylePool(2)
    pool.remember(torch.ones(1, 2, dtype=torch.bfloat16))
    assert pool.with_current(torch.ones(1, 2, dtype=torch.bfloat16)).dtype == torch.float32


def test_one_process_gathers_its_own() -> None:
    styles = torch.randn(2, 3, requires_grad=True)
    assert gathered(styles) is styles


def _loss(layer: nn.Module, images: Tensor) -> Tensor:
    return style_distribution_loss(torch.cat((gathered(layer(images)), torch.linspace(-1, 1, 12).view(4, 3))))


def _layer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def _of_rank(folder: Path) -> None:
    distributed.init_process_group("gloo", rank=rank(), world_size=2)
    torch.manual_seed(1)
    images = torch.randn(6, 5)
    network = nn.parallel.DistributedDataParallel(_layer())
    loss = _loss(network, images[3 * rank() :][:3])
    loss.backward()
    torch.save((loss.detach(), network.module.weight.grad), folder / f"{rank()}.pt")


def test_two_processes_have_the_loss_and_the_gradient_of_one(tmp_path: Path) -> None:
    run_ranks(2, _of_rank, tmp_path)
    layer = _layer()
    torch.manual_seed(1)
    loss = _loss(layer, torch.randn(6, 5))
    loss.backward()
    for number in range(2):
        found = torch.load(tmp_path / f"{number}.pt")
        torch.testing.assert_close(found, (loss.detach(), layer.weight.grad))
