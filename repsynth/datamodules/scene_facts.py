"""What can be found out about one scene by looking at all of it; for `inspection`."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image

from repsynth.datamodules.base import Part
from repsynth.datamodules.images import require_size
from repsynth.datamodules.posed_scene import FilePicture, Picture, PosedScene, UnusableSceneError
from repsynth.datamodules.scene_data import SceneData
from repsynth.datamodules.views import ViewSampling
from repsynth.errors import UserError
from repsynth.geometry.cameras import check_cameras


@dataclass
class SceneFacts:
    """One scene of one part."""

    name: str
    group: str = ""
    """What it must not share with a scene of another part."""
    dropped: str | None = None
    """Why it is left out, in few words; None for a usable scene."""
    faults: list[str] = field(default_factory=list)
    """What is wrong with its cameras, or with all of it, a sentence each."""
    unreadable: list[str] = field(default_factory=list)
    """What is wrong with single pictures, a sentence each."""
    views: int = 0
    missing: int = 0
    """Rows of its camera file without a picture."""
    sizes: Counter[str] = field(default_factory=Counter)
    """Pictures by "width x height"."""
    modes: Counter[str] = field(default_factory=Counter)
    """Pictures in files of their own by colour mode."""
    baselines: tuple[float, float, float] | None = None
    """Least, median and greatest distance of two views of one window, in scene units."""
    depth_range: tuple[float, float] | None = None
    read: int = 0
    """Pictures decoded."""
    seconds: float = 0.0
    """That their decoding took."""


def scene_facts(data: SceneData, part: Part, name: str, fast: bool) -> SceneFacts:
    """Look at a scene: its cameras, and every picture unless it is of no use.

    Args:
        data: the data module.
        part: that the scene belongs to.
        name: of the scene.
        fast: read the heads of pictures only.
    """
    facts = SceneFacts(name, group=name)
    scene = _read(data, part, facts)
    if scene is None:
        return facts
    facts.group = scene.group or name
    facts.views = len(scene.pictures)
    facts.missing = int(scene.numbers[-1] - scene.numbers[0]) + 1 - facts.views
    facts.depth_range = scene.depth_range
    facts.baselines = _baselines(scene, data.views)
    try:
        extrinsics, intrinsics = torch.from_numpy(scene.extrinsics), torch.from_numpy(scene.intrinsics)
        check_cameras(extrinsics, intrinsics, f"{data.dataset}: {name}")
    except UserError as error:
        facts.faults.append(str(error))
    for place, picture in enumerate(scene.pictures):
        # The first is what a run looks at before it starts: the same words, so that it is told once.
        _look_at(
            picture, data, facts, fast, "or use larger pictures" if place else "or set data.on_small: skip"
        )
    facts.faults = [sentence for sentence in facts.faults if sentence not in facts.unreadable]
    return facts


def _read(data: SceneData, part: Part, facts: SceneFacts) -> PosedScene | None:
    """The scene, or None when it is left out or cannot be read; one with small pictures is looked at all the same."""
    scene = None
    try:
        scene = data.reader(part).read(facts.name)
        facts.dropped = data._complaint(part, scene)
    except UnusableSceneError as error:
        facts.dropped = error.why
    except UserError as error:
        facts.faults.append(str(error))
        if scene is None and data.on_bad_scene == "skip":
            facts.dropped = "with unreadable cameras"
    return None if facts.dropped else scene


def _look_at(picture: Picture, data: SceneData, facts: SceneFacts, fast: bool, remedy: str) -> None:
    try:
        started = time.perf_counter()
        if fast:
            size = picture.size()
        else:
            shape = picture.read(data.pictures.convert).shape
            size = shape[1], shape[2]
            facts.read += 1
            facts.seconds += time.perf_counter() - started
        facts.sizes[f"{size[1]} x {size[0]}"] += 1
        facts.modes.update(_modes(picture))
        require_size(picture.label, size, data.image_size, remedy)
    except UserError as error:
        facts.unreadable.append(str(error))


def _modes(picture: Picture) -> Iterator[str]:
    if isinstance(picture, FilePicture):
        with Image.open(picture.path) as opened:
            yield opened.mode


def _baselines(scene: PosedScene, views: ViewSampling) -> tuple[float, float, float] | None:
    """Over all pairs of views that one window can hold."""
    distances = np.linalg.norm(scene.centres[:, None] - scene.centres, axis=-1)
    first, second = np.triu_indices(len(distances), 1)
    near = np.abs(scene.numbers[first] - scene.numbers[second]) < views.window
    found = distances[first[near], second[near]]
    if not len(found):
        return None
    return float(found.min()), float(np.median(found)), float(found.max())
