"""Procedural scenes: flat textured pieces (walls, floor, cards, boxes) at known places, and a camera path.

A scene lives in the frame of its middle camera: x right, y down, z forward; depths are about 1 to 13 units.
"""

from dataclasses import dataclass

import numpy as np

from repsynth.datamodules.synthetic.textures import Split, random_texture

HALF_VIEW = np.tan(np.radians(55 / 2))
"""Half the width of the view at depth 1: a horizontal field of view of 55 degrees."""


@dataclass(frozen=True)
class Piece:
    """A flat rectangle or the ellipse in it: origin + a * edges[0] + b * edges[1] for a and b in [0, 1]."""

    origin: np.ndarray
    """[3] the corner where the texture's first texel lies."""
    edges: np.ndarray
    """[2, 3] along the texture's width and along its height."""
    texture: np.ndarray
    """[h, w, 3] float32 in [0, 1]; bilinear between texel centres, constant beyond the outermost."""
    round: bool = False


def random_scene(rng: np.random.Generator, width: int, aspect: float, split: Split) -> list[Piece]:
    """A wall that fills every view, perhaps a floor, three to five cards, one or two boxes.

    Args:
        rng: all choices come from it.
        width: of the images in pixels; textures get about one texel per pixel, so that they do not alias.
        aspect: height / width of the images.
        split: which parts of the photographs are cut.
    """
    brush = _Brush(rng, width, split)
    floor = rng.uniform(0.9, 1.5) * aspect if rng.random() < 0.6 else None
    pieces = [_wall(rng, brush, aspect)]
    if floor is not None:
        corners = np.array([[-9.0, floor, 1.8], [18.0, 0.0, 0.0], [0.0, 0.0, 12.0]])
        pieces.append(brush.paint(corners[0], corners[1:]))
    for _ in range(rng.integers(1, 3)):
        pieces += _box(rng, brush, aspect, floor)
    cards = rng.integers(3, 6)
    for place in (np.arange(cards) + rng.random(cards)) / cards:
        pieces.append(_card(rng, brush, aspect, depth=1.7 * (6.5 / 1.7) ** place))
    return pieces


def random_path(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Cameras that move sideways with a little forward motion and rotation, world to camera [frames, 4, 4].

    Neighbours are 0.08 to 0.12 units apart: at 64 pixels width and 1.5 to 12 units depth a disparity of about
    0.4 to 5 pixels.
    """
    step = rng.uniform(0.08, 0.12)
    tilt = np.radians(rng.uniform(-25, 25))
    heading = np.array([np.cos(tilt), np.sin(tilt), rng.uniform(-0.25, 0.25)])
    heading *= step * rng.choice([-1, 1]) / np.linalg.norm(heading)
    gaze = rng.uniform(0, 0.7)  # 0 keeps the direction, 1 keeps a point at depth 5 in the middle
    along = np.arange(frames) - (frames - 1) / 2
    centres = along[:, None] * heading + rng.normal(0, 0.05 * step, (frames, 3))
    angles = gaze * centres[:, :2] / 5 + np.radians(rng.normal(0, 0.3, (frames, 2)))
    roll = np.radians(rng.normal(0, 0.3, frames))
    return np.stack(
        [_pose(c, yaw, pitch, r) for c, (yaw, pitch), r in zip(centres, angles, roll, strict=True)]
    )


def intrinsics(aspect: float) -> np.ndarray:
    """Normalised intrinsics [3, 3] of every camera: square pixels, the principal point in the middle."""
    focal = 0.5 / HALF_VIEW
    return np.array([[focal, 0, 0.5], [0, focal / aspect, 0.5], [0, 0, 1]])


@dataclass(frozen=True)
class _Brush:
    """Makes pieces with a texture of about one texel per pixel as seen from the middle camera."""

    rng: np.random.Generator
    width: int
    split: Split

    def paint(
        self, origin: np.ndarray, edges: np.ndarray, shade: float = 1.0, *, round: bool = False
    ) -> Piece:
        depth = max(origin[2] + edges[:, 2].sum() / 2, 1)
        pixels = np.linalg.norm(edges, axis=1) * self.width / (2 * HALF_VIEW * depth)
        w, h = np.clip(np.round(pixels), 4, 4 * self.width).astype(int)
        return Piece(origin, edges, shade * random_texture(self.rng, int(w), int(h), self.split), round)


def _wall(rng: np.random.Generator, brush: _Brush, aspect: float) -> Piece:
    """The background: slanted by up to 18 and 8 degrees, wide enough for all cameras of a path."""
    depth = rng.uniform(6.5, 9.5)
    turn = _rotation(np.radians(rng.uniform(-18, 18)), np.radians(rng.uniform(-8, 8)), 0)
    half = (1.45 * HALF_VIEW * depth + 2) * np.array([1, max(aspect, 0.6)])
    return _centred(brush, np.array([0, 0, depth]), turn, half)


def _card(rng: np.random.Generator, brush: _Brush, aspect: float, depth: float) -> Piece:
    x, y = rng.uniform(-0.85, 0.85, 2) * HALF_VIEW * depth * np.array([1, aspect])
    size = rng.uniform(0.2, 0.34 if depth < 2.5 else 0.5) * depth
    ratio = rng.uniform(0.65, 1.6)
    turn = _rotation(*np.radians(rng.uniform([-35, -20, -30], [35, 20, 30])))
    half = size / 2 * np.array([np.sqrt(ratio), 1 / np.sqrt(ratio)])
    return _centred(brush, np.array([x, y, depth]), turn, half, round=bool(rng.random() < 0.3))


def _box(rng: np.random.Generator, brush: _Brush, aspect: float, floor: float | None) -> list[Piece]:
    """A box with a side towards the viewer, each side shaded by its direction; without its unseen back."""
    depth = rng.uniform(2.8, 6)
    half = rng.uniform(0.08, 0.2, 3) * depth
    x = rng.uniform(-0.8, 0.8) * HALF_VIEW * depth
    y = floor - half[1] if floor is not None else rng.uniform(-0.7, 0.7) * HALF_VIEW * depth * aspect
    axes = (
        _rotation(np.radians(rng.uniform(-45, 45)), 0, 0).T * half[:, None]
    )  # rows: half edges in the world
    centre = np.array([x, y, depth])
    sides = [(0, 1, -axes[2]), (2, 1, axes[0]), (2, 1, -axes[0]), (0, 2, -axes[1]), (0, 2, axes[1])]
    pieces = []
    for first, second, outwards in sides:
        edges = 2 * axes[[first, second]]
        pieces.append(
            brush.paint(centre + outwards - edges.sum(axis=0) / 2, edges, shade=rng.uniform(0.55, 1))
        )
    return pieces


def _centred(
    brush: _Brush, centre: np.ndarray, turn: np.ndarray, half: np.ndarray, *, round: bool = False
) -> Piece:
    edges = 2 * half[:, None] * turn.T[:2]
    return brush.paint(centre - edges.sum(axis=0) / 2, edges, round=round)


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turn about y, then x, then z: [3, 3]."""
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def _pose(centre: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """World to camera [4, 4] of a camera at `centre`; a positive yaw turns scene points to the right."""
    pose = np.eye(4)
    pose[:3, :3] = _rotation(yaw, -pitch, roll)
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose
