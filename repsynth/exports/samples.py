"""Everything that is written of one predicted sample, and where."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from repsynth.exports.files import file_name, write_json
from repsynth.exports.gltf import write_gltf
from repsynth.exports.layers import write_layers
from repsynth.exports.pictures import write_depth, write_frames, write_views
from repsynth.exports.prediction import PredictedScenes, Prediction
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers


def write_sample(prediction: Prediction, index: int, folder: Path, fps: int) -> list[Path]:
    """Write one sample of a prediction and return the files, the scene's layers as their description.

    Args:
        prediction: see `exports.prediction.Prediction`.
        index: of the sample in the batch.
        folder: gets `<id>.mp4` or `<id>.png`, and for all else a folder `<id>`.
        fps: frames per second of videos.

    Raises:
        UserError: a scene cannot be written.
    """
    path = folder / file_name(prediction["ids"][index])
    depth = prediction["depth"][index] if "depth" in prediction else None
    frames = prediction["frames"][index]
    if "names" in prediction:
        written = write_views(frames, depth, prediction["names"], path)
    else:
        written = write_frames(frames, path, fps)
        if depth is not None:
            written += write_depth(depth, path / "depth", fps)
    if "scene" in prediction:
        written += _write_scene(prediction["scene"], index, path)
    if "figures" in prediction:
        write_json(path / "figures.json", dict(prediction["figures"][index]))
        written.append(path / "figures.json")
    return written


def _write_scene(scenes: PredictedScenes, index: int, folder: Path) -> list[Path]:
    layers = one_scene(scenes.layers, index)
    written = []
    if "layers" in scenes.formats:
        written.append(write_layers(layers, scenes.rendering, folder / "layers"))
    if "gltf" in scenes.formats:
        written.append(write_gltf(layers, scenes.rendering.farthest_opaque, folder / "scene.glb"))
    return written


def one_scene(layers: Layers, index: int) -> Layers:
    """Scene `index` of B, as a batch of one."""
    part = slice(index, index + 1)
    values = {field.name: getattr(layers, field.name) for field in fields(layers)}
    batched: dict[str, Any] = {
        name: value[part] for name, value in values.items() if isinstance(value, Tensor | Cameras)
    }
    return replace(layers, **batched)
