import torch

from repsynth.batches import PosedViews
from repsynth.geometry.cameras import Cameras
from repsynth.modules.stereo_baselines.module import NearestView, PlaneWarp, plane_pixels


def moved(x: float) -> torch.Tensor:
    """World-to-camera matrix of a camera whose centre is at (x, 0, 0)."""
    extrinsics = torch.eye(4)
    extrinsics[0, 3] = -x
    return extrinsics


def pair_batch(images: torch.Tensor, novel: list[float], depth: float, focal: float) -> PosedViews:
    """A pair at x = 0 and x = 1 that shows images [2, 3, H, W], and novel views along the same line."""
    intrinsics = torch.tensor([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1]])
    blank = torch.zeros(1, len(novel), *images.shape[1:])
    return {
        "ids": ["scene"],
        "source": {
            "images": images[None],
            "extrinsics": torch.stack([moved(0), moved(1)])[None],
            "intrinsics": intrinsics.expand(1, 2, 3, 3),
        },
        "novel": {
            "images": blank,
            "extrinsics": torch.stack([moved(x) for x in novel])[None],
            "intrinsics": intrinsics.expand(1, len(novel), 3, 3),
        },
        "depth_range": torch.tensor([[1.0, 9.0]]),
        "median_depth": torch.tensor([depth]),
    }


def test_nearest_view_copies_the_closer_input() -> None:
    images = torch.rand(2, 3, 8, 8)
    output = NearestView().test_step(pair_batch(images, [-2.0, 0.4, 0.6, 5.0], 4.0, 1.0), 0)
    torch.testing.assert_close(output["predicted"], images[[0, 0, 1, 1]])
    assert output["ids"] == [f"scene/{view}" for view in range(4)]


def test_plane_warp_is_a_shift_by_the_disparity() -> None:
    """A camera at x sees the plane at depth d shifted left by focal * x / d image widths: here by 2 of 16 pixels."""
    image = torch.rand(3, 16, 16)
    batch = pair_batch(torch.stack([image, torch.zeros_like(image)]), [0.5], depth=4.0, focal=1.0)
    predicted = PlaneWarp().test_step(batch, 0)["predicted"][0]
    torch.testing.assert_close(predicted[:, :, :-2], image[:, :, 2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(predicted[:, :, -2:], image[:, :, -1:].expand(-1, -1, 2), atol=1e-5, rtol=0)


def test_plane_pixels_agree_with_lifting_and_projecting() -> None:
    torch.manual_seed(0)
    reference = Cameras(moved(0.3)[None], torch.tensor([[[0.9, 0, 0.45], [0, 1.2, 0.5], [0, 0, 1.0]]]))
    angle = torch.tensor(0.2)
    turned = torch.eye(4)
    turned[0, 0] = turned[2, 2] = angle.cos()
    turned[0, 2], turned[2, 0] = angle.sin(), -angle.sin()
    novel = Cameras((turned @ moved(-0.5))[None], reference.intrinsics)
    pixels = plane_pixels(novel, reference, torch.tensor([3.0]), (5, 6)).flatten(1, 2)
    points = reference.lift(pixels, torch.full(pixels.shape[:2], 3.0))
    seen, _ = novel.project(points)
    rows, columns = torch.meshgrid((torch.arange(5) + 0.5) / 5, (torch.arange(6) + 0.5) / 6, indexing="ij")
    torch.testing.assert_close(seen[0], torch.stack([columns, rows], dim=2).flatten(0, 1), atol=1e-5, rtol=0)
