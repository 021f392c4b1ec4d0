import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates, maximum_filter, minimum_filter

from repsynth.datamodules.synthetic import scenes
from repsynth.datamodules.synthetic.renderer import render
from repsynth.datamodules.synthetic.scenes import Piece
from repsynth.datamodules.views import camera_centres
from repsynth.geometry.cameras import Cameras


def flat(depth: float, half: float, colour: tuple[float, float, float]) -> Piece:
    """A square in one colour, facing the camera."""
    edges = 2 * half * np.eye(3)[:2]
    return Piece(np.array([-half, -half, depth]), edges, np.full((4, 4, 3), colour, dtype=np.float32))


def moved(x: float = 0.0, z: float = 0.0) -> np.ndarray:
    """World to camera of an unturned camera at (x, 0, z)."""
    pose = np.eye(4)
    pose[:3, 3] = -x, 0, -z
    return pose


def trace_by_hand(pieces: list[Piece], pose: np.ndarray, pixel: np.ndarray) -> tuple[float, np.ndarray]:
    """Depth and colour of one ray, in the world, by normals and least squares."""
    inverse = np.linalg.inv(pose)
    intrinsics = scenes.intrinsics(1.0)
    in_camera = np.array([*(pixel - intrinsics[:2, 2]) / np.diag(intrinsics)[:2], 1.0])
    centre, direction = inverse[:3, 3], inverse[:3, :3] @ in_camera
    best, colour = np.inf, np.zeros(3)
    for piece in pieces:
        normal = np.cross(*piece.edges)
        depth = normal @ (piece.origin - centre) / (normal @ direction)
        place = centre + depth * direction - piece.origin
        (a, b), *_ = np.linalg.lstsq(piece.edges.T, place, rcond=None)
        inside = (a - 0.5) ** 2 + (b - 0.5) ** 2 <= 0.25 if piece.round else 0 <= min(a, b) <= max(a, b) <= 1
        if inside and 0 < depth < best:
            height, width = piece.texture.shape[:2]
            rows, columns = [b * height - 0.5], [a * width - 0.5]
            best = depth
            colour = np.array(
                [
                    map_coordinates(piece.texture[..., c], [rows, columns], order=1, mode="nearest")[0]
                    for c in range(3)
                ]
            )
    return best, colour


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pictures_and_depths_agree_with_rays_traced_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = scenes.random_scene(rng, 16, 1.0, "train")
    pose = scenes.random_path(rng, 3)[2]
    side, samples = 12, 2
    picture = render(pieces, pose[None], scenes.intrinsics(1.0), (side, side), samples)
    centres = (np.arange(side) + 0.5) / side
    depth = [[trace_by_hand(pieces, pose, np.array([u, v]))[0] for u in centres] for v in centres]
    np.testing.assert_allclose(picture.depth[0, 0], depth, rtol=1e-4)
    fine = (np.arange(side * samples) + 0.5) / (side * samples)
    colours = np.array([[trace_by_hand(pieces, pose, np.array([u, v]))[1] for u in fine] for v in fine])
    expected = colours.reshape(side, samples, side, samples, 3).mean(axis=(1, 3)).transpose(2, 0, 1) * 255
    # Rounded to bytes; a ray within float32 of an edge may fall on its other side.
    wrong = np.abs(picture.images[0] - expected).max(axis=0) > 0.51
    assert wrong.mean() <= 0.01


@pytest.mark.parametrize(("shift", "forward"), [(0.0, 0.0), (0.5, 0.0), (-0.25, 0.4)])
def test_two_planes_in_closed_form(shift: float, forward: float) -> None:
    wall, card = flat(4, 10, (1, 0, 0)), flat(2, 0.5, (0, 0, 1))
    side = 64
    picture = render([wall, card], moved(shift, forward)[None], scenes.intrinsics(1.0), (side, side))
    focal = 0.5 / scenes.HALF_VIEW
    edges = focal * (np.array([-0.5, 0.5]) - shift) / (2 - forward) + 0.5
    heights = focal * np.array([-0.5, 0.5]) / (2 - forward) + 0.5
    centres = (np.arange(side) + 0.5) / side
    across = (centres > edges[0]) & (centres < edges[1])
    down = (centres > heights[0]) & (centres < heights[1])
    expected = np.where(down[:, None] & across, 2 - forward, 4 - forward)
    np.testing.assert_allclose(picture.depth[0, 0], expected, rtol=1e-6)
    # The area of the card is blue to the accuracy of two samples a pixel along each edge.
    blue = picture.images[0, 2].sum() / 255 / side**2
    assert blue == pytest.approx((edges[1] - edges[0]) * (heights[1] - heights[0]), abs=1.5 / side)
    # Half a level is rounded on both sides.
    assert np.abs(picture.images[0, 0].astype(int) + picture.images[0, 2] - 255).max() <= 1


def test_a_nearer_piece_hides_whatever_the_order() -> None:
    pieces = [flat(2, 0.5, (0, 0, 1)), flat(4, 10, (1, 0, 0)), flat(3, 0.6, (0, 1, 0))]
    first = render(pieces, moved()[None], scenes.intrinsics(1.0), (32, 32))
    second = render(pieces[::-1], moved()[None], scenes.intrinsics(1.0), (32, 32))
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.depth, second.depth)


def test_what_lies_behind_the_camera_is_not_seen() -> None:
    behind = render([flat(-2, 5, (1, 1, 1))], moved()[None], scenes.intrinsics(1.0), (8, 8))
    assert not behind.images.any() and np.isinf(behind.depth).all()
    # A floor that begins behind the camera: its depth is that of the plane, where it is hit.
    edges = np.array([[20.0, 0, 0], [0, 0, 20.0]])
    floor = Piece(np.array([-10.0, 1, -10]), edges, np.ones((4, 4, 3), dtype=np.float32))
    depth = render([floor], moved()[None], scenes.intrinsics(1.0), (64, 64)).depth[0, 0, :, 32]
    slope = ((np.arange(64) + 0.5) / 64 - 0.5) * 2 * scenes.HALF_VIEW
    expected = np.where(slope > 0.1, 1 / np.maximum(slope, 1e-9), np.inf)
    np.testing.assert_allclose(depth, expected, rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_a_visible_point_has_the_same_colour_in_both_views(seed: int) -> None:
    rng = np.random.default_rng(seed)
    side = 96
    pieces = scenes.random_scene(rng, side // 2, 1.0, "train")
    path = scenes.random_path(rng, 5)[[1, 3]]
    picture = render(pieces, path, scenes.intrinsics(1.0), (side, side))
    cameras = Cameras(torch.tensor(path), torch.tensor(scenes.intrinsics(1.0)).expand(2, 3, 3))
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
    depth = torch.from_numpy(picture.depth[0].reshape(-1)).double()
    target, target_depth = cameras[1].project(cameras[0].lift(pixels, depth))
    inside = ((target > 0) & (target < 1)).all(dim=-1)
    columns, rows = (target[inside] * side).long().T.numpy()
    # The point lies within half a pixel of the pixel read there: compare with the depths around that.
    nearest, farthest = (
        limit(picture.depth[1, 0], 3)[rows, columns] / target_depth[inside].numpy()
        for limit in (minimum_filter, maximum_filter)
    )
    assert nearest.max() < 1.02  # no point of one view is missing from the other: it is there or hidden
    assert 0.005 < (farthest < 0.98).mean() < 0.25  # some are hidden
    visible = (nearest > 0.97) & (farthest < 1.03)
    assert visible.mean() > 0.4
    here = picture.images[0].reshape(3, -1)[:, inside.numpy()][:, visible].astype(float)
    there = picture.images[1][:, rows, columns][:, visible].astype(float)
    aligned = np.median(np.abs(here - there))
    unmoved = picture.images[1].reshape(3, -1)[:, inside.numpy()][:, visible].astype(float)
    assert aligned <= 6  # nearest pixel of a textured surface
    assert np.abs(here - there).mean() < 0.6 * np.abs(here - unmoved).mean()


def test_scenes_fill_every_view_between_depths_1_and_14() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        pieces = scenes.random_scene(rng, 16, 0.75, "held out")
        path = scenes.random_path(rng, 5)[[0, 4]]
        depth = render(pieces, path, scenes.intrinsics(0.75), (24, 32), samples=1).depth
        assert depth.min() > 1 and depth.max() < 14, seed


def test_paths_move_by_small_steps_and_turn_a_little() -> None:
    for seed in range(20):
        path = scenes.random_path(np.random.default_rng(seed), 5)
        steps = np.linalg.norm(np.diff(camera_centres(path), axis=0), axis=1)
        assert (steps > 0.05).all() and (steps < 0.16).all()
        turned = path[:, :3, :3] @ path[0, :3, :3].T
        angles = np.degrees(np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1)))
        assert angles.max() < 8
        np.testing.assert_allclose(np.linalg.det(path[:, :3, :3]), 1)
