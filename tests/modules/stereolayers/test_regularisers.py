import math

import pytest
import torch
from torch import Tensor

from repsynth.modules.stereolayers.options import Regularisation
from repsynth.modules.stereolayers.regularisers import opacity_excess, weight_entropy


def alphas(*values: float) -> Tensor:
    """One texel, back to front."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("values", "excess"), [((1, 1, 0.5), 0.5), ((0.9, 0.9, 0.2), 0.0), ((1, 1, 1, 1), 2.0)]
)
def test_opacities_above_two_cost_their_excess(values: tuple[float, ...], excess: float) -> None:
    assert opacity_excess(alphas(*values)).item() == pytest.approx(excess)


def test_the_excess_is_a_mean_over_texels() -> None:
    both = torch.cat((alphas(1, 1, 1), alphas(0, 0, 0)), dim=3)
    assert opacity_excess(both).item() == pytest.approx(0.5)
    assert opacity_excess(both, allowed=0.0).item() == pytest.approx(1.5)


def test_entropy_of_the_weights_by_hand() -> None:
    """Front layer half, middle half of the rest, and the farthest is opaque whatever its alpha."""
    expected = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert weight_entropy(alphas(0.1, 0.5, 0.5)).item() == pytest.approx(expected, rel=1e-4)


def test_entropy_is_none_where_one_layer_is_seen_and_largest_for_equal_shares() -> None:
    for seen in [(0.3, 0.0, 1.0), (0.3, 1.0, 0.0), (0.3, 0.0, 0.0)]:
        assert weight_entropy(alphas(*seen)).item() == pytest.approx(0, abs=1e-4)
    assert weight_entropy(alphas(0.5, 0.5, 1 / 3)).item() == pytest.approx(math.log(3), rel=1e-4)


def test_gradients_are_finite_where_alphas_are_certain() -> None:
    certain = alphas(1.0, 0.0, 1.0, 0.0).requires_grad_()
    weight_entropy(certain).backward()
    assert certain.grad is not None and certain.grad.isfinite().all()
    doubtful = alphas(0.2, 0.4, 0.7).requires_grad_()
    assert torch.autograd.gradcheck(weight_entropy, doubtful)


def test_terms_without_weight_are_not_there() -> None:
    assert Regularisation().weights() == {}
    assert Regularisation(opacity=0.5, sparsity=0.0).weights() == {"opacity": 0.5}
    assert Regularisation(sparsity=0.1).weights() == {"sparsity": 0.1}
