"""Procedural landscapes with the sun at many heights: `python benchmarks/landscape_sheet.py OUT`."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from repsynth.datamodules.synthetic.landscape_light import Light
from repsynth.datamodules.synthetic.landscape_rendering import render
from repsynth.datamodules.synthetic.landscape_scene import build

ELEVATIONS = (-14, -7, -3, 1, 6, 15, 35, 58)
"""Degrees of the sun above the horizon."""
HAZE = 0.25
SCENES, SIDE = 4, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    rows = []
    for number in range(SCENES):
        scene = build(number, SIDE, "train")
        rows.append(np.concatenate([render(scene, Light(e, 0.0, HAZE)) for e in ELEVATIONS], axis=2))
    Image.fromarray(np.concatenate(rows, axis=1).transpose(1, 2, 0)).save(out, quality=88)


if __name__ == "__main__":
    main()
