"""Writes a small stereo pair."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (60, 100)
"""(height, width)."""


def write_pair(folder: Path, size: tuple[int, int] = SIZE, **changes: object) -> Path:
    """A pair whose content is changed; None removes a key. The left half of each picture is darker."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    for number, name in enumerate(("left.png", "right.png")):
        pixels[:] = 100 * number + 50
        pixels[:, : size[1] // 2] -= 25
        Image.fromarray(pixels).save(folder / name)
    content: dict[str, object] = {
        "images": ["left.png", "right.png"],
        "baseline_x_first_to_second": 0.25,
        "intrinsics_normalised_fx_fy_cx_cy": [0.9, 1.5, 0.5, 0.45],
        "depth_range": [2, 50],
    }
    content |= changes
    (folder / "pair.json").write_text(
        json.dumps({key: value for key, value in content.items() if value is not None})
    )
    return folder
