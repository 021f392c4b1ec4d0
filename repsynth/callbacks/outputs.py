"""What evaluation steps may return, checked."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import lightning.pytorch as pl
from torch import Tensor

from repsynth.batches import Paired
from repsynth.errors import UserError

Stage = Literal["val", "test"]


class Images(NamedTuple):
    """What set figures take of a step.

    Attributes:
        ids: N.
        generated: [N, 3, H, W].
        real: [N, 3, H, W] with the same ids, or None when the step returned none.
    """

    ids: list[str]
    generated: Tensor
    real: Tensor | None


def require_paired(outputs: object, module: pl.LightningModule) -> Paired:
    """Return a step's output if it is `batches.Paired`.

    Raises:
        UserError: Naming the module and what its step's output lacks.
    """
    complaint = _complaint(outputs, ("predicted", "expected"))
    if complaint is not None:
        raise UserError(
            f"the evaluation step of {type(module).__name__} returned {complaint}: expected "
            "repsynth.batches.Paired with ids, predicted and expected; return it, or take the Evaluation and "
            "Media callbacks out"
        )
    return outputs  # type: ignore[return-value]


def require_images(outputs: object, module: pl.LightningModule) -> Images:
    """Return the images of a step's output if it is `batches.Generated` or `batches.Paired`.

    Raises:
        UserError: Naming the module and what its step's output lacks.
    """
    paired = isinstance(outputs, dict) and "generated" not in outputs and "predicted" in outputs
    complaint = _complaint(outputs, ("predicted", "expected") if paired else ("generated",))
    if complaint is not None:
        raise UserError(
            f"the evaluation step of {type(module).__name__} returned {complaint}: expected "
            "repsynth.batches.Generated with ids and generated, or Paired; return it, or take Media out and fid, kid, "
            "precision and recall out of the metrics"
        )
    assert isinstance(outputs, dict)
    if paired:
        return Images(outputs["ids"], outputs["predicted"], outputs["expected"])
    return Images(outputs["ids"], outputs["generated"], None)


def _complaint(outputs: object, images: tuple[str, ...]) -> str | None:
    if not isinstance(outputs, dict):
        return f"a {type(outputs).__name__}"
    missing = [key for key in ("ids", *images) if key not in outputs]
    if missing:
        return f"a dict without {', '.join(missing)}"
    return _complaint_of_images(outputs, images) or _complaint_of_ids(outputs["ids"], len(outputs[images[0]]))


def _complaint_of_images(outputs: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    shapes = []
    for name in names:
        images = outputs[name]
        if not isinstance(images, Tensor):
            return f"{' or '.join(names)} that is not a tensor"
        shapes.append(list(images.shape))
    if any(len(shape) != 4 or shape[1] != 3 or shape != shapes[0] for shape in shapes):
        shown = " and ".join(f"{name} {shape}" for name, shape in zip(names, shapes, strict=True))
        return f"{shown}, not {'both ' if len(names) > 1 else ''}[N, 3, H, W]"
    return None


def _complaint_of_ids(ids: object, count: int) -> str | None:
    if not isinstance(ids, list | tuple) or not all(isinstance(name, str) for name in ids):
        return f"ids that are a {type(ids).__name__}, not a list of str"
    if len(ids) != count:
        return f"{len(ids)} ids for {count} images"
    return None
