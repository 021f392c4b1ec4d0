"""Everything that is written of one predicted sample, and where."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from repsynth.exports.files import file_name, write_json
from repsynth.exports.gltf import write_gltf
from repsynth.exports.layers import write_layers
from repsynth.exports.photo_files import write_photo
from repsynth.exports.pictures import write_depth, write_frames, write_views
from repsynth.exports.prediction import PredictedScenes, Prediction
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers


def write_sample(prediction: Prediction, index: int, folder: Path, fps: int) -> list[Path]:
    """Write one sample of a prediction and return the files, the scene's layers as their description.

    Args:
        prediction: see `exports.prediction.Prediction`.
        index: of the sample in the batch.
        folder: gets the sample's file, else `<id>.mp4` or `<id>.png`, and for all else a folder `<id>`.
        fps: frames per second of videos.

    Raises:
        UserError: a scene cannot be written.
    """
    path = folder / name_of(prediction, index)
    depth = prediction["depth"][index] if "depth" in prediction else None
    frames = prediction["frames"][index]
    if "files" in prediction and len(frames) == 1:
        written = [write_photo(frames[0], folder, prediction["files"][index])]
    elif "names" in prediction:
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


def name_of(prediction: Prediction, index: int) -> str:
    """The name that a sample's files share, without suffix; with files of their own that of the sample's file."""
    if "files" not in prediction:
        return file_name(prediction["ids"][index])
    name = Path(prediction["files"][index].name)
    return name.stem if len(prediction["frames"][index]) > 1 else name.name


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
