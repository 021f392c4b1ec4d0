from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from repsynth.nn.recomputation import in_parts


class Counted:
    """A product and a shift per point, with the sizes of the parts that it was asked for."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, shared: Sequence[Tensor], per_point: Sequence[Tensor]) -> Tensor:
        self.sizes.append(per_point[0].shape[-1])
        return torch.tanh(shared[0] @ per_point[0]) * per_point[1]


def tensors() -> tuple[list[Tensor], list[Tensor]]:
    rng = torch.Generator().manual_seed(0)
    weight, x, shift = (
        torch.randn(*shape, generator=rng, dtype=torch.float64, requires_grad=True)
        for shape in ((3, 4), (4, 10), (3, 10))
    )
    return [weight], [x, shift]


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_parts_equal_the_whole_with_gradients(size: int) -> None:
    work, (shared, per_point) = Counted(), tensors()
    expected = work(shared, per_point)
    wanted = torch.autograd.grad(expected.pow(3).sum(), [*shared, *per_point])
    work.sizes.clear()
    found = in_parts(work, shared, per_point, size)
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad(found.pow(3).sum(), [*shared, *per_point])
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other)
    assert len(work.sizes) == 2 * -(-10 // size)  # forward, and again on the way back
    assert max(work.sizes) == size


def test_only_what_needs_a_gradient_gets_one() -> None:
    shared, (x, shift) = tensors()
    x = x.detach()
    in_parts(Counted(), shared, [x, shift], 4).sum().backward()
    assert shared[0].grad is not None and shift.grad is not None and x.grad is None


def test_everything_at_once_is_not_computed_again() -> None:
    work, (shared, per_point) = Counted(), tensors()
    in_parts(work, shared, per_point, 10).sum().backward()
    assert work.sizes == [10]


def test_without_gradients_parts_are_written_into_one_tensor() -> None:
    work, (shared, per_point) = Counted(), tensors()
    with torch.no_grad():
        found = in_parts(work, shared, per_point, 4)
    torch.testing.assert_close(found, Counted()(shared, per_point).detach())
    assert work.sizes == [4, 4, 2]


def test_nothing_but_the_arguments_is_kept() -> None:
    kept: list[torch.Size] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape)
        return tensor

    shared, per_point = tensors()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        in_parts(Counted(), shared, per_point, 4)
    assert kept == [t.shape for t in (*shared, *per_point)]


def test_a_second_derivative_is_refused() -> None:
    shared, per_point = tensors()
    (gradient,) = torch.autograd.grad(
        in_parts(Counted(), shared, per_point, 4).pow(2).sum(), shared, create_graph=True
    )
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()
