import math

import pytest
import torch
from torch import Tensor

from repsynth.modules.cips.coordinates import (
    extrapolated,
    on_cylinder,
    panorama_coordinates,
    pixel_coordinates,
)
from repsynth.modules.cips.inputs import EmbeddingRule, InputFeatures

SIZE = 6


def inputs(rule: EmbeddingRule = "released", surface: str = "plane") -> InputFeatures:
    torch.manual_seed(0)
    return InputFeatures(5, SIZE, surface, rule)  # type: ignore[arg-type]


def looked_up(features: InputFeatures, coordinates: Tensor) -> Tensor:
    """The embedding [N, h] at points [N, K]."""
    with torch.no_grad():
        return features.look_up(features.grid(), coordinates.T[None])[0].T


def brute_force(grid: Tensor, columns: Tensor, rows: Tensor, wraps: bool = False) -> Tensor:
    """Blend the four cells [h, S, S] around positions in cells, one position after the other."""
    size, found = grid.shape[-1], []
    for column, row in zip(columns.tolist(), rows.tolist(), strict=True):
        row = min(max(row, 0.0), size - 1.0)
        column = column if wraps else min(max(column, 0.0), size - 1.0)
        left, top = math.floor(column), math.floor(row)
        value = torch.zeros(grid.shape[0])
        for x, across in ((left, left + 1 - column), (left + 1, column - left)):
            for y, down in ((top, top + 1 - row), (top + 1, row - top)):
                cell = grid[:, min(y, size - 1), x % size if wraps else min(x, size - 1)]
                value += across * down * cell
        found.append(value)
    return torch.stack(found)


@pytest.mark.parametrize("rule", ["released", "centres"])
def test_the_released_look_up_has_cell_centres(rule: EmbeddingRule) -> None:
    features = inputs(rule)
    points = torch.rand(60, 2) * 2.4 - 1.2  # some outside
    position = ((points + 1) * SIZE - 1) / 2
    expected = brute_force(features.embedding.detach(), position[:, 0], position[:, 1])
    torch.testing.assert_close(looked_up(features, points), expected, atol=1e-5, rtol=0)


def test_the_aligned_look_up_meets_the_cells_at_the_pixels() -> None:
    features = inputs("aligned")
    points = torch.rand(60, 2) * 2.4 - 1.2
    position = (points + 1) / 2 * (SIZE - 1)
    expected = brute_force(features.embedding.detach(), position[:, 0], position[:, 1])
    torch.testing.assert_close(looked_up(features, points), expected, atol=1e-5, rtol=0)
    on_grid = looked_up(features, pixel_coordinates(SIZE, SIZE).flatten(0, 1))
    torch.testing.assert_close(on_grid, features.cells()[0].T, atol=1e-5, rtol=0)


def test_cells_are_in_the_order_of_the_pixels() -> None:
    features = inputs()
    cell = features.cells()[0, :, 2 * SIZE + 5]
    torch.testing.assert_close(cell, features.embedding[:, 2, 5])


@pytest.mark.parametrize(
    ("rule", "training", "evaluation"),
    [("released", True, False), ("centres", False, False), ("aligned", True, True)],
)
def test_who_reads_the_cells_themselves(rule: EmbeddingRule, training: bool, evaluation: bool) -> None:
    features = inputs(rule)
    assert features.train().reads_cells(True) is training
    assert features.eval().reads_cells(True) is evaluation
    assert not features.train().reads_cells(False)  # a patch never does, whatever its shape
    assert not inputs(rule, "cylinder").train().reads_cells(True)


@pytest.mark.parametrize("rule", ["released", "aligned"])
def test_a_cylinder_wraps_around(rule: EmbeddingRule) -> None:
    features = inputs(rule, "cylinder")
    angle, y = torch.rand(80) * 4 * math.pi - 2 * math.pi, torch.rand(80) * 2.4 - 1.2
    found = looked_up(features, on_cylinder(torch.stack((angle, y), dim=-1)))
    column = (angle / (2 * math.pi) * SIZE) % SIZE
    row = (y + 1) / 2 * (SIZE - 1) if rule == "aligned" else ((y + 1) * SIZE - 1) / 2
    expected = brute_force(features.embedding.detach(), column, row, wraps=True)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_points_of_several_images_are_looked_up_together() -> None:
    features = inputs()
    points = torch.rand(4, 2, 9) * 2 - 1
    with torch.no_grad():
        together = features.look_up(features.grid(), points)
    for image in range(4):
        torch.testing.assert_close(together[image].T, looked_up(features, points[image].T))


def test_initial_ranges_are_the_official_ones() -> None:
    torch.manual_seed(0)
    flat, round_ = InputFeatures(4000, 4, "plane", "released"), InputFeatures(4000, 4, "cylinder", "released")
    assert flat.weight.abs().max().item() == pytest.approx(math.sqrt(4.5), rel=1e-3)
    assert flat.weight.std().item() == pytest.approx(math.sqrt(4.5 / 3), rel=0.03)
    assert flat.bias.abs().max().item() == pytest.approx(0.5**0.5, rel=1e-2)
    assert round_.weight.shape == (4000, 3)


def test_pixels_run_right_and_down_with_both_ends_included() -> None:
    grid = pixel_coordinates(3, 5)
    assert grid.shape == (3, 5, 2)
    assert grid[0, :, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert grid[:, 0, 1].tolist() == [-1, 0, 1]
    window = pixel_coordinates(2, 2, (0.0, -0.5, 0.5, 0.25))
    assert window.flatten(0, 1).tolist() == [[0, -0.5], [0.5, -0.5], [0, 0.25], [0.5, 0.25]]
    assert pixel_coordinates(1, 1).tolist() == [[[0, 0]]]


def test_a_panorama_s_columns_divide_the_turn() -> None:
    grid = panorama_coordinates(2, 4)
    expected = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    torch.testing.assert_close(grid[0, :, :2], torch.tensor(expected, dtype=torch.float32), atol=1e-6, rtol=0)
    assert grid[:, 0, 2].tolist() == [-1, 1]
    half = panorama_coordinates(2, 4, turn=0.5, start=math.pi)
    torch.testing.assert_close(half[0, 2, :2], torch.tensor([0.0, -1.0]), atol=1e-6, rtol=0)


def test_places_without_training_pixels_are_told() -> None:
    points = torch.tensor([[0.0, 1.0], [1.01, 0.0], [0.0, -2.0]])
    assert extrapolated(points).tolist() == [False, True, True]
    assert extrapolated(on_cylinder(points * 100)).tolist() == [True, False, True]
