"""What data modules yield and what evaluation steps return, the same for every data set of a task.

Images leave the loader as uint8 and reach the step as float32 in [0, 1] (`datamodules.base` converts on the device).
Cameras follow `geometry.cameras`: OpenCV axes (x right, y down, z forward), world-to-camera 4x4 matrices, intrinsics
normalised by image width and height.
"""

from typing import NotRequired, TypedDict

from torch import Tensor


class Views(TypedDict):
    """V posed images of each of B scenes."""

    images: Tensor
    """[B, V, 3, H, W] RGB."""
    extrinsics: Tensor
    """[B, V, 4, 4] float32, world to camera."""
    intrinsics: Tensor
    """[B, V, 3, 3] float32, normalised."""


class PosedViews(TypedDict):
    """A batch of scenes: what a novel-view method sees, and what it has to predict."""

    ids: list[str]
    """B sample ids, unique within an evaluation set."""
    source: Views
    """The inputs. For a stereo pair V = 2: the reference view first, then the side view."""
    novel: Views
    """The targets."""
    depth_range: Tensor
    """[B, 2] float32, nearest and farthest scene depth in front of the reference camera, in scene units."""
    median_depth: Tensor
    """[B] float32, true median depth of the reference view, in scene units (for the one-plane baseline)."""
    novel_depth: NotRequired[Tensor]
    """[B, V, 1, H, W] float32, true depth of the novel views, where it is known."""


class Paired(TypedDict):
    """What `validation_step` and `test_step` return when every prediction has its truth: N images."""

    ids: list[str]
    """N ids, unique within the evaluation set; for several novel views of a scene `{scene id}/{view}`."""
    predicted: Tensor
    """[N, 3, H, W] float32 in [0, 1]."""
    expected: Tensor
    """[N, 3, H, W] float32 in [0, 1]."""
    panels: NotRequired[dict[str, Tensor]]
    """More pictures of the same samples for the media callback, by title, in the order shown:
    [N, 3, H, W] in [0, 1], or [N, 1, H, W] in any unit (shown in false colours, for example depth)."""


class Generated(TypedDict):
    """What `validation_step` and `test_step` return when there is no truth for each image, only a set to resemble.

    Which images these are is a matter of their ids alone: the same ones every time, in any batch, on any rank.
    """

    ids: list[str]
    """N ids, unique within the evaluation set."""
    generated: Tensor
    """[N, 3, H, W] float32 in [0, 1]; overshoot is clamped as by a saved picture."""


class Patches(TypedDict):
    """A batch of B patches of images of one size, cut for training; a patch may be the whole image."""

    ids: list[str]
    """B ids of the images."""
    images: Tensor
    """[B, 3, c, c] RGB."""
    windows: Tensor
    """[B, 3] int64 in pixels of the whole image: row and column of the patch's first pixel, and the step from one of
    its pixels to the next in either direction; the step is the same for all of a batch. (0, 0, 1) for whole images."""
    image_size: tuple[int, int]
    """(height, width) of the whole images."""


class Numbered(TypedDict):
    """A batch of B samples to generate from nothing but their numbers (`nn.latents` draws from them)."""

    ids: list[str]
    """B ids, the numbers in words."""
    numbers: Tensor
    """[B] int64, from 0."""
    seeds: Tensor
    """[B] int64, all the same: the seed of the set."""


class Photographs(TypedDict):
    """A batch of B photographs to find something for that made them, perhaps with holes."""

    ids: list[str]
    """B ids, unique within the set."""
    images: Tensor
    """[B, 3, H, W] RGB."""
    known: Tensor
    """[B, 1, H, W] bool: where the photograph is known."""


class Real(TypedDict):
    """A batch of real images that generated ones are compared with as a set."""

    ids: list[str]
    """B ids, unique within the set."""
    images: Tensor
    """[B, 3, H, W] uint8."""


def paired_novel_views(
    batch: PosedViews, predicted: Tensor, panels: dict[str, Tensor] | None = None
) -> Paired:
    """Pair predictions of all novel views with their truth.

    Args:
        batch: B scenes with V novel views each.
        predicted: [B V, 3, H, W] in any range about [0, 1], scene by scene; is clamped.
        panels: further pictures [B V, ...], shown after the input views.
    """
    images = batch["novel"]["images"]
    views = images.shape[1]
    inputs = {
        f"input {index}": image.repeat_interleave(views, dim=0)
        for index, image in enumerate(batch["source"]["images"].unbind(1))
    }
    ids = batch["ids"] if views == 1 else [f"{name}/{view}" for name in batch["ids"] for view in range(views)]
    return {
        "ids": ids,
        "predicted": predicted.clamp(0, 1),
        "expected": images.flatten(0, 1),
        "panels": inputs | (panels or {}),
    }
