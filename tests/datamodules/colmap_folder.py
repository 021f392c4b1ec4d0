"""Writes a small scene of procedural pictures as a folder of COLMAP, in either form."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from repsynth.datamodules.colmap_model import MODELS, Camera, Photograph, Points
from repsynth.datamodules.synthetic import scenes
from repsynth.datamodules.synthetic.renderer import render
from tests.datamodules.llff_folder import SMALL, sample_points

FULL = (384, 512)
"""(height, width) that the cameras are of; pictures are an eighth."""
FOCAL = FULL[1] * 0.5 / scenes.HALF_VIEW
PINHOLE = Camera("PINHOLE", FULL[1], FULL[0], (FOCAL, FOCAL, FULL[1] / 2, FULL[0] / 2), ())


def write_scene(
    folder: Path,
    views: int = 10,
    *,
    names: Sequence[str] | None = None,
    place: str = "sparse/0",
    text: bool = False,
    camera: Camera = PINHOLE,
    seed: int = 0,
) -> tuple[dict[int, Camera], dict[int, Photograph], Points]:
    """Write `folder` and return its model. Ids are 100, 99, ... in the order of views; each view has 20 points."""
    rng = np.random.default_rng(seed)
    pieces = scenes.random_scene(rng, SMALL[1], SMALL[0] / SMALL[1], "held out")
    poses = scenes.random_path(rng, views)
    intrinsics = scenes.intrinsics(SMALL[0] / SMALL[1])
    picture = render(pieces, poses, intrinsics, SMALL)
    names = names or [f"IMG_{view:03d}.png" for view in range(views)]
    for name, image in zip(names, picture.images, strict=True):
        file = folder / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(file)
    ids = [100 - view for view in range(views)]
    tracks = sample_points(poses, intrinsics, picture.depth, rng)
    points = Points(
        np.array([track[3] for track in tracks]),
        np.array([picture.images[view, :, row, column] for view, row, column, _ in tracks]),
        np.arange(len(tracks)),
        np.array([ids[track[0]] for track in tracks]),
    )
    photographs = {
        ids[view]: Photograph(name, 3, pose)
        for view, (name, pose) in enumerate(zip(names, poses, strict=True))
    }
    model = {3: camera}, photographs, points
    (write_text if text else write_binary)(folder / place, *model)
    return model


def quaternion(photograph: Photograph) -> list[float]:
    """w, x, y, z."""
    found: list[float] = Rotation.from_matrix(photograph.extrinsics[:3, :3]).as_quat()[[3, 0, 1, 2]].tolist()
    return found


def tracks_of(points: Points) -> list[list[int]]:
    """The image ids of each point."""
    return [
        points.track_images[points.track_points == number].tolist() for number in range(len(points.positions))
    ]


def write_binary(
    folder: Path, cameras: dict[int, Camera], photographs: dict[int, Photograph], points: Points
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {name: number for number, (name, *_) in MODELS.items()}
    parts = [struct.pack("<Q", len(cameras))]
    for key, camera in cameras.items():
        parts.append(struct.pack("<iiQQ", key, numbers[camera.model], camera.width, camera.height))
        parts.append(struct.pack(f"<{len(camera.parameters)}d", *camera.parameters))
    (folder / "cameras.bin").write_bytes(b"".join(parts))
    parts = [struct.pack("<Q", len(photographs))]
    for key, one in photographs.items():
        parts.append(struct.pack("<i7di", key, *quaternion(one), *one.extrinsics[:3, 3], one.camera))
        parts.append(one.name.encode() + b"\0" + struct.pack("<Qddq", 1, 3.5, 4.5, -1))
    (folder / "images.bin").write_bytes(b"".join(parts))
    parts = [struct.pack("<Q", len(points.positions))]
    for number, track in enumerate(tracks_of(points)):
        parts.append(
            struct.pack(
                "<Q3d3BdQ", number, *points.positions[number], *points.colours[number], 0.1, len(track)
            )
        )
        parts.append(b"".join(struct.pack("<2i", image, 0) for image in track))
    (folder / "points3D.bin").write_bytes(b"".join(parts))


def write_text(
    folder: Path, cameras: dict[int, Camera], photographs: dict[int, Photograph], points: Points
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Camera list", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    for key, camera in cameras.items():
        lines.append(words(key, camera.model, camera.width, camera.height, *camera.parameters))
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:"]
    for place, (key, one) in enumerate(photographs.items()):
        lines.append(words(key, *quaternion(one), *one.extrinsics[:3, 3], one.camera, one.name))
        lines.append("" if place % 2 else "3.5 4.5 -1 7.25 8 12")
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list"]
    for number, track in enumerate(tracks_of(points)):
        pairs = [value for image in track for value in (image, 0)]
        lines.append(words(number, *points.positions[number], *points.colours[number], 0.1, *pairs))
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")


def words(*values: object) -> str:
    return " ".join(str(value) for value in values)
