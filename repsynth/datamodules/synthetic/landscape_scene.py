"""What procedural landscapes show, without its light: which material each place is of, and how rough it is there.

A scene is a function of its number and of which photographs its textures come from. It is laid out in fractions of the
side, so that an image of 64 pixels is about what an image of 256 reduced to 64 is.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from repsynth.datamodules.synthetic.landscape_canvas import Canvas
from repsynth.datamodules.synthetic.landscape_noise import profile
from repsynth.datamodules.synthetic.landscape_surfaces import CLASSES, SURFACES, Material
from repsynth.datamodules.synthetic.textures import Split, photograph

SAMPLES = 2
"""Along each side of a pixel."""


_CLASS_OF = np.array([CLASSES.index(SURFACES[material].shown) for material in Material], dtype=np.int64)
_SHOWN = np.array([SURFACES[material].albedo for material in Material])
_TONES = 0.12
"""By how much a material's colour may differ from scene to scene."""
_PLANTS = (Material.FOREST, Material.CROWN, Material.GRASS)


@dataclass(frozen=True)
class Scene:
    """A landscape without light, n = `SAMPLES` x side samples along each side."""

    materials: np.ndarray
    """[n, n] uint8, `Material`."""
    relief: np.ndarray
    """[n, n] float32 of about mean 0 and deviation 1: how the surface turns to or from the sun, or is light or dark."""
    albedo: np.ndarray
    """[materials, 3] float32 linear."""
    clouds: np.ndarray
    """[rows, n] float32 from 0 for blue sky to 1 for a thick cloud, for the rows that may show sky."""
    thickness: np.ndarray
    """[rows, n] float32 in [0, 1]: how much of a cloud is in its own shade."""
    horizon: float
    """y of the horizon, and of the far shore."""
    sun: float
    """x of the sun."""
    moon: tuple[float, float]
    """x and y of the moon."""
    stars: np.ndarray
    """[S, 3] x and y of the stars, and how bright each is."""
    ripples: np.ndarray
    """[n] float32 in [-1, 1]: of the water, row by row."""

    def classes(self) -> np.ndarray:
        """The segmentation map [side, side] int64, numbers of `CLASSES`."""
        return _CLASS_OF[self.materials[::SAMPLES, ::SAMPLES]]


def build(number: int, side: int, split: Split) -> Scene:
    """Lay out the landscape of a number.

    Args:
        number: from 0; scenes of the two splits differ.
        side: of the image in pixels.
        split: from which parts of the photographs textures are cut.
    """
    rng = np.random.default_rng([0x1A5C, split == "train", number])
    canvas = Canvas(rng, SAMPLES * side, split)
    horizon = rng.uniform(0.36, 0.66)
    sun = rng.uniform(0.12, 0.88)
    _mountains(canvas, horizon, -1.0 if sun > 0.5 else 1.0)
    if rng.random() < 0.6:
        _lake(canvas, horizon)
    else:
        _plain(canvas, horizon)
    clouds, thickness = _clouds(canvas, horizon)
    return Scene(
        canvas.materials,
        canvas.relief,
        _albedo(rng),
        clouds,
        thickness,
        horizon,
        sun,
        (rng.uniform(0.1, 0.9), rng.uniform(0.06, 0.25)),
        rng.random((60, 3)) * np.array([1, horizon, 1]),
        profile(rng, canvas.x, 32, 3, 0.8),
    )


def _mountains(canvas: Canvas, horizon: float, towards: float) -> None:
    """Up to three ranges, the farthest first; `towards` is the sign of slopes that face the sun."""
    rng = canvas.rng
    ranges = [(Material.FAR, 0.30, 0.16), (Material.MIDDLE, 0.18, 0.12), (Material.NEAR, 0.08, 0.07)]
    for material, height, spread in ranges:
        shown, tall, snow = rng.random() < 0.75, rng.uniform(0.4, 1.1), rng.uniform(0.1, 0.5)
        ridge = profile(rng, canvas.x, 3, 6, 0.55)
        if not shown:
            continue
        top = horizon - tall * (height + 2 * spread * ridge)
        rows = canvas.fill(top, horizon, material, slope=towards)
        if material == Material.FAR and tall > 0.7:
            line = horizon - tall * (height + 2 * spread * snow) + 0.012 * canvas.relief[rows]
            high = (canvas.materials[rows] == Material.FAR) & (canvas.x[rows, None] < line)
            np.copyto(canvas.materials[rows], np.uint8(Material.SNOW), where=high)


def _lake(canvas: Canvas, horizon: float) -> None:
    """Water from the horizon down, things on its far shore, and perhaps a bank in front."""
    rng = canvas.rng
    _far_shore(canvas, horizon)
    canvas.box(0, horizon, 1, 1, Material.WATER)
    bank, middle, tilt = rng.random() < 0.6, rng.uniform(0.8, 0.95), rng.uniform(-0.2, 0.2)
    line = middle + tilt * (canvas.x - 0.5) + 0.05 * profile(rng, canvas.x, 4, 5, 0.55)
    ground = Material.GRASS if rng.random() < 0.6 else Material.GROUND
    person = rng.random() < 0.3
    where = rng.uniform(0.15, 0.85)
    if bank:
        canvas.fill(line.astype(np.float32), 1, ground)
        _texture(canvas, middle - 0.2)
        if person:
            _person(canvas, where, float(np.interp(where, canvas.x, line)) + 0.03, 0.11)


def _plain(canvas: Canvas, horizon: float) -> None:
    """Grass and bare ground in patches, perhaps a road, trees and people that stand on it."""
    rng = canvas.rng
    rows = slice(canvas.index(horizon), canvas.samples)
    _far_shore(canvas, horizon)
    patches = canvas.noise(2, 0.5)[rows]
    bare = rng.uniform(-1.2, 1.2)
    canvas.materials[rows] = np.where(patches > bare, np.uint8(Material.GRASS), np.uint8(Material.GROUND))
    _texture(canvas, horizon)
    road, vanishing, end = rng.random() < 0.6, rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.9)
    width, bend = rng.uniform(0.1, 0.22), rng.uniform(-0.25, 0.25)
    if road:
        near = (canvas.x[rows, None] - horizon) / (1 - horizon)
        middle = vanishing + (end - vanishing) * near + bend * near * (1 - near)
        on_it = np.abs(canvas.x - middle) < 0.008 + width * near
        np.copyto(canvas.materials[rows], np.uint8(Material.ROAD), where=on_it)
    feet = np.sort(rng.uniform(0.02, 0.3, rng.integers(0, 5)))
    for foot in feet:
        _tree(canvas, rng.uniform(0, 1), horizon + foot, 0.12 + 1.1 * foot)
    if rng.random() < 0.4:
        foot = rng.uniform(0.05, 0.25)
        _person(canvas, rng.uniform(0.1, 0.9), horizon + foot, 0.04 + 0.5 * foot)


def _far_shore(canvas: Canvas, horizon: float) -> None:
    """Forest, buildings and single trees along the horizon, each perhaps."""
    rng = canvas.rng
    if rng.random() < 0.6:
        _forest(canvas, horizon)
    if rng.random() < 0.65:
        _town(canvas, horizon)
    for _ in range(rng.integers(0, 4)):
        _tree(canvas, rng.uniform(0, 1), horizon, rng.uniform(0.06, 0.13))


def _forest(canvas: Canvas, horizon: float) -> None:
    """Firs over a part of the width."""
    rng = canvas.rng
    count = 40
    left, width = rng.uniform(-0.2, 0.6), rng.uniform(0.3, 0.9)
    places = left + width * rng.random(count)
    heights = rng.uniform(0.03, 0.09) * rng.uniform(0.5, 1.3, count)
    steep = rng.uniform(2.5, 4.5)
    spikes = (heights[:, None] - steep * np.abs(canvas.x - places[:, None])).max(0)
    canvas.fill((horizon - np.maximum(spikes, 0)).astype(np.float32), horizon, Material.FOREST)


def _town(canvas: Canvas, horizon: float) -> None:
    """Houses with rows of windows, of which some are lit at night."""
    rng = canvas.rng
    middle, count = rng.uniform(0.2, 0.8), int(rng.integers(2, 9))
    tall = rng.uniform(0.05, 0.2)
    for _ in range(count):
        width, height = rng.uniform(0.05, 0.12), tall * rng.uniform(0.5, 1.2)
        left = middle + rng.uniform(-0.3, 0.3) - width / 2
        wall = Material.PLASTER if rng.random() < 0.6 else Material.BRICK
        canvas.box(left, horizon - height, left + width, horizon, wall)
        across, down = max(int(width / 0.022), 1), max(int(height / 0.028), 1)
        lit = rng.random((down, across)) < 0.55
        columns = canvas.spans(left, width / across, across, 0.25, 0.5)
        rows = canvas.spans(horizon - height, height / (down + 0.3), down, 0.3, 0.55)
        for row, column in np.ndindex(down, across):
            window = Material.LIT_WINDOW if lit[row, column] else Material.WINDOW
            canvas.materials[rows[row], columns[column]] = window


def _tree(canvas: Canvas, x: float, foot: float, height: float) -> None:
    rng = canvas.rng
    canvas.box(x - 0.035 * height, foot - 0.5 * height, x + 0.035 * height, foot, Material.TRUNK)
    for _ in range(3):
        dx, dy, size = rng.uniform(-0.16, 0.16), rng.uniform(0.5, 0.75), rng.uniform(0.2, 0.28)
        canvas.blob(x + dx * height, foot - dy * height, size * height, size * height, Material.CROWN, 0.25)


def _person(canvas: Canvas, x: float, foot: float, height: float) -> None:
    canvas.blob(x, foot - 0.42 * height, 0.14 * height, 0.42 * height, Material.CLOTHES, 0.0)
    canvas.blob(x, foot - 0.9 * height, 0.09 * height, 0.11 * height, Material.CLOTHES, 0.0)


def _texture(canvas: Canvas, horizon: float) -> None:
    """Give the relief below a horizon the look of a photographed lawn or of gravel, seen at an angle."""
    rng = canvas.rng
    source = _brightness("grass.png" if rng.random() < 0.5 else "gravel.png", canvas.split)
    size = rng.uniform(0.5, 1) * min(source.width, source.height)
    left, top = rng.uniform(0, source.width - size), rng.uniform(0, source.height - size)
    crop = source.resize(
        (canvas.samples, canvas.samples), Image.Resampling.BILINEAR, box=(left, top, left + size, top + size)
    )
    rows = slice(canvas.index(horizon), canvas.samples)
    near = (canvas.x[rows] - horizon) / (1 - horizon)
    far = 1 / (near + 0.45)
    lines = (far - far[-1]) / (far[0] - far[-1]) * (canvas.samples - 1)
    texture = np.asarray(crop, dtype=np.float32)[lines.astype(int)]
    mean, spread = float(texture.mean()), float(texture.std())
    # What is far is seen too small to be rough.
    strength = np.minimum(0.2 + 2.5 * near, 1.2) / max(spread, 1.0)
    soil = (canvas.materials[rows] == Material.GRASS) | (canvas.materials[rows] == Material.GROUND)
    flat = 0.45 * canvas.relief[rows]
    np.copyto(canvas.relief[rows], flat + (texture - mean) * strength[:, None], where=soil)


@cache
def _brightness(name: str, split: Split) -> Image.Image:
    return photograph(name, split).convert("L")


def _clouds(canvas: Canvas, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """Cover and thickness of clouds for the rows above the horizon, flatter and closer together towards it."""
    cover = canvas.rng.uniform(-1.3, 1.3)
    field_ = canvas.noise(4, 0.6)
    rows = canvas.index(horizon)
    up = (horizon - canvas.x[:rows]) / horizon
    far = 1 / (up + 0.7)
    lines = (far - 1 / 1.7) / (1 / 0.7 - 1 / 1.7) * (canvas.samples - 1)
    seen = field_[lines.astype(int)] + np.float32(cover)
    return np.clip(seen * 0.9, 0, 1), np.clip(seen * 0.7 - 0.25, 0, 1)


def _albedo(rng: np.random.Generator) -> np.ndarray:
    """Linear colours of the materials in one scene: some are greener, drier or darker."""
    shown = _SHOWN.copy()
    tones = rng.uniform(-_TONES, _TONES, shown.shape) / 2 + rng.uniform(-_TONES, _TONES, (len(shown), 1))
    dry = rng.uniform(-0.10, 0.08)
    shown[list(_PLANTS), 0] += dry
    return (np.clip(shown * (1 + tones), 0, 1) ** 2).astype(np.float32)
