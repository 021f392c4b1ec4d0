import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.errors import UserError
from repsynth.exports.layers import load_layers, load_rendering, write_layers
from repsynth.geometry.layered_scene import RELEASED, MeshGrid, RenderingOptions, render_scene

from .scenes import cameras, layered_scene

SIZES: list[tuple[MeshGrid, tuple[int, int] | None]] = [
    ("corner", None),
    ("centre", None),
    ("corner", (18, 30)),
    ("centre", (18, 30)),
]


@pytest.mark.parametrize(("grid", "texture"), SIZES)
def test_a_scene_comes_back_as_it_was(
    grid: MeshGrid, texture: tuple[int, int] | None, tmp_path: Path
) -> None:
    layers = layered_scene(grid=grid, texture=texture)
    assert write_layers(layers, RenderingOptions(), tmp_path) == tmp_path / "scene.json"
    found = load_layers(tmp_path)
    assert found.grid == grid
    for name in ("depth", "vertices"):
        assert torch.equal(getattr(found, name), getattr(layers, name))
    assert torch.equal(found.reference.extrinsics, layers.reference.extrinsics)
    assert torch.equal(found.reference.intrinsics, layers.reference.intrinsics)
    torch.testing.assert_close(found.rgba, layers.rgba, atol=1e-6, rtol=0)  # the scene's colours are bytes
    novel = cameras((0.3, -0.2, 0.1))
    torch.testing.assert_close(
        render_scene(found, novel, (20, 24)).features,
        render_scene(layers, novel, (20, 24)).features,
        atol=1e-5,
        rtol=0,
    )


def test_colours_lose_at_most_half_a_level(tmp_path: Path) -> None:
    layers = layered_scene()
    rgba = torch.rand(layers.rgba.shape) * torch.tensor([2, 2, 2, 1])[:, None, None] - torch.tensor(
        [1, 1, 1, 0]
    ).view(3 + 1, 1, 1)
    write_layers(replace(layers, rgba=rgba), RenderingOptions(), tmp_path)
    error = (load_layers(tmp_path).rgba - rgba).abs().amax(dim=(0, 1, 3, 4)) / torch.tensor([2, 2, 2, 1])
    assert (error <= 0.5 / 255 + 1e-6).all()
    assert (error > 0.4 / 255).all()


def test_files_are_what_other_programs_expect(tmp_path: Path) -> None:
    layers = layered_scene()
    write_layers(layers, RELEASED, tmp_path)
    names = {f"layer_0{i}{kind}" for i in range(3) for kind in (".png", "_depth.npy")} | {"scene.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    content = json.loads((tmp_path / "scene.json").read_text())
    assert content["order"] == "back to front"
    assert (content["mesh_size"], content["texture_size"], content["grid"]) == ([9, 12], [9, 12], "corner")
    assert content["depth_range"] == [float(layers.depth.min()), float(layers.depth.max())]
    assert content["composition"].endswith("the farthest fragment of a ray is opaque")
    assert content["reference"]["intrinsics_normalised_fx_fy_cx_cy"] == pytest.approx([0.9, 1.1, 0.48, 0.53])
    assert np.array(content["reference"]["w2c_3x4_opencv"], np.float32).tolist() == (
        layers.reference.extrinsics[0, :3].tolist()
    )
    # The farthest layer comes first, top left is the first pixel, alpha is straight.
    picture = np.asarray(Image.open(tmp_path / "layer_00.png"))
    assert (picture.shape, picture.dtype) == ((9, 12, 4), np.uint8)
    red, green, blue, alpha = layers.rgba[0, 0, :, 0, 0].tolist()
    expected = [(red + 1) / 2 * 255, (green + 1) / 2 * 255, (blue + 1) / 2 * 255, alpha * 255]
    assert picture[0, 0].tolist() == pytest.approx(expected, abs=1e-3)
    depths = [np.load(tmp_path / f"layer_0{i}_depth.npy") for i in range(3)]
    assert depths[0].dtype == np.float32
    assert [depth.mean() for depth in depths] == pytest.approx([6, 3.5, 2], abs=0.1)


def test_the_way_to_render_comes_back_too(tmp_path: Path) -> None:
    write_layers(layered_scene(), replace(RELEASED, farthest_opaque=False), tmp_path)
    assert load_rendering(tmp_path) == replace(RELEASED, farthest_opaque=False)
    assert "nothing behind" in json.loads((tmp_path / "scene.json").read_text())["composition"]


def test_a_scene_with_nan_is_not_written(tmp_path: Path) -> None:
    layers = layered_scene()
    depth = layers.depth.clone()
    depth[0, 1, 2, 3] = torch.nan
    with pytest.raises(
        UserError, match=r"x cannot be written: the scene has NaN or infinite depths; look at"
    ):
        write_layers(replace(layers, depth=depth), RenderingOptions(), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def edited(folder: Path, **changes: object) -> None:
    path = folder / "scene.json"
    content: dict[str, Any] = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda folder: (folder / "scene.json").unlink(),
            "{folder} has no scene.json; expected a folder that `repsynth predict` wrote.",
        ),
        (
            lambda folder: (folder / "scene.json").write_text("{"),
            "{folder}/scene.json is not valid JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
            "(char 1)); export the scene again.",
        ),
        (
            lambda folder: edited(folder, format="other"),
            "{folder}/scene.json does not describe layers; expected its 'format' to be 'repsynth layers'.",
        ),
        (
            lambda folder: edited(folder, version=2),
            "{folder}/scene.json has version 2 of the format; this program reads version 1.",
        ),
        (
            lambda folder: edited(folder, grid=None),
            "{folder}/scene.json lacks 'grid'; export the scene again.",
        ),
        (
            lambda folder: (folder / "layer_01.png").unlink(),
            "{folder}/layer_01.png is missing, but scene.json names it; export the scene again.",
        ),
        (
            lambda folder: damage(folder / "layer_01.png"),
            "{folder}/layer_01.png is damaged or was changed: its SHA-256 is not the one in scene.json; export the "
            "scene again.",
        ),
        (
            lambda folder: damage(folder / "layer_02_depth.npy"),
            "{folder}/layer_02_depth.npy is damaged or was changed: its SHA-256 is not the one in scene.json; "
            "export the scene again.",
        ),
        (
            lambda folder: edited(folder, mesh_size=[9, 13]),
            "{folder}/layer_00_depth.npy has [9, 12] elements; scene.json says [9, 13].",
        ),
        (
            lambda folder: edited(folder, texture_size=[9, 13]),
            "{folder}/layer_00.png has [9, 12] elements; scene.json says [9, 13].",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_has_its_sentence(
    spoil: Callable[[Path], None], sentence: str, tmp_path: Path
) -> None:
    write_layers(layered_scene(), RenderingOptions(), tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=f"^{re.escape(sentence.format(folder=tmp_path))}$"):
        load_layers(tmp_path)
