"""Batches and samplers of the tiny generator."""

from typing import Any

import torch
from torch import Tensor

from repsynth.batches import Numbered
from repsynth.exports.prediction import Prediction
from repsynth.modules.cips.generator import CIPSGenerator
from repsynth.modules.cips.sampling.canvas import Canvas
from repsynth.modules.cips.sampling.options import SamplingOptions
from repsynth.modules.cips.sampling.prediction import predict
from repsynth.modules.cips.sampling.sampler import Sampler

from ..tiny import tiny_generator

CANVAS = Canvas((16, 16), turn=0.25)
SEED = 3


def numbered(*numbers: int) -> Numbered:
    count = len(numbers)
    return {
        "ids": [str(number) for number in numbers],
        "numbers": torch.tensor(numbers),
        "seeds": torch.full((count,), SEED),
    }


def sampler(generator: CIPSGenerator | None = None, **options: Any) -> Sampler:  # noqa: ANN401
    return Sampler(generator or tiny_generator().eval(), SamplingOptions(**options), CANVAS)


def predicted(
    *numbers: int,
    generator: CIPSGenerator | None = None,
    **options: Any,  # noqa: ANN401
) -> Prediction:
    made = sampler(generator, **options)
    return predict(made.generator, made.options, numbered(*numbers), CANVAS)


def frames(prediction: Prediction) -> Tensor:
    found = prediction["frames"]
    assert isinstance(found, Tensor) and found.dtype == torch.uint8
    return found


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Bytes that may differ by one level, because batches of other sizes are rounded in another way."""
    assert found.shape == expected.shape
    assert int((found.int() - expected.int()).abs().max()) <= 1
    assert float((found != expected).float().mean()) < 0.01
