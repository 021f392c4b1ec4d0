"""What procedural landscapes are made of: materials, how they meet light, and which class of a map each belongs to."""

from enum import IntEnum
from typing import NamedTuple

CLASSES = ("sky", "grass", "ground", "mountains", "water", "buildings", "trees", "roads", "humans")
"""Of segmentation maps, in the order of their numbers."""


class Material(IntEnum):
    """What a place is made of."""

    SKY = 0
    FAR = 1
    MIDDLE = 2
    NEAR = 3
    SNOW = 4
    WATER = 5
    FOREST = 6
    CROWN = 7
    TRUNK = 8
    GRASS = 9
    GROUND = 10
    ROAD = 11
    PLASTER = 12
    BRICK = 13
    WINDOW = 14
    LIT_WINDOW = 15
    CLOTHES = 16


class Surface(NamedTuple):
    """How a material meets light."""

    shown: str
    """Its class."""
    albedo: tuple[float, float, float]
    """As displayed, RGB."""
    up: float
    """How much of the sun it gets while it is smooth."""
    contrast: float
    """How much light changes with the relief, as a share."""
    distance: float
    """Through which one sees it, in any unit."""
    emission: float = 0.0
    """Of lamps."""


SURFACES = {
    Material.SKY: Surface("sky", (0, 0, 0), 0, 0, 0),
    Material.FAR: Surface("mountains", (0.56, 0.56, 0.58), 0.7, 0.42, 0.75),
    Material.MIDDLE: Surface("mountains", (0.50, 0.50, 0.44), 0.7, 0.46, 0.38),
    Material.NEAR: Surface("mountains", (0.46, 0.47, 0.36), 0.7, 0.50, 0.14),
    Material.SNOW: Surface("mountains", (0.93, 0.94, 0.96), 0.8, 0.26, 0.6),
    Material.WATER: Surface("water", (0.22, 0.34, 0.38), 0.25, 0.0, 0.0),
    Material.FOREST: Surface("trees", (0.28, 0.38, 0.22), 0.55, 0.40, 0.2),
    Material.CROWN: Surface("trees", (0.36, 0.50, 0.22), 0.65, 0.50, 0.05),
    Material.TRUNK: Surface("trees", (0.34, 0.27, 0.20), 0.5, 0.35, 0.05),
    Material.GRASS: Surface("grass", (0.44, 0.56, 0.30), 0.85, 0.32, 0.0),
    Material.GROUND: Surface("ground", (0.62, 0.54, 0.42), 0.85, 0.32, 0.0),
    Material.ROAD: Surface("roads", (0.52, 0.52, 0.54), 0.9, 0.12, 0.0),
    Material.PLASTER: Surface("buildings", (0.84, 0.80, 0.72), 0.7, 0.08, 0.1),
    Material.BRICK: Surface("buildings", (0.66, 0.44, 0.36), 0.7, 0.12, 0.1),
    Material.WINDOW: Surface("buildings", (0.30, 0.36, 0.44), 0.5, 0.05, 0.1),
    Material.LIT_WINDOW: Surface("buildings", (0.32, 0.37, 0.43), 0.5, 0.05, 0.1, 1.0),
    Material.CLOTHES: Surface("humans", (0.45, 0.22, 0.22), 0.7, 0.2, 0.0),
}
