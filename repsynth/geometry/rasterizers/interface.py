"""What every rasteriser takes and gives, and the choice among the installed ones."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, Protocol, cast, get_args

from torch import Tensor

from repsynth.errors import UserError

Interpolation = Literal["affine", "perspective"]
"""Barycentrics linear on the screen (what the released models were trained with), or perspective-correct."""

BackEnd = Literal["torch", "pytorch3d", "nvdiffrast"]

_HOW_TO_INSTALL = {
    "pytorch3d": "build it from its source: pip install --no-build-isolation "
    "git+https://github.com/facebookresearch/pytorch3d.git",
    "nvdiffrast": "build it from its source on a machine with CUDA: pip install --no-build-isolation "
    "git+https://github.com/NVlabs/nvdiffrast.git",
}


@dataclass(frozen=True)
class Fragments:
    """The at most K fragments of each pixel, front to back; trailing slots that no pixel fills may be left
    out."""

    face: Tensor
    """[B, H, W, K] int64 index into the faces, -1 where there is no fragment."""
    barycentrics: Tensor
    """[B, H, W, K, 3] weights of the face's corners, zero where there is no fragment."""
    depth: Tensor
    """[B, H, W, K] interpolated depth, zero where there is no fragment."""


class Rasterizer(Protocol):
    """A back end: differentiable with respect to the vertices through barycentrics and depth."""

    def __call__(
        self,
        vertices: Tensor,
        faces: Tensor,
        size: Sequence[int],
        *,
        fragments: int = 1,
        interpolation: Interpolation = "perspective",
        drawn: Tensor | None = None,
        far: float | None = None,
    ) -> Fragments:
        """Rasterise a mesh, seen by B cameras.

        The centre of pixel (row, column) is at ((column + 0.5) / W, (row + 0.5) / H). A face covers the
        pixels whose centre is inside it or on its edge; fragments of equal depth on shared edges count once.

        Args:
            vertices: [B, V, 3]: relative pixel (u, v) on the screen, and depth in scene units.
            faces: [F, 3] int64 vertex ids; both sides are drawn.
            size: height and width of the images.
            fragments: at most so many nearest fragments of each pixel are kept.
            interpolation: see `Interpolation`; perspective needs depths of one sign.
            drawn: [B, F] bool, the faces to draw; all when omitted.
            far: fragments beyond this depth are dropped; none when omitted.
        """
        ...


def missing_back_end(name: BackEnd) -> str | None:
    """Return the sentence that says how to get a back end, or None when it is installed."""
    if name == "torch" or find_spec(name) is not None:
        return None
    return (
        f"the rasteriser {name} is not installed: choose the back end torch, which is built in, or "
        f"{_HOW_TO_INSTALL[name]}."
    )


def select_rasterizer(name: BackEnd = "torch") -> Rasterizer:
    """Return a back end by name.

    Raises:
        UserError: when the name is unknown or the package is not installed.
    """
    if name not in get_args(BackEnd):
        raise UserError(
            f"the rasteriser back end {name!r} is unknown; expected one of {', '.join(get_args(BackEnd))}."
        )
    missing = missing_back_end(name)
    if missing:
        raise UserError(missing)
    module = importlib.import_module(f"repsynth.geometry.rasterizers.{name}_backend")
    return cast(Rasterizer, module.rasterize)
