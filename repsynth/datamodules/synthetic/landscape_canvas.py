"""The ground on which procedural landscapes are laid out, in fractions of the side."""

import math
from dataclasses import dataclass, field

import numpy as np

from repsynth.datamodules.synthetic.landscape_noise import fractal
from repsynth.datamodules.synthetic.landscape_surfaces import Material
from repsynth.datamodules.synthetic.textures import Split


@dataclass
class Canvas:
    """A scene while it is laid out."""

    rng: np.random.Generator
    samples: int
    split: Split
    materials: np.ndarray = field(init=False)
    relief: np.ndarray = field(init=False)
    x: np.ndarray = field(init=False)
    """[n] middles of samples in fractions of the side."""

    def __post_init__(self) -> None:
        self.x = ((np.arange(self.samples) + 0.5) / self.samples).astype(np.float32)
        self.materials = np.zeros((self.samples, self.samples), dtype=np.uint8)
        self.relief = self.noise(4, 0.75).copy()

    def noise(self, coarsest: int, roughness: float) -> np.ndarray:
        """[n, n], see `fractal`; other noise is held out."""
        return fractal(self.rng, int(self.split == "train"), self.samples, coarsest, roughness)

    def index(self, place: float) -> int:
        """The first sample whose middle is not before a place."""
        return min(max(math.ceil(place * self.samples - 0.5), 0), self.samples)

    def spans(self, first: float, step: float, count: int, before: float, share: float) -> list[slice]:
        """The samples of `count` equal pieces, each a share of its step that begins a share `before` into it."""
        starts = [first + (number + before) * step for number in range(count)]
        return [slice(self.index(start), self.index(start + share * step)) for start in starts]

    def fill(self, top: np.ndarray, bottom: float, material: Material, slope: float = 0.0) -> slice:
        """Everything between a line [n] and a row becomes a material; its slope turns the relief. Returns the rows."""
        rows = slice(self.index(float(top.min())), self.index(bottom))
        inside = self.x[rows, None] >= top
        np.copyto(self.materials[rows], np.uint8(material), where=inside)
        if slope:
            # Over about a twentieth of the side, so that it is the same at every size.
            step = max(self.samples // 24, 1)
            smooth = np.pad(top, step, mode="edge")
            turn = (smooth[2 * step :] - smooth[: -2 * step]) / (2 * step / self.samples)
            np.add(self.relief[rows], slope * np.clip(turn, -1, 1) * 1.5, out=self.relief[rows], where=inside)
        return rows

    def box(self, left: float, top: float, right: float, bottom: float, material: Material) -> None:
        """A rectangle becomes a material."""
        rows, columns = slice(self.index(top), self.index(bottom)), slice(self.index(left), self.index(right))
        self.materials[rows, columns] = material

    def blob(self, x: float, y: float, width: float, height: float, material: Material, rough: float) -> None:
        """An ellipse with a rough edge becomes a material, lighter at its top."""
        rows = slice(self.index(y - 1.3 * height), self.index(y + 1.3 * height))
        columns = slice(self.index(x - 1.3 * width), self.index(x + 1.3 * width))
        down, across = (self.x[rows, None] - y) / height, (self.x[columns] - x) / width
        relief = self.relief[rows, columns]
        inside = down**2 + across**2 < np.clip(1 + rough * relief, 0.3, 1.69)
        np.copyto(self.materials[rows, columns], np.uint8(material), where=inside)
        np.subtract(relief, 0.8 * down, out=relief, where=inside)
