import math
import sys

import pytest
import torch
from torch import Tensor

from repsynth.errors import UserError
from repsynth.geometry.rasterizers import (
    BackEnd,
    Fragments,
    Interpolation,
    missing_back_end,
    select_rasterizer,
)
from repsynth.geometry.rasterizers import coverage as coverage_module
from repsynth.geometry.rasterizers.nvdiffrast_backend import clip_positions
from repsynth.geometry.rasterizers.pytorch3d_backend import normalised
from repsynth.geometry.rasterizers.rows import gather_rows
from repsynth.geometry.rasterizers.torch_backend import rasterize

SIZE = (13, 17)
INTERPOLATIONS: tuple[Interpolation, ...] = ("affine", "perspective")


def triangles(count: int, batch: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return the vertices [B, 3 count, 3] of separate triangles, some partly outside of the image."""
    rng = torch.Generator().manual_seed(seed)
    places = torch.rand(batch, count * 3, 2, generator=rng, dtype=dtype) * 1.6 - 0.3
    depth = 1 + 4 * torch.rand(batch, count * 3, 1, generator=rng, dtype=dtype)
    return torch.cat([places, depth], dim=-1)


def separate_faces(count: int) -> Tensor:
    return torch.arange(count * 3).view(count, 3)


def ray_by_ray(
    vertices: Tensor, faces: Tensor, row: int, column: int, perspective: bool
) -> list[tuple[float, int, list[float]]]:
    """Solve for (depth, face, barycentrics) of the faces over a pixel's centre, nearest first."""
    x, y = (column + 0.5) / SIZE[1], (row + 0.5) / SIZE[0]
    found = []
    for index, face in enumerate(faces.tolist()):
        corners = vertices[face]
        system = torch.stack([corners[:, 0], corners[:, 1], torch.ones(3, dtype=torch.float64)])
        weights = torch.linalg.solve(system, torch.tensor([x, y, 1.0], dtype=torch.float64))
        if bool((weights >= 0).all()):
            if perspective:
                weights = weights / corners[:, 2]
                weights = weights / weights.sum()
            found.append((float(weights @ corners[:, 2]), index, weights.tolist()))
    return sorted(found)


@pytest.mark.parametrize("fragments", [1, 3, 16])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_equals_solving_every_pixel_and_face(interpolation: Interpolation, fragments: int) -> None:
    vertices, faces = triangles(12), separate_faces(12)
    found = rasterize(vertices, faces, SIZE, fragments=fragments, interpolation=interpolation)
    seen = 0
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            expected = ray_by_ray(vertices[0], faces, row, column, interpolation == "perspective")[:fragments]
            shown = [face for face in found.face[0, row, column].tolist() if face >= 0]
            assert shown == [face for _, face, _ in expected]
            for slot, (depth, _, weights) in enumerate(expected):
                assert float(found.depth[0, row, column, slot]) == pytest.approx(depth, abs=1e-9)
                assert found.barycentrics[0, row, column, slot].tolist() == pytest.approx(weights, abs=1e-9)
                seen += 1
    assert seen > 100


def grid_mesh(side: int, jitter: float, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Return a mesh over the whole image and beyond whose inner vertices are moved at random."""
    from repsynth.geometry.layers import layer_faces

    line = torch.linspace(-0.1, 1.1, side)
    v, u = torch.meshgrid(line, line, indexing="ij")
    places = torch.stack([u, v], -1).flatten(0, 1).repeat(batch, 1, 1)
    places = places + jitter * (torch.rand(places.shape, generator=torch.Generator().manual_seed(3)) - 0.5)
    return torch.cat([places, 1 + 0.5 * places[..., :1]], -1), layer_faces(1, side, side)


@pytest.mark.parametrize("side", [5, 40, 90])
def test_a_closed_surface_covers_every_pixel_exactly_once(side: int) -> None:
    vertices, faces = grid_mesh(side, jitter=0.4 / side)
    found = rasterize(vertices, faces, (31, 57), fragments=4)
    assert found.face.shape[-1] == 1 or bool((found.face[..., 1:] < 0).all())
    assert bool((found.face[..., 0] >= 0).all())


def test_vertices_and_edges_on_pixel_centres_count_once_also_at_the_border() -> None:
    from repsynth.geometry.grids import pixel_grid
    from repsynth.geometry.layers import layer_faces

    height, width = 6, 9
    places = pixel_grid(height, width, "centre").flatten(0, 1)
    for slope in (0.0, 0.7):
        vertices = torch.cat([places, 2 + slope * places[:, :1]], -1)[None]
        found = rasterize(vertices, layer_faces(1, height, width), (height, width), fragments=16)
        assert torch.equal((found.face >= 0).sum(-1), torch.ones(1, height, width, dtype=torch.long))
        torch.testing.assert_close(found.depth[0, ..., 0].flatten(), vertices[0, :, 2])


def test_small_chunks_give_the_same_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = triangles(30, batch=2), separate_faces(30)
    expected = rasterize(vertices, faces, SIZE, fragments=5)
    monkeypatch.setattr(coverage_module, "FACES_AT_ONCE", 7)
    monkeypatch.setattr(coverage_module, "CANDIDATES_AT_ONCE", 50)
    found = rasterize(vertices, faces, SIZE, fragments=5)
    assert_same(found, expected, exact=True)


def assert_same(found: Fragments, expected: Fragments, exact: bool = False) -> None:
    assert torch.equal(found.face, expected.face)
    tolerance = 0.0 if exact else 1e-5
    torch.testing.assert_close(found.depth, expected.depth, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(found.barycentrics, expected.barycentrics, atol=tolerance, rtol=tolerance)


def test_a_batch_equals_its_items() -> None:
    vertices, faces = triangles(20, batch=3), separate_faces(20)
    together = rasterize(vertices, faces, SIZE)
    for item in range(3):
        alone = rasterize(vertices[item : item + 1], faces, SIZE)
        assert torch.equal(together.face[item], alone.face[0])
        assert torch.equal(together.depth[item], alone.depth[0])


def test_faces_can_be_left_out_and_clipped_by_depth() -> None:
    vertices, faces = triangles(20, batch=2), separate_faces(20)
    drawn = torch.rand(2, 20, generator=torch.Generator().manual_seed(1)) > 0.5
    every = rasterize(vertices, faces, SIZE, fragments=16)
    some = rasterize(vertices, faces, SIZE, fragments=16, drawn=drawn, far=3.0)
    for item in range(2):
        wanted = (every.face[item] >= 0) & drawn[item][every.face[item]] & (every.depth[item] <= 3.0)
        assert torch.equal(wanted.sum(-1), (some.face[item] >= 0).sum(-1))
        assert every.depth[item][wanted].sum() == pytest.approx(float(some.depth[item].sum()))
        assert bool(drawn[item][some.face[item][some.face[item] >= 0]].all())


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_gradients_agree_with_finite_differences(interpolation: Interpolation) -> None:
    vertices, faces = triangles(4, batch=2, seed=5).requires_grad_(), separate_faces(4)

    def outputs(moved: Tensor) -> tuple[Tensor, Tensor]:
        found = rasterize(moved, faces, (5, 6), fragments=3, interpolation=interpolation)
        return found.barycentrics, found.depth

    assert rasterize(vertices, faces, (5, 6)).face.max() >= 0
    assert torch.autograd.gradcheck(outputs, (vertices,), eps=1e-7, atol=1e-4)


def test_affine_barycentrics_give_depth_no_gradient() -> None:
    vertices = triangles(3).requires_grad_()
    rasterize(
        vertices, separate_faces(3), SIZE, interpolation="affine"
    ).barycentrics.square().sum().backward()
    assert vertices.grad is not None
    assert float(vertices.grad[..., 2].abs().max()) == 0
    assert float(vertices.grad[..., :2].abs().max()) > 0


def test_gathering_rows_is_differentiable_twice() -> None:
    table = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[0, 4, 4], [1, 0, 4]])
    assert torch.equal(gather_rows(table, index), table[index])
    assert torch.autograd.gradcheck(lambda t: gather_rows(t, index), (table,))
    assert torch.autograd.gradgradcheck(lambda t: gather_rows(t, index) ** 2, (table,))


def test_broken_and_degenerate_faces_are_ignored() -> None:
    vertices, faces = triangles(8), separate_faces(8)
    expected = rasterize(vertices, faces[:4], SIZE, fragments=4)
    broken = vertices.clone()
    broken[0, 12] = math.nan
    broken[0, 15, 0] = math.inf
    broken[0, 18:21] = broken[0, 18]
    broken[0, 21:24, :2] += 50
    assert_same(rasterize(broken, faces, SIZE, fragments=4), expected, exact=True)
    nothing = rasterize(vertices + 50, faces, SIZE, fragments=4)
    assert nothing.face.shape == (1, *SIZE, 1)
    assert bool((nothing.face == -1).all())


def test_float32_under_autocast() -> None:
    vertices, faces = grid_mesh(20, jitter=0.01)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rasterize(vertices, faces, SIZE)
    assert found.depth.dtype == torch.float32
    assert_same(found, rasterize(vertices, faces, SIZE), exact=True)


@pytest.mark.parametrize("name", ["pytorch3d", "nvdiffrast"])
def test_optional_back_ends_see_what_ours_sees(name: BackEnd) -> None:
    missing = missing_back_end(name)
    if missing:
        pytest.skip(missing)
    device = "cuda" if name == "nvdiffrast" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("nvdiffrast needs a CUDA device")
    vertices, faces = grid_mesh(20, jitter=0.01, batch=2)
    for interpolation in INTERPOLATIONS:
        ours = rasterize(vertices, faces, (32, 40), interpolation=interpolation)
        theirs = select_rasterizer(name)(
            vertices.to(device), faces.to(device), (32, 40), interpolation=interpolation
        )
        same = theirs.face.cpu() == ours.face
        assert float(same.double().mean()) > 0.98
        torch.testing.assert_close(theirs.depth.cpu()[same], ours.depth[same], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["pytorch3d", "nvdiffrast"])
def test_a_missing_back_end_is_told_with_its_installation(
    name: BackEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("repsynth.geometry.rasterizers.interface.find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=f"rasteriser {name} is not installed: choose .*torch.*pip install .*{name}"
    ):
        select_rasterizer(name)


def test_an_unknown_back_end_is_told_the_known_ones() -> None:
    with pytest.raises(UserError, match="'opengl' is unknown; expected one of torch, pytorch3d, nvdiffrast"):
        select_rasterizer("opengl")  # type: ignore[arg-type]
    assert select_rasterizer() is rasterize


def test_screen_coordinates_of_the_optional_back_ends() -> None:
    # pytorch3d: +x left, +y up, the shorter side spans [-1, 1].
    corners = torch.tensor([[[0.0, 0.0, 2.0], [1.0, 1.0, 3.0]]])
    torch.testing.assert_close(
        normalised(corners, (10, 20)), torch.tensor([[[2.0, 1.0, 2.0], [-2.0, -1.0, 3.0]]])
    )
    # nvdiffrast: division by w gives y down, and depth in [-1, 1] in the order of depth.
    for perspective in (False, True):
        clip = clip_positions(torch.tensor([[[0.25, 0.5, z] for z in (1.0, 2.0, 7.0)]]), perspective, None)[0]
        screen = clip[:, :3] / clip[:, 3:]
        torch.testing.assert_close(screen[:, :2], torch.tensor([[-0.5, 0.0]]).expand(3, 2))
        assert bool((screen[:, 2].diff() > 0).all())
        assert float(screen[:, 2].abs().max()) <= 1
        beyond = clip_positions(torch.tensor([[[0.5, 0.5, 1.0], [0.5, 0.5, 5.0]]]), perspective, 4.0)[0]
        assert float(beyond[1, 2] / beyond[1, 3]) > 1
