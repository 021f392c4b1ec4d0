"""Losses and metrics of the novel-view methods against the official code's values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsynth.losses.geometry import layered_depth_variation, order_hinge
from repsynth.losses.reconstruction import l1, l2
from repsynth.metrics.flip import flip
from repsynth.metrics.psnr import decibels, psnr, squared_error
from repsynth.metrics.ssim import ssim

TOLERANCE = 1e-5
"""Relative, float32: the fixtures' README."""


def check_losses(folder: Path, config: dict[str, Any], case: dict[str, np.ndarray]) -> None:
    inputs = {key.removeprefix("in_"): torch.from_numpy(case[key]) for key in case if key.startswith("in_")}
    computed = {**_reconstruction(inputs), **_geometry(inputs), **_figures(inputs)}
    stored = {key.removeprefix("out_"): case[key] for key in case if key.startswith("out_")}
    assert stored.keys() <= computed.keys(), f"nothing computes {sorted(stored.keys() - computed.keys())}"
    for name, value in stored.items():
        np.testing.assert_allclose(computed[name]().numpy(), value, rtol=TOLERANCE, err_msg=name)


def _reconstruction(inputs: dict[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
    p, t, mask = (inputs.get(name) for name in ("predicted", "target", "mask"))
    small = inputs["mask_small"] if "mask_small" in inputs else None if mask is None else mask[..., ::2, ::2]
    return {
        "l1": lambda: l1(p, t),
        "l2": lambda: l2(p, t),
        "l1_masked": lambda: l1(p, t, mask),
        "l2_masked": lambda: l2(p, t, mask),
        "l1_masked_small": lambda: l1(p, t, small),
        "l2_masked_small": lambda: l2(p, t, small),
    }


def _geometry(inputs: dict[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
    return {
        "tv": lambda: layered_depth_variation(inputs["layered_depth"]),
        "order_hinge": lambda: order_hinge(inputs["layered_depth"]),
    }


def _figures(inputs: dict[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
    # The fixtures hold pictures in [-1, 1].
    images = {name: (inputs[name] + 1) / 2 for name in ("predicted", "target") if name in inputs}
    p, t = images.get("predicted"), images.get("target")
    return {
        "psnr": lambda: psnr(p, t),
        "psnr_batch": lambda: decibels(squared_error(p, t).mean()),
        "psnr_masked": lambda: psnr(p, t, inputs["mask"]),
        "psnr_equal": lambda: psnr(t, t).mean(),
        "ssim": lambda: ssim(p, t),
        "ssim_batch": lambda: ssim(p, t).mean(),
        "flip": lambda: flip(p, t),
        "flip_batch": lambda: flip(p, t).mean(),
    }


COMPONENTS = {"losses": check_losses}
