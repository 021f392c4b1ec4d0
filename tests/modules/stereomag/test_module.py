import copy

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from repsynth.batches import PosedViews
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import Layers
from repsynth.losses.reconstruction import l1
from repsynth.modules.novel_views import source_camera
from repsynth.modules.prediction import PredictionOptions
from repsynth.modules.stereomag.merging import MergingOptions
from repsynth.modules.stereomag.module import LossWeights, StereoMag
from repsynth.modules.stereomag.multiplane_image import MultiplaneImage

from .tiny import tiny_stereomag

SIDE = 32


@pytest.fixture(scope="module")
def batch() -> PosedViews:
    data = SyntheticScenes(image_size=(SIDE, SIDE), novel_views=2, train_scenes=8, batch_size=3, seed=0)
    loaded = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    return loaded


def one(batch: PosedViews, index: int) -> PosedViews:
    def pick(part: object) -> object:
        return (
            {key: pick(value) for key, value in part.items()}
            if isinstance(part, dict)
            else part[index : index + 1]
        )

    return pick(batch)


def total(module: StereoMag, batch: PosedViews) -> Tensor:
    rendering = module.render_views(module.build_planes(batch), batch["novel"])
    return module.weighted(module.loss_terms(rendering, batch["novel"]["images"].flatten(0, 1)))


@pytest.mark.parametrize("texturing", ["RBg", "RSBg"])
def test_gradient_of_a_batch_is_the_mean_over_its_items(batch: PosedViews, texturing: str) -> None:
    """What ranks average under DDP: no term may depend on the batch size."""
    joined = tiny_stereomag(texturing=texturing)
    total(joined, batch).backward()
    apart = [copy.deepcopy(tiny_stereomag(texturing=texturing)) for _ in range(3)]
    for index, module in enumerate(apart):
        total(module, one(batch, index)).backward()
    for name, parameter in joined.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name
        mean = torch.stack([dict(module.named_parameters())[name].grad for module in apart]).mean(0)
        torch.testing.assert_close(parameter.grad, mean, atol=1e-5, rtol=1e-4)


def test_all_of_the_image_counts_also_where_no_plane_is_seen(batch: PosedViews) -> None:
    module = tiny_stereomag()
    with torch.no_grad():
        extrinsics = batch["novel"]["extrinsics"].clone()
        extrinsics[..., 0, 3] -= 4.0
        rendering = module.render_views(
            module.build_planes(batch), {**batch["novel"], "extrinsics": extrinsics}
        )
        expected = batch["novel"]["images"].flatten(0, 1)
        terms = module.loss_terms(rendering, expected)
    assert (rendering.opacity <= 0).any()
    torch.testing.assert_close(terms["l1"], (rendering.features - (expected * 2 - 1)).abs().mean())
    masked = l1(rendering.features, expected * 2 - 1, (rendering.opacity > 0).float())
    assert (terms["l1"] - masked).abs() > 1e-3


def test_validation_pairs_every_novel_view(batch: PosedViews) -> None:
    with torch.no_grad():
        output = tiny_stereomag().validation_step(batch, 0)
    assert output["predicted"].shape == output["expected"].shape == (6, 3, SIDE, SIDE)
    assert output["ids"] == [f"{name}/{view}" for name in batch["ids"] for view in range(2)]
    assert output["predicted"].min() >= 0
    assert output["predicted"].max() <= 1
    assert list(output["panels"]) == ["input 0", "input 1", "depth"]


def test_views_of_a_scene_are_rendered_scene_by_scene(batch: PosedViews) -> None:
    novel = batch["novel"]
    camera = Cameras(novel["extrinsics"][:, 1], novel["intrinsics"][:, 1])
    for merged_layers in (None, 2):
        module = tiny_stereomag(merged_layers=merged_layers).eval()
        with torch.no_grad():
            scene = module.build(batch)
            both = module.render_views(scene, novel).features
            second = module.render(scene, camera, (SIDE, SIDE)).features
        torch.testing.assert_close(both[1::2], second)


def test_with_merged_layers_the_planes_are_trained_and_the_layers_evaluated(
    batch: PosedViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes, merged = tiny_stereomag().eval(), tiny_stereomag(merged_layers=2).eval()
    losses, outputs = [], []
    for module in (planes, merged):
        module.trainer = pl.Trainer(accelerator="cpu", logger=False)
        monkeypatch.setattr(module, "log_dict", lambda values, batch_size: None)
        losses.append(module.training_step(batch, 0))
        with torch.no_grad():
            outputs.append(module.test_step(batch, 0)["predicted"])
    assert torch.equal(*losses)
    assert isinstance(planes.build(batch), MultiplaneImage)
    assert isinstance(merged.build(batch), Layers)
    difference = (outputs[0] - outputs[1]).abs()
    assert 1e-4 < difference.mean() < 0.1


@pytest.mark.parametrize("merged_layers", [None, 2])
def test_prediction_sways_and_returns_to_its_start(batch: PosedViews, merged_layers: int | None) -> None:
    module = tiny_stereomag(
        merged_layers=merged_layers, prediction=PredictionOptions(frames=4, reach=0.5)
    ).eval()
    with torch.no_grad():
        frames = module.predict_step(batch, 0)["frames"]
    assert frames.shape == (3, 4, 3, SIDE, SIDE)
    torch.testing.assert_close(frames[:, 0], frames[:, 2], atol=1e-3, rtol=0)
    assert (frames[:, 1] - frames[:, 3]).abs().max() > 0.01


def test_scenes_can_be_written_as_layers_that_look_the_same(batch: PosedViews) -> None:
    with torch.no_grad():
        merged = tiny_stereomag(merged_layers=2)
        layers = merged.build(batch)
        assert merged.scene_layers(layers) is layers
        module = tiny_stereomag()
        planes = module.build(batch)
        flat = module.scene_layers(planes)
        camera = source_camera(batch, 0)
        expected = module.render(planes, camera, (SIDE, SIDE)).features
        found = module.render(flat, camera, (SIDE, SIDE)).features
    assert flat.depth.shape == (3, 4, SIDE, SIDE)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert module.scene_rendering() == module.generator.rendering


def test_predicted_scenes_carry_the_layers(batch: PosedViews) -> None:
    options = PredictionOptions(frames=1, scene=("layers",))
    with torch.no_grad():
        prediction = tiny_stereomag(merged_layers=2, prediction=options).predict_step(batch, 0)
    assert prediction["scene"].layers.rgba.shape == (3, 2, 4, SIDE, SIDE)


def test_evaluation_repeats_itself_bit_by_bit(batch: PosedViews) -> None:
    module = tiny_stereomag(merged_layers=3).eval()
    outputs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            outputs.append(module.validation_step(batch, 0)["predicted"])
    assert torch.equal(*outputs)


def test_impossible_image_sizes_are_refused_before_training() -> None:
    with pytest.raises(UserError, match=r"multiples of 8, but gets 36x64; change data\.image_size"):
        tiny_stereomag().check(SyntheticScenes(image_size=(36, 64)))
    tiny_stereomag().check(SyntheticScenes(image_size=(40, 64)))


def test_the_default_is_the_papers_baseline() -> None:
    module = StereoMag(perceptual="random")
    generator = module.generator
    assert len(generator.plane_depths) == 32
    torch.testing.assert_close(generator.plane_depths[[0, -1]], torch.tensor([100.0, 1.0]))
    assert generator.coloring_network.conv1_1.conv.weight.shape == (64, 3 * 32 + 3, 3, 3)
    assert generator.coloring_network.final_conv.weight.shape[0] == 2 * 32 + 3
    assert module.merged_layers is None
    assert module.loss_weights == {"l1": 1.0, "perceptual": 10.0}


def test_a_step_logs_every_term_and_the_total(batch: PosedViews, monkeypatch: pytest.MonkeyPatch) -> None:
    module, logged = tiny_stereomag(loss_weights=LossWeights(l1=2.0, perceptual=0.5)), {}
    module.trainer = pl.Trainer(accelerator="cpu", logger=False)
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: logged.update(values))
    loss = module.training_step(batch, 0)
    weighted = 2 * logged["train/l1"] + 0.5 * logged["train/perceptual_random"]
    assert float(loss.detach()) == pytest.approx(float(weighted), rel=1e-5)
    assert float(logged["train/loss"]) == float(loss.detach())
    assert set(logged) == {"train/l1", "train/perceptual_random", "train/loss"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"merged_layers": 0}, r"^model\.merged_layers is 0; expected at least 1$"),
        ({"merged_layers": 5}, r"^model\.merged_layers is 5, but there are only 4 planes to merge;"),
        ({"merging": MergingOptions(samples=0)}, r"^model\.merging\.samples is 0; expected at least 1$"),
        ({"planes": 1}, r"^model\.planes is 1; expected at least 2$"),
        ({"learning_rate": 0.0}, r"^model\.learning_rate is 0\.0; expected a number above 0"),
        (
            {"prediction": PredictionOptions(frames=0)},
            r"^model\.prediction\.frames is 0; expected at least 1$",
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_stereomag(**options)
