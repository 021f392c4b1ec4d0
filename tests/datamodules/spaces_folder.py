"""Writes small scenes in the Spaces layout: flat pictures whose grey level tells the camera."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH = 64


def height(camera: int) -> int:
    """Heights differ from camera to camera, as in the data set."""
    return 40 + camera % 4


def level(camera: int) -> int:
    """The grey level of a camera's pictures."""
    return 10 * camera


def calibration(position: int, camera: int) -> dict[str, Any]:
    """Cameras 0.1 m apart in rows of four, moved by 0.05 m along z from position to position, a little turned."""
    return {
        "focal_length": 20.0 + camera,
        "pixel_aspect_ratio": 0.998,
        "principal_point": [31.0, 19.5],
        "width": float(WIDTH),
        "height": float(height(camera)),
        "position": [0.1 * (camera % 4), 0.1 * (camera // 4), 0.05 * position],
        "orientation": [0.01 * camera, -0.02, 0.03 * position],
        "relative_path": f"cam_{camera:02d}/image_{position:03d}.png",
    }


def write_scene(folder: Path, positions: int = 2) -> list[list[dict[str, Any]]]:
    """Write models.json and the pictures; returns the models."""
    models = [[calibration(position, camera) for camera in range(16)] for position in range(positions)]
    for position in models:
        for camera, entry in enumerate(position):
            path = folder / entry["relative_path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((height(camera), WIDTH, 3), level(camera), dtype=np.uint8)).save(path)
    (folder / "models.json").write_text(json.dumps(models))
    return models
