"""Writes a small LLFF capture of a procedural scene, with its sparse model."""

import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from repsynth.datamodules.synthetic import scenes
from repsynth.datamodules.synthetic.renderer import render
from repsynth.geometry.cameras import Cameras

FULL = (384, 512)
SMALL = (48, 64)
FOCAL = FULL[1] * 0.5 / scenes.HALF_VIEW


def write_capture(folder: Path, views: int = 10, *, sparse: bool = True, seed: int = 0) -> np.ndarray:
    """Write `folder`; return the true world-to-camera matrices [N, 4, 4]."""
    rng = np.random.default_rng(seed)
    pieces = scenes.random_scene(rng, SMALL[1], SMALL[0] / SMALL[1], "held out")
    poses = scenes.random_path(rng, views)
    intrinsics = scenes.intrinsics(SMALL[0] / SMALL[1])
    picture = render(pieces, poses, intrinsics, SMALL)
    (folder / "images_8").mkdir(parents=True)
    for view, image in enumerate(picture.images):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / "images_8" / f"image{view:03d}.png")
    tracks = sample_points(poses, intrinsics, picture.depth, rng)
    np.save(folder / "poses_bounds.npy", rows(poses, picture.depth))
    if sparse:
        write_model(folder / "sparse" / "0", poses, picture.images, tracks)
    return poses


def rows(poses: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """[N, 17] as LLFF writes them: columns down, right, backwards of the camera-to-world rotation."""
    inverse = np.linalg.inv(poses)
    right, down, forward, centre = (inverse[:, :3, column] for column in range(4))
    sizes = np.tile(np.array([*FULL, FOCAL]), (len(poses), 1))
    matrices = np.stack([down, right, -forward, centre, sizes], axis=2)
    bounds = np.stack([depth.min(axis=(1, 2, 3)), depth.max(axis=(1, 2, 3))], axis=1)
    return np.concatenate([matrices.reshape(len(poses), 15), bounds], axis=1)


def sample_points(
    poses: np.ndarray, intrinsics: np.ndarray, depth: np.ndarray, rng: np.random.Generator
) -> list[tuple[int, int, int, np.ndarray]]:
    """(view, row, column, point in the world) of random pixels."""
    found = []
    for view, pose in enumerate(poses):
        camera = Cameras(torch.tensor(pose)[None], torch.tensor(intrinsics)[None])
        for row, column in rng.integers(0, SMALL, (20, 2)):
            pixel = torch.tensor([[[(column + 0.5) / SMALL[1], (row + 0.5) / SMALL[0]]]], dtype=torch.float64)
            distance = torch.tensor([[depth[view, 0, row, column]]], dtype=torch.float64)
            found.append((view, int(row), int(column), camera.lift(pixel, distance)[0, 0].numpy()))
    return found


def write_model(
    folder: Path, poses: np.ndarray, images: np.ndarray, tracks: list[tuple[int, int, int, np.ndarray]]
) -> None:
    """cameras.bin and points3D.bin; a point is seen by the view it was found in, ids from 1."""
    folder.mkdir(parents=True)
    camera = struct.pack("<iiQQ4d", 1, 2, FULL[1], FULL[0], FOCAL, FULL[1] / 2, FULL[0] / 2, 0.0)
    (folder / "cameras.bin").write_bytes(struct.pack("<Q", 1) + camera)
    points = [struct.pack("<Q", len(tracks))]
    for number, (view, row, column, place) in enumerate(tracks):
        colour = images[view, :, row, column].tolist()
        points.append(
            struct.pack("<Q3d3BdQ", number, *place, *colour, 0.1, 1) + struct.pack("<2i", view + 1, 0)
        )
    (folder / "points3D.bin").write_bytes(b"".join(points))


def write_photographs(folder: Path, poses: np.ndarray, ids: list[int]) -> None:
    """images.bin with a chosen id for each view; entries in reverse order, names in that of the views."""
    entries = [struct.pack("<Q", len(poses))]
    for view in reversed(range(len(poses))):
        entries.append(struct.pack("<i7di", ids[view], 1, 0, 0, 0, 0, 0, 0, 1))
        entries.append(f"IMG_{view:04d}.JPG".encode() + b"\0" + struct.pack("<Q", 0))
    (folder / "images.bin").write_bytes(b"".join(entries))
