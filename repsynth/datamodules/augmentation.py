"""Augmentation by albumentations: the pipeline that an experiment writes down. Only this file imports the package."""

import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from repsynth.errors import UserError

Steps = Sequence[Mapping[str, Mapping[str, Any]]]
"""Of a pipeline in their order, each {name of a transform: its options}."""

_EXAMPLE = "expected a list of transforms such as `- HorizontalFlip: {p: 0.5}`"


class Augmentation:
    """A pipeline for square images and their segmentation maps, the same change for both.

    What it draws depends on the generator of an example alone. Pixels of maps that come from beyond the image, or that
    a transform masks out, get the number 255: nobody knows what is there.

    Args:
        steps: transforms of albumentations in their order, each {name: options}.
        side: of the images in pixels, which they have to keep.

    Raises:
        UserError: no such transform, an option it does not have, or images that would get another size.
    """

    def __init__(self, steps: Steps, side: int) -> None:
        self.steps = steps
        self.side = side
        self._pipeline: Any = None
        self._check()

    def __getstate__(self) -> dict[str, Any]:
        # The pipeline is made anew by each process.
        return self.__dict__ | {"_pipeline": None}

    def __call__(
        self, image: np.ndarray, classes: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Change an image, and its map alike.

        Args:
            image: [3, side, side] uint8.
            classes: [side, side] uint8, or None.
            rng: of the example; equal generators give equal results.

        Returns:
            [3, side, side] uint8, and [side, side] uint8 where there is a map.
        """
        if self._pipeline is None:
            self._pipeline = albumentations().Compose([_made(step) for step in self.steps])
        self._pipeline.set_random_seed(int(rng.integers(2**31)))
        given = {"image": np.ascontiguousarray(image.transpose(1, 2, 0))}
        if classes is not None:
            # Transforms fill with 0: let that be the unknown one, 255.
            given["mask"] = np.ascontiguousarray(classes + np.uint8(1))
        changed = self._pipeline(**given)
        pixels = changed["image"].transpose(2, 0, 1)
        return pixels, None if classes is None else changed["mask"] - np.uint8(1)

    def _check(self) -> None:
        """Try the pipeline on one image and map."""
        image = np.zeros((3, self.side, self.side), dtype=np.uint8)
        try:
            pixels, classes = self(image, image[0], np.random.default_rng(0))
        except UserError:
            raise
        except Exception as error:  # whatever a transform finds wrong only when it runs
            raise UserError(
                f"data.augment fails on an image of {self.side}x{self.side} pixels: {_first_line(error)}; correct the "
                "options of its transforms"
            ) from error
        assert classes is not None
        if pixels.shape != image.shape or pixels.dtype != np.uint8 or classes.shape != image.shape[1:]:
            raise UserError(
                f"data.augment makes {pixels.shape[2]}x{pixels.shape[1]} pixels of type {pixels.dtype} of an image of "
                f"{self.side}x{self.side} bytes; expected transforms that keep size and type, a crop for example "
                f"RandomResizedCrop with size [{self.side}, {self.side}]"
            )


@cache
def albumentations() -> Any:  # noqa: ANN401
    """The package, which takes seconds to import."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version
    import albumentations
    import cv2

    cv2.setNumThreads(0)  # its threads hang in forked loader workers
    return albumentations


def _made(step: object) -> Any:  # noqa: ANN401
    """One transform.

    Raises:
        UserError: it is not written as {name: options}, there is none of that name, or it refuses the options.
    """
    if not isinstance(step, Mapping) or len(step) != 1:
        raise UserError(f"data.augment holds {step!r}; {_EXAMPLE}")
    name, options = next(iter(step.items()))
    if not isinstance(options or {}, Mapping):
        raise UserError(f"data.augment gives {name} the options {options!r}; {_EXAMPLE}")
    transforms = _transforms()
    if name not in transforms:
        near = difflib.get_close_matches(str(name), transforms, 1)
        hint = f"did you mean {near[0]}?" if near else "its documentation lists them"
        raise UserError(
            f"data.augment names {name}, which is no transform of images and maps in albumentations "
            f"{albumentations().__version__}; {hint}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what it does not know it only warns of
        try:
            return getattr(albumentations(), name)(**(options or {}))
        except (ValueError, TypeError, UserWarning) as error:
            raise UserError(
                f"data.augment: {name} refuses its options: {_first_line(error)}; correct them"
            ) from error


@cache
def _transforms() -> list[str]:
    """The names of all transforms of images, or of images and maps."""
    package = albumentations()
    kinds = (package.ImageOnlyTransform, package.DualTransform)
    names = [name for name in dir(package) if not name.startswith("_")]
    return [name for name in names if _is_one(getattr(package, name), kinds)]


def _is_one(kind: object, kinds: tuple[type, ...]) -> bool:
    return isinstance(kind, type) and issubclass(kind, kinds) and kind not in kinds


def _first_line(error: BaseException) -> str:
    """What an error says, in one line; of the report of a pydantic model only the faults."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line.split(" [type=")[0] for line in lines if not line.startswith("For further information")]
    if lines and "validation error" in lines[0]:
        lines = lines[1:]
    return " ".join(lines) or type(error).__name__
