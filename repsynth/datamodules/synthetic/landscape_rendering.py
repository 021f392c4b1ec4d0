"""The picture of a procedural landscape in a light.

Everything that depends on the light is a table over materials, or a sky; what is left for each sample are two
look-ups and one product.
"""

import numpy as np

from repsynth.datamodules.synthetic.landscape_light import Colours, Light, colours
from repsynth.datamodules.synthetic.landscape_scene import SAMPLES, Scene
from repsynth.datamodules.synthetic.landscape_surfaces import SURFACES, Material

VERSION = 1
"""Changes whenever a pixel of any landscape does."""

_FRAME = 28.0
"""Degrees from the horizon to the upper edge."""
_SUN_SIZE = 0.022
"""Radius of the sun, and of the moon, in fractions of the side."""

_UP = np.array([SURFACES[material].up for material in Material], dtype=np.float32)[:, None]
_CONTRAST = np.array([SURFACES[material].contrast for material in Material], dtype=np.float32)[:, None]
_DISTANCE = np.array([SURFACES[material].distance for material in Material], dtype=np.float32)[:, None]
_EMISSION = np.array([SURFACES[material].emission for material in Material], dtype=np.float32)[:, None]


def render(scene: Scene, light: Light) -> np.ndarray:
    """The picture of a scene in a light, [3, side, side] uint8 RGB."""
    shades = colours(light)
    picture = _surfaces(scene, shades, light)
    rows = len(scene.clouds)
    sky = scene.materials[:rows] == Material.SKY
    np.copyto(picture[:, :rows], _sky(scene, shades, light), where=sky)
    _pale_ground(picture, scene, shades, light)
    _mirror(picture, scene, shades)
    return _displayed(picture)


def _surfaces(scene: Scene, shades: Colours, light: Light) -> np.ndarray:
    """Everything but sky and water, [3, n, n] float32 linear."""
    # The lower the sun, the more it matters which way a surface turns.
    grazing = np.float32(1.5 - np.clip(light.elevation, 0, 40) / 50)
    smooth = scene.albedo * (shades.ambient + _UP * shades.direct)
    rough = scene.albedo * _CONTRAST * (0.5 * shades.ambient + grazing * _UP * shades.direct)
    through = np.exp(-_DISTANCE * np.float32(0.35 + 1.6 * light.haze))
    veil = _veil(shades)
    smooth = through * (smooth + _EMISSION * shades.lamp) + (1 - through) * veil
    rough = through * rough
    # A row for each material: one look-up gives three channels; relief is bounded so that no colour is below black.
    relief = np.clip(scene.relief, -1.8, 1.8)
    materials = scene.materials.astype(np.intp)
    picture, base = np.empty((3, *relief.shape), dtype=np.float32), np.empty_like(relief)
    for channel in range(3):
        # With a mode that never raises, a look-up writes to its place.
        np.take(rough[:, channel], materials, out=picture[channel], mode="clip")
        picture[channel] *= relief
        picture[channel] += np.take(smooth[:, channel], materials, out=base, mode="clip")
    return picture


def _sky(scene: Scene, shades: Colours, light: Light) -> np.ndarray:
    """The rows above the horizon, [3, rows, n] float32 linear."""
    rows, count = scene.clouds.shape
    x = _middles(count)
    y = x[:rows]
    up = (1 - y / scene.horizon) ** 0.7
    blue = shades.horizon[:, None] + up * (shades.zenith - shades.horizon)[:, None]
    sun_y = scene.horizon * (1 - light.elevation / _FRAME)
    far_y, far_x = np.abs(y - sun_y), np.abs(x - np.float32(scene.sun))
    glow = np.exp(-far_y / 0.22)[:, None] * np.exp(-((far_x / 0.35) ** 2))
    sky = blue[..., None] + shades.glow[:, None, None] * glow * np.float32(0.5)
    _add_stars(sky, scene.stars, shades.stars)
    _disc(sky, scene.sun, sun_y, x, shades.glow * 2 + shades.direct)
    _disc(sky, *scene.moon, x, shades.stars * 0.8)
    cloud = (
        shades.cloud_lit[:, None, None]
        + scene.thickness * (shades.cloud_shade - shades.cloud_lit)[:, None, None]
    )
    cloud += shades.glow[:, None, None] * glow * np.float32(0.25)
    sky += scene.clouds * (cloud - sky)
    return sky


def _add_stars(sky: np.ndarray, stars: np.ndarray, colour: np.ndarray) -> None:
    """Add squares of one sample of an image of 64 pixels, and of the same size in larger images."""
    if not colour.any():
        return
    count = sky.shape[2]
    size = max(count // 128, 1)
    columns, rows = (stars[:, :2].T * (count - size)).astype(int)
    inside = rows < sky.shape[1] - size
    shine = colour[:, None] * (0.5 * stars[inside, 2]).astype(np.float32)
    for down, across in np.ndindex(size, size):
        sky[:, rows[inside] + down, columns[inside] + across] += shine


def _disc(sky: np.ndarray, at_x: float, at_y: float, x: np.ndarray, colour: np.ndarray) -> None:
    """Add a bright disc to the sky."""
    if not colour.any() or at_y < -_SUN_SIZE:
        return
    rows = slice(*np.searchsorted(x[: sky.shape[1]], [at_y - _SUN_SIZE, at_y + _SUN_SIZE]))
    columns = slice(*np.searchsorted(x, [at_x - _SUN_SIZE, at_x + _SUN_SIZE]))
    inside = (x[rows, None] - at_y) ** 2 + (x[columns] - at_x) ** 2 < _SUN_SIZE**2
    sky[:, rows, columns] += inside * colour[:, None, None].astype(np.float32)


def _pale_ground(picture: np.ndarray, scene: Scene, shades: Colours, light: Light) -> None:
    """Veil the ground towards the horizon."""
    count = picture.shape[1]
    y = _middles(count)
    first = int(np.searchsorted(y, scene.horizon))
    near = (y[first:] - scene.horizon) / (1 - scene.horizon)
    through = np.exp(-np.float32(0.1 + 0.5 * light.haze) * np.exp(-near / 0.2))
    flat = scene.materials[first:]
    flat = (flat >= Material.GRASS) & (flat <= Material.ROAD)
    veiled = picture[:, first:] * through[:, None] + (_veil(shades)[:, None] * (1 - through))[..., None]
    np.copyto(picture[:, first:], veiled, where=flat)


def _mirror(picture: np.ndarray, scene: Scene, shades: Colours) -> None:
    """Water shows what is above the far shore, upside down and rippled, over its own colour."""
    water = scene.materials == Material.WATER
    rows = np.flatnonzero(water.any(1))
    if not len(rows):
        return
    count = len(water)
    y = _middles(count)[rows]
    near = (y - scene.horizon) / (1 - scene.horizon)
    ripples = scene.ripples[rows]
    # What lies above the picture is unknown: go back down from its upper edge.
    seen = np.abs(2 * scene.horizon - y + 0.05 * near * ripples)
    above = np.clip((seen * count).astype(int), 0, len(scene.clouds) - 1)
    # The steeper one looks down, the less is mirrored.
    share = (0.82 - 0.35 * near) * (1 + 0.18 * ripples * np.minimum(4 * near, 1))
    own = scene.albedo[Material.WATER] * (shades.ambient + 0.35 * shades.direct)
    mirrored = picture[:, above] * share[:, None].astype(np.float32) + (own[:, None] * (1 - share))[..., None]
    np.copyto(picture[:, rows[0] : rows[-1] + 1], mirrored, where=water[rows[0] : rows[-1] + 1])


def _veil(shades: Colours) -> np.ndarray:
    """The colour of air between."""
    return 0.75 * shades.horizon + 0.25 * shades.ambient


def _displayed(picture: np.ndarray) -> np.ndarray:
    """The mean over the samples of each pixel, [3, side, side] uint8."""
    count = picture.shape[1]
    rows = picture[:, ::SAMPLES] + picture[:, 1::SAMPLES]
    mean = rows[..., ::SAMPLES] + rows[..., 1::SAMPLES]
    np.clip(mean, 0, SAMPLES**2, out=mean)
    np.sqrt(mean, out=mean)
    mean *= np.float32(255 / SAMPLES)
    mean += np.float32(0.5)
    assert mean.shape == (3, count // SAMPLES, count // SAMPLES)
    return mean.astype(np.uint8)


def _middles(count: int) -> np.ndarray:
    return ((np.arange(count) + 0.5) / count).astype(np.float32)
