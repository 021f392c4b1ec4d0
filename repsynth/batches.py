"""What data modules yield and what evaluation steps return, the same for every data set of a task.

Images leave the loader as uint8 and reach the step as float32 in [0, 1] (`datamodules.base` converts on the device).
Cameras follow `geometry.cameras`: OpenCV axes (x right, y down, z forward), world-to-camera 4x4 matrices, intrinsics
normalised by image width and height.
"""

from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
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
    inputs: NotRequired[Tensor]
    """[N, 3, H, W] float32 in [0, 1]: the photographs that were translated, where that is the task."""
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
    inputs: NotRequired[Tensor]
    """[N, 3, H, W] float32 in [0, 1]: the photographs that were translated, where that is the task."""


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
    maps: NotRequired[Tensor]
    """[B, c, c] integer classes of the pixels, 255 where nothing is known; of data with segmentation maps."""


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


class Relighting(TypedDict):
    """A batch of B photographs to show in the light of others."""

    ids: list[str]
    """B ids, unique within the set."""
    content: Tensor
    """[B, 3, H, W] RGB, the photographs."""
    style: Tensor
    """[B, 3, H, W] RGB, photographs in the light that is wanted."""
    truth: NotRequired[Tensor]
    """[B, 3, H, W] RGB, the content in that light, where it is known."""


class Photo(NamedTuple):
    """A photograph from a file, and what else belongs into a file that is made of it."""

    path: Path
    pixels: np.ndarray
    """[3, H, W] uint8 RGB, upright."""
    alpha: np.ndarray | None = None
    """[H, W] uint8, where the file has transparency."""
    exif: bytes = b""
    """The EXIF block without orientation and thumbnail; empty for none."""
    profile: bytes = b""
    """The ICC profile of the colours; empty for none."""


class PhotoFiles(TypedDict):
    """A batch of B photographs, each of its own size, as they come from their files."""

    ids: list[str]
    """B names of the files without suffix."""
    photos: list[Photo]
    """B photographs."""
    complaints: list[str]
    """What is said of photographs of the batch that could not be read and are left out."""


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
