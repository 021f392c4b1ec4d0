"""Check of StereoMag: multiplane image, novel view, merged layers."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.geometry.cameras import Cameras, homogeneous
from repsynth.modules.stereomag.generator import StereoMagGenerator
from repsynth.modules.stereomag.merging import RELEASED
from repsynth.reference.stereomag import load_stereomag

from .fixtures import Check
from .weights import reference_state

RELATIVE = 1e-4  # of the largest expected value


def _close(actual: Tensor, expected: np.ndarray) -> None:
    assert tuple(actual.shape[1:]) == expected.shape
    error = np.abs(actual[0].numpy() - expected).max()
    assert error <= RELATIVE * np.abs(expected).max(), f"off by {error}"


def _camera(extrinsics: np.ndarray, intrinsics: np.ndarray) -> Cameras:
    return Cameras(homogeneous(torch.from_numpy(extrinsics)[None]), torch.from_numpy(intrinsics)[None])


def check_stereomag(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    """The released behaviour; config.json leaves out the depths of the planes, which are the release's 1 to 100."""
    generator = StereoMagGenerator(
        planes=config["planes"], width=config["width"], grid="integer", mask_behind=False
    ).eval()
    load_stereomag(generator, reference_state(folder))
    reference, side, novel = (
        _camera(case[f"in_{name}_extrinsics"], case["in_intrinsics"])
        for name in ("reference", "side", "novel")
    )
    images = torch.from_numpy(case["in_reference"]), torch.from_numpy(case["in_side"])
    with torch.no_grad():
        planes = generator(*images, reference, side)
        view = generator.render(planes, novel, images[0].shape[-2:])
        layers = generator.merge(planes, config["groups"], RELEASED)
    _close(planes.rgba, case["out_mpi"])
    _close(view.features, case["out_novel_image"])
    _close(view.opacity, case["out_novel_opacity"])
    _close(layers.depth, case["out_merged_depth"])
    _close(layers.rgba, case["out_merged_rgba"])


COMPONENTS: dict[str, Check] = {"stereomag": check_stereomag}
