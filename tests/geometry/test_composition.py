import pytest
import torch

from repsynth.geometry.composition import EPSILON, Background, compose_fragments, compose_over, compose_planes


def by_hand(values: list[float], alphas: list[float]) -> tuple[float, float]:
    composed, passed = 0.0, 1.0
    for value, alpha in zip(values, alphas, strict=True):
        composed += alpha * passed * value
        passed *= 1 - alpha + EPSILON
    return composed, 1 - passed


def test_over_is_the_sum_written_out() -> None:
    values, alphas = torch.rand(4, 3, 6, dtype=torch.float64), torch.rand(4, 1, 6, dtype=torch.float64)
    composed = compose_over(values, alphas, dim=0)
    for channel in range(3):
        for ray in range(6):
            expected = by_hand(values[:, channel, ray].tolist(), alphas[:, 0, ray].tolist())
            assert float(composed.values[channel, ray]) == pytest.approx(expected[0], abs=1e-12)
            assert float(composed.opacity[0, ray]) == pytest.approx(expected[1], abs=1e-12)


@pytest.mark.parametrize(
    ("background", "behind"), [("masked", [0.0, 1.0]), ("opaque", [1.0, 1.0]), ("black", [0.0, 0.2])]
)
def test_backgrounds_of_planes(background: Background, behind: list[float]) -> None:
    # Two rays: one that meets nothing, one with alphas 0.2 and 1.4 (clamped to 1) from back to front.
    alphas = torch.tensor([[0.0, 0.2], [0.0, 1.4]], dtype=torch.float64)
    values = torch.tensor([[3.0, 3.0], [5.0, 5.0]], dtype=torch.float64)
    planes = torch.stack([values, alphas], dim=1)[None, ..., None]
    composed = compose_planes(planes, background)
    for ray, far_alpha in enumerate(behind):
        expected = by_hand([5.0, 3.0], [min(float(alphas[1, ray]), 1.0), far_alpha])
        assert float(composed.values[0, 0, ray]) == pytest.approx(expected[0], abs=1e-12)
        assert float(composed.opacity[0, 0, ray]) == pytest.approx(expected[1], abs=1e-12)
        assert float(composed.weights[0, 1, 0, ray]) == pytest.approx(min(float(alphas[1, ray]), 1.0))


def test_last_existing_fragment_is_opaque_and_missing_ones_are_nothing() -> None:
    values = torch.tensor([[1.0, 2.0, 9.0], [9.0, 9.0, 9.0]])[..., None]
    alphas = torch.tensor([[0.5, 0.25, 0.7], [0.7, 0.7, 0.7]])
    exists = torch.tensor([[True, True, False], [False, False, False]])
    composed = compose_fragments(values, alphas, exists)
    assert float(composed.values[0, 0]) == pytest.approx(0.5 * 1 + 0.5 * 2, abs=1e-5)
    assert float(composed.opacity[0]) == pytest.approx(1.0, abs=1e-5)
    assert composed.values[1].tolist() == [0.0]
    assert float(composed.opacity[1]) == pytest.approx(-3 * EPSILON, rel=0.1)
    translucent = compose_fragments(values, alphas, exists, farthest_opaque=False)
    assert float(translucent.opacity[0]) == pytest.approx(1 - 0.5 * 0.75, abs=1e-5)


def test_composition_is_float32_under_autocast() -> None:
    planes = torch.rand(1, 3, 4, 2, 2).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        composed = compose_planes(planes)
    assert composed.values.dtype == torch.float32
    torch.testing.assert_close(composed.values, compose_planes(planes.float()).values)
