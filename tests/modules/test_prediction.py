import json
import re
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from repsynth.batches import PosedViews
from repsynth.callbacks.media import FrameWriter
from repsynth.errors import UserError
from repsynth.exports.layers import load_layers, load_rendering
from repsynth.geometry import paths
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import RenderingOptions, render_scene
from repsynth.modules.prediction import PredictionOptions, check_options, planned, seen_depth

from .flat_method import Flat, Shapeless, in_one_place, posed_views, without_opacity


def plan_of(batch: PosedViews, **options: Any) -> list[Cameras]:  # noqa: ANN401
    return planned(PredictionOptions(**options), batch).cameras


def same(found: list[Cameras], expected: Any) -> bool:  # noqa: ANN401
    pairs = zip(found, expected, strict=True)
    return all(torch.equal(first.extrinsics, second.extrinsics) for first, second in pairs)


def test_each_path_is_planned_with_its_options() -> None:
    batch = posed_views(views=3)
    sources = Cameras(batch["source"]["extrinsics"], batch["source"]["intrinsics"])
    first, last = sources[:, 0], sources[:, 2]
    near = torch.full((2,), 2.5)
    assert same(plan_of(batch), paths.sway(first, last, 60, 1.5))
    assert same(plan_of(batch, frames=5, reach=0.5), paths.sway(first, last, 5, 0.5))
    assert same(plan_of(batch, path="interpolate", frames=4), paths.interpolate(sources, 4, True))
    assert same(
        plan_of(batch, path="interpolate", frames=4, there_and_back=False),
        paths.interpolate(sources, 4, False),
    )
    assert same(
        plan_of(batch, path="dolly", frames=4), paths.dolly(first, batch["median_depth"], 4, 0.3, True)
    )
    assert same(
        plan_of(batch, path="dolly", frames=4, reach=-0.2, focus=2.5, there_and_back=False),
        paths.dolly(first, near, 4, -0.2, False),
    )
    assert same(
        plan_of(batch, path="spiral", frames=4),
        paths.spiral(sources, batch["median_depth"], 4, (1, 0.5, 0), 1),
    )
    assert same(
        plan_of(batch, path="spiral", frames=4, focus=2.5, radii=(0.1, 0.2, 0.3), turns=2),
        paths.spiral(sources, near, 4, (0.1, 0.2, 0.3), 2),
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frames": 0}, "model.prediction.frames is 0; expected at least 1"),
        ({"turns": 0}, "model.prediction.turns is 0; expected at least 1"),
        ({"size": (0, 5)}, "model.prediction.size is 0; expected at least 1"),
        (
            {"focus": 0.0},
            "model.prediction.focus is 0.0; expected a depth above 0, in scene units, or null.",
        ),
        (
            {"path": "dolly", "reach": 1.0},
            "model.prediction.reach is 1.0; a dolly goes this share of the way into the scene: expected less than 1.",
        ),
        (
            {"path": "spiral", "there_and_back": False},
            "model.prediction.there_and_back is false, but the path spiral always returns to its start; leave it true, "
            "or choose interpolate or dolly.",
        ),
        (
            {"path": "cameras"},
            "model.prediction.path is cameras and model.prediction.cameras null; single views need both path: cameras "
            "and the file, other paths neither.",
        ),
        (
            {"cameras": "x.json"},
            "model.prediction.path is sway and model.prediction.cameras x.json; single views need both path: cameras "
            "and the file, other paths neither.",
        ),
    ],
)
def test_impossible_options_are_refused_with_the_method(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        Flat(**options)
    with pytest.raises(UserError):
        check_options(PredictionOptions(**options))


@pytest.mark.parametrize("path", ["sway", "interpolate", "spiral"])
def test_paths_that_need_a_baseline_name_the_scene_that_has_none(path: str) -> None:
    for batch, name in ((in_one_place(posed_views()), "scene/1"), (posed_views(views=1), "scene/0")):
        sentence = (
            f"the path {path} is measured by the distance between source views, but those of {name} are in one place; "
            "choose model.prediction.path dolly, or cameras in scene units."
        )
        with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
            plan_of(batch, path=path)
    assert len(plan_of(posed_views(views=1), path="dolly", frames=3)) == 3


def test_an_unknown_median_depth_asks_for_a_focus() -> None:
    batch = posed_views()
    batch["median_depth"][1] = torch.nan
    with pytest.raises(
        UserError, match=r"^the median depth of scene/1 is nan, so the path dolly has nothing to"
    ):
        plan_of(batch, path="dolly")
    assert len(plan_of(batch, path="dolly", focus=3.0)) == 60
    assert len(plan_of(batch, path="sway")) == 60


def test_a_spiral_may_not_reach_its_focus() -> None:
    batch = posed_views()  # baseline 0.5, median depth 4
    assert len(plan_of(batch, path="spiral", radii=(1.0, 1.0, 7.9))) == 60
    sentence = (
        "model.prediction.radii [1.0, 1.0, 8.0] move the spiral of scene/0 up to or past the point it looks at, at "
        "depth 4; make the third radius smaller, or give a farther model.prediction.focus."
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        plan_of(batch, path="spiral", radii=(1.0, 1.0, 8.0))


def test_frames_are_the_methods_own_pictures_in_bytes_on_the_host() -> None:
    batch, method = posed_views(), Flat(path="interpolate", frames=3, there_and_back=False)
    prediction = method.predict_step(batch, 0)
    frames = prediction["frames"]
    assert isinstance(frames, torch.Tensor)
    assert (frames.shape, frames.dtype, frames.device.type) == ((2, 3, 3, 12, 16), torch.uint8, "cpu")
    assert prediction.keys() == {"ids", "frames"}
    scene = method.build(batch)
    for index, view in ((0, 0), (2, 1)):  # the path starts and ends at the sources
        source = batch["source"]
        camera = Cameras(source["extrinsics"][:, view], source["intrinsics"][:, view])
        expected = (method.render(scene, camera, (12, 16)).features + 1) / 2 * 255
        assert (frames[:, index].float() - expected).abs().max() <= 0.51


def test_another_size_shows_the_same_field_of_view() -> None:
    batch = posed_views()
    small = Flat(frames=1).predict_step(batch, 0)["frames"]
    large = Flat(frames=1, size=(24, 64)).predict_step(batch, 0)["frames"]
    assert isinstance(small, torch.Tensor)
    assert isinstance(large, torch.Tensor)
    assert large.shape == (2, 1, 3, 24, 64)
    pooled = torch.nn.functional.avg_pool2d(large[:, 0].float(), (2, 4))
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    assert (pooled - small[:, 0])[inner].abs().mean() < 20
    assert (pooled.flip(-1) - small[:, 0])[inner].abs().mean() > 40


def test_depth_is_that_of_what_is_seen_and_nan_elsewhere() -> None:
    batch, method = posed_views(), Flat(frames=2, depth=True, reach=0.0)
    depth = method.predict_step(batch, 0)["depth"]
    assert isinstance(depth, torch.Tensor)
    assert depth.shape == (2, 2, 1, 12, 16)
    covered = depth.isfinite()
    assert 0.8 < covered.float().mean() < 1  # moved by half a baseline, the layers leave a border free
    assert 4 <= depth[0, 0, 0, 5, 8] <= 4.5  # 0.75 of depth 3, 0.25 of depth 8
    rendering = method.render(method.build(batch), plan_of(batch)[0], (12, 16))
    half = seen_depth(without_opacity(rendering))
    assert half[..., :8].isnan().all()
    assert torch.equal(half[..., 4, 12], rendering.depth[..., 4, 12] / rendering.opacity[..., 4, 12])


def written_cameras(folder: Path) -> str:
    still = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    right = [[1, 0, 0, -1], [0, 1, 0, 0], [0, 0, 1, 0]]
    cameras = [
        {"name": "left", "w2c_3x4_opencv": still, "size": [6, 8]},
        {"name": "right", "w2c_3x4_opencv": right},
    ]
    path = folder / "cameras.json"
    path.write_text(json.dumps({"relative_to": "reference", "unit": "baseline", "cameras": cameras}))
    return str(path)


def test_given_cameras_make_single_views_with_their_names_and_sizes(tmp_path: Path) -> None:
    batch, options = posed_views(), {"path": "cameras", "cameras": written_cameras(tmp_path)}
    prediction = Flat(**options, depth=True).predict_step(batch, 0)
    assert prediction["names"] == ["left", "right"]
    for kind, channels in (("frames", 3), ("depth", 1)):
        pictures: Any = prediction[kind]  # type: ignore[literal-required]
        assert [[item.shape for item in sample] for sample in pictures] == [
            [(channels, 6, 8), (channels, 12, 16)]
        ] * 2
    cameras = plan_of(batch, **options)
    side = batch["source"]["extrinsics"][:, 1]
    torch.testing.assert_close(cameras[1].extrinsics, side)  # one baseline to the right


def test_given_cameras_in_baselines_need_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cameras\.json with its unit baseline is measured by the distance"):
        plan_of(in_one_place(posed_views()), path="cameras", cameras=written_cameras(tmp_path))


def test_what_is_wrong_shows_before_the_scene_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Flat(path="cameras", cameras="missing.json")
    monkeypatch.setattr(method, "build", lambda batch: pytest.fail("was built"))
    with pytest.raises(UserError, match=r"^missing\.json: no such file with cameras"):
        method.predict_step(posed_views(), 0)


def test_a_method_without_layers_says_that_it_cannot_write_its_scenes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentence = (
        "model.prediction.scene is ['gltf'], but the scenes of Shapeless are no layers that could be written; leave it "
        "empty ([])."
    )
    method = Shapeless(scene=("gltf",))
    monkeypatch.setattr(method, "render", lambda *given: pytest.fail("was rendered"))
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        method.predict_step(posed_views(), 0)
    assert Shapeless(frames=1).predict_step(posed_views(), 0).keys() == {"ids", "frames"}


# With the trainer and the writer.


def predict(method: pl.LightningModule, root: Path, *batches: PosedViews) -> FrameWriter:
    writer = FrameWriter()
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=root,
        callbacks=[writer],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.predict(method, DataLoader(list(batches), batch_size=None))
    return writer


def names(writer: FrameWriter, root: Path) -> list[str]:
    assert all(path.is_file() for path in writer.files)
    return [str(path.relative_to(root / "predictions")) for path in writer.files]


def test_everything_of_a_scene_is_written_where_it_belongs(tmp_path: Path) -> None:
    batch = posed_views()
    method = Flat(frames=3, depth=True, scene=("layers", "gltf"))
    found = names(predict(method, tmp_path, batch), tmp_path)
    assert found == [
        f"scene_{index}{name}"
        for index in range(2)
        for name in (".mp4", "/depth.npy", "/depth.mp4", "/layers/scene.json", "/scene.glb")
    ]
    for index in range(2):
        layers = load_layers(tmp_path / "predictions" / f"scene_{index}" / "layers")
        expected = method.build(batch)
        assert torch.equal(layers.vertices, expected.vertices[index : index + 1])
        assert (layers.rgba - expected.rgba[index]).abs().max() <= 1.01 / 255
        depth = np.load(tmp_path / "predictions" / f"scene_{index}" / "depth.npy")
        rendering = load_rendering(tmp_path / "predictions" / f"scene_{index}" / "layers")
        assert rendering == RenderingOptions(visibility="layer")
        first = planned(PredictionOptions(frames=3), batch).cameras[0][index : index + 1]
        again = seen_depth(render_scene(layers, first, (12, 16), rendering))[0, 0].numpy()
        np.testing.assert_allclose(depth[0], again, atol=0.03)


def test_formats_are_written_one_by_one(tmp_path: Path) -> None:
    batch = posed_views(batch=1)
    for formats, expected in ((("gltf",), ["scene.glb"]), (("layers",), ["layers/scene.json"])):
        root = tmp_path / formats[0]
        found = names(predict(Flat(frames=1, scene=formats), root, batch), root)
        assert found == ["scene_0.png", *(f"scene_0/{name}" for name in expected)]


def test_single_views_are_pictures_named_as_in_the_file(tmp_path: Path) -> None:
    method = Flat(path="cameras", cameras=written_cameras(tmp_path), depth=True)
    found = names(predict(method, tmp_path, posed_views()), tmp_path)
    assert found == [
        f"scene_{index}/{folder}{name}{kind}"
        for index in range(2)
        for name in ("left", "right")
        for folder, kind in (("", ".png"), ("depth/", ".npy"), ("depth/", ".png"))
    ]


def test_many_batches_are_not_collected(tmp_path: Path) -> None:
    second = posed_views()
    second["ids"] = ["c", "d"]
    method = Flat(frames=2, scene=("gltf",))
    writer = predict(method, tmp_path, posed_views(), second)
    assert [path.stem for path in writer.files if path.suffix == ".mp4"] == ["scene_0", "scene_1", "c", "d"]
    assert method.trainer.predict_loop.predictions == []


def test_predictions_can_be_collected_without_a_writer() -> None:
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    loader = DataLoader([posed_views()], batch_size=None)
    (prediction,) = trainer.predict(Flat(frames=1, scene=("layers",)), loader) or []
    assert prediction["scene"].formats == ("layers",)
