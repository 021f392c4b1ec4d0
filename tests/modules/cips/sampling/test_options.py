from dataclasses import fields, is_dataclass
from typing import Any, get_args

import pytest
from jsonargparse import ArgumentParser

from repsynth.cli.signatures import options as described
from repsynth.errors import UserError
from repsynth.modules.cips.sampling.checks import check_options
from repsynth.modules.cips.sampling.options import (
    FoveatedOptions,
    GridOptions,
    InterpolationOptions,
    InversionOptions,
    PanoramaOptions,
    SamplingOptions,
    SpectrumOptions,
    Task,
    ZoomOptions,
)

BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"size": (0, 4)}, "size is 0; expected at least 1"),
    ({"mean_w_draws": 0}, "mean_w_draws is 0; expected at least 1"),
    ({"points_at_once": 0}, "points_at_once is 0; expected at least 1"),
    ({"truncation": -0.5}, "truncation is -0.5; expected at least 0, such as 0.7 or 1"),
    ({"truncation": float("nan")}, "truncation is nan; expected at least 0, such as 0.7 or 1"),
    ({"grid": GridOptions(rows=0)}, "grid.rows is 0; expected at least 1"),
    ({"grid": GridOptions(columns=0)}, "grid.columns is 0; expected at least 1"),
    ({"interpolation": InterpolationOptions(keys=1)}, "interpolation.keys is 1; expected at least 2"),
    (
        {"interpolation": InterpolationOptions(frames_per_key=0)},
        "interpolation.frames_per_key is 0; expected at least 1",
    ),
    ({"zoom": ZoomOptions(frames=0)}, "zoom.frames is 0; expected at least 1"),
    (
        {"zoom": ZoomOptions(window=(0.5, 0, 0.5, 1))},
        "zoom.window is [0.5, 0, 0.5, 1]; expected [left, top, right, bottom] with left < right and top < bottom; the "
        "image is [-1, -1, 1, 1]",
    ),
    (
        {"zoom": ZoomOptions(window=(0, 1, 1, -1))},
        "zoom.window is [0, 1, 1, -1]; expected [left, top, right, bottom] with left < right and top < bottom; the "
        "image is [-1, -1, 1, 1]",
    ),
    (
        {"zoom": ZoomOptions(frames=1, there_and_back=True)},
        "zoom.there_and_back is true, but model.sampling.zoom.frames 1 is a picture; raise frames or leave it out",
    ),
    (
        {"foveated": FoveatedOptions(gaze=(0, 1.5))},
        "foveated.gaze is [0, 1.5]; expected [x, y] inside the image, -1 to 1",
    ),
    (
        {"foveated": FoveatedOptions(share=0)},
        "foveated.share is 0; expected a share above 0 and at most 1",
    ),
    (
        {"foveated": FoveatedOptions(share=25)},
        "foveated.share is 25; expected a share above 0 and at most 1",
    ),
    (
        {"foveated": FoveatedOptions(sigma=0)},
        "foveated.sigma is 0; expected a number above 0, such as 0.4",
    ),
    ({"panorama": PanoramaOptions(scenes=0)}, "panorama.scenes is 0; expected at least 1"),
    (
        {"panorama": PanoramaOptions(start_degrees=float("inf"))},
        "panorama.start_degrees is inf; expected an angle in degrees",
    ),
    ({"inversion": InversionOptions(steps=0)}, "inversion.steps is 0; expected at least 1"),
    (
        {"inversion": InversionOptions(pixels_per_step=0)},
        "inversion.pixels_per_step is 0; expected at least 1",
    ),
    (
        {"inversion": InversionOptions(learning_rate=0)},
        "inversion.learning_rate is 0; expected a number above 0, such as 0.05",
    ),
    (
        {"inversion": InversionOptions(mean_w_weight=-1)},
        "inversion.mean_w_weight is -1; expected at least 0",
    ),
    (
        {"inversion": InversionOptions(perceptual_weight=-1)},
        "inversion.perceptual_weight is -1; expected at least 0",
    ),
    (
        {"inversion": InversionOptions(perceptual_weight=0.5, pixels_per_step=9)},
        "inversion.perceptual_weight is 0.5 and pixels_per_step 9; the perceptual distance needs all pixels in every "
        "step: set pixels_per_step to null, or the weight to 0",
    ),
    ({"spectrum": SpectrumOptions(samples=0)}, "spectrum.samples is 0; expected at least 1"),
    ({"spectrum": SpectrumOptions(real_samples=0)}, "spectrum.real_samples is 0; expected at least 1"),
    (
        {"task": "inversion", "noise": 3},
        "noise is 3, but the task inversion seeks a style without noise; leave it null",
    ),
    (
        {"task": "inversion", "size": (4, 4)},
        "size is [4, 4], but the task inversion makes images of the photographs' size; leave it null and set "
        "data.image_size",
    ),
    (
        {"task": "inversion", "truncation": 0.7},
        "truncation is 0.7, but the task inversion seeks styles itself; leave it 1 and use "
        "model.sampling.inversion.mean_w_weight to stay near the mean style",
    ),
]


@pytest.mark.parametrize(("options", "sentence"), BEYOND, ids=[sentence[:40] for _, sentence in BEYOND])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        check_options(SamplingOptions(**options))
    assert str(raised.value) == f"model.sampling.{sentence}"


@pytest.mark.parametrize("task", get_args(Task))
def test_every_task_works_with_the_defaults(task: Task) -> None:
    check_options(SamplingOptions(task=task))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sampling.task=grid", "--sampling.grid.rows=2"], {"task": "grid", "grid": GridOptions(2, 4)}),
        (["--sampling.noise=3"], {"noise": 3}),
        (["--sampling.noise=none"], {"noise": "none"}),
        (["--sampling.noise=null"], {"noise": None}),
        (["--sampling.size=[4,6]"], {"size": (4, 6)}),
        (
            ["--sampling.zoom.window=[-1,0,0.5,1]", "--sampling.zoom.frames=1"],
            {"zoom": ZoomOptions((-1.0, 0.0, 0.5, 1.0), 1)},
        ),
        (["--sampling.inversion.w_space=w_plus"], {"inversion": InversionOptions("w_plus")}),
        (["--sampling.inversion.pixels_per_step=10"], {"inversion": InversionOptions(pixels_per_step=10)}),
    ],
)
def test_the_command_line_reads_them(words: list[str], expected: dict[str, Any]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--sampling", type=SamplingOptions, default=SamplingOptions())
    found = parser.instantiate_classes(parser.parse_args(words)).sampling
    assert found == SamplingOptions(**expected)
    check_options(found)


def test_every_option_has_its_line() -> None:
    kinds = [SamplingOptions, *(type(field.default) for field in fields(SamplingOptions))]
    for kind in (kind for kind in kinds if is_dataclass(kind)):
        for option in described(kind).values():
            assert option.description, f"{kind.__name__}.{option.name}"
