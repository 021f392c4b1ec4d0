import math

import pytest
import torch

from repsynth.losses.geometry import layered_depth_variation, order_hinge


def brute_force_variation(depth: torch.Tensor) -> float:
    squares = 0.0
    batch, layers, height, width = depth.shape
    for b in range(batch):
        for layer in range(layers):
            for i in range(height):
                for j in range(width):
                    here = depth[b, layer, i, j].item()
                    squares += (depth[b, layer, i, j + 1].item() - here) ** 2 if j + 1 < width else 0
                    squares += (depth[b, layer, i + 1, j].item() - here) ** 2 if i + 1 < height else 0
    return math.sqrt(squares + 1e-6) / depth.numel()


def test_variation_agrees_with_brute_force() -> None:
    depth = torch.rand(2, 3, 4, 5) * 10
    assert layered_depth_variation(depth).item() == pytest.approx(brute_force_variation(depth), rel=1e-5)


def test_variation_per_item_does_not_depend_on_the_batch() -> None:
    depth = torch.rand(3, 2, 4, 5)
    alone = torch.stack([layered_depth_variation(item[None]) for item in depth]).mean()
    assert torch.allclose(layered_depth_variation(depth, per_item=True), alone)
    assert not torch.allclose(layered_depth_variation(depth), alone, rtol=0.1)


def test_variation_of_constant_depth_has_finite_gradients() -> None:
    depth = torch.full((1, 2, 4, 4), 7.0, requires_grad=True)
    layered_depth_variation(depth).backward()
    assert depth.grad is not None and torch.isfinite(depth.grad).all()


def test_ordered_layers_cost_nothing() -> None:
    depth = torch.tensor([9.0, 5.0, 5.0, 2.0]).view(1, 4, 1, 1).expand(2, 4, 3, 3)
    assert order_hinge(depth).item() == 0


@pytest.mark.parametrize(("power", "cost"), [(1, 5.0), (2, 13.0)])
def test_hinge_sums_the_pairs_and_averages_pixels_and_batch(power: int, cost: float) -> None:
    # Back to front 5, 7, 10: both pairs are in the wrong order, by 2 and by 3.
    wrong = torch.tensor([5.0, 7.0, 10.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    right = wrong.flip(1)
    assert order_hinge(wrong, power).item() == cost
    assert order_hinge(torch.cat([wrong, right]), power).item() == cost / 2


def test_a_single_layer_has_no_order() -> None:
    assert order_hinge(torch.rand(2, 1, 3, 3)).item() == 0
