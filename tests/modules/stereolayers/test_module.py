import copy
from dataclasses import replace

import lightning.pytorch as pl
import pytest
import torch

from repsynth.batches import PosedViews
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError
from repsynth.geometry.cameras import Cameras
from repsynth.geometry.layered_scene import RELEASED, RenderingOptions
from repsynth.modules.prediction import PredictionOptions
from repsynth.modules.stereolayers.generator import StereoLayersGenerator
from repsynth.modules.stereolayers.module import LossWeights, StereoLayers
from repsynth.modules.stereolayers.options import Regularisation

from .tiny import tiny_stereolayers

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


def total(module: StereoLayers, batch: PosedViews) -> torch.Tensor:
    layers = module.build(batch)
    terms = module.loss_terms(
        layers, module.render_views(layers, batch["novel"]), batch["novel"]["images"].flatten(0, 1)
    )
    return module.weighted(terms)


def test_gradient_of_a_batch_is_the_mean_over_its_items(batch: PosedViews) -> None:
    """What ranks average under DDP: no term may depend on the batch size."""
    joined = tiny_stereolayers()
    total(joined, batch).backward()
    apart = [copy.deepcopy(tiny_stereolayers()) for _ in range(3)]
    for index, module in enumerate(apart):
        total(module, one(batch, index)).backward()
    for name, parameter in joined.named_parameters():
        mean = torch.stack([dict(module.named_parameters())[name].grad for module in apart]).mean(0)
        torch.testing.assert_close(parameter.grad, mean, atol=1e-5, rtol=1e-4)


def test_every_parameter_learns(batch: PosedViews) -> None:
    module = tiny_stereolayers()
    total(module, batch).backward()
    still = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert still == []
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_paper_weights_are_the_defaults() -> None:
    assert vars(LossWeights()) == {"l1": 1.0, "perceptual": 10.0, "tv": 5.0, "order": 2.0}
    assert set(tiny_stereolayers().loss_weights) == {"l1", "perceptual", "tv", "order"}


def test_validation_pairs_every_novel_view(batch: PosedViews) -> None:
    with torch.no_grad():
        output = tiny_stereolayers().validation_step(batch, 0)
    assert output["predicted"].shape == output["expected"].shape == (6, 3, SIDE, SIDE)
    assert output["ids"] == [f"{name}/{view}" for name in batch["ids"] for view in range(2)]
    torch.testing.assert_close(output["expected"][1], batch["novel"]["images"][0, 1])
    assert output["predicted"].min() >= 0
    assert output["predicted"].max() <= 1
    assert list(output["panels"]) == ["input 0", "input 1", "depth"]


def test_views_of_a_scene_are_rendered_scene_by_scene(batch: PosedViews) -> None:
    module = tiny_stereolayers().eval()
    with torch.no_grad():
        layers = module.build(batch)
        both = module.render_views(layers, batch["novel"]).features
        novel = batch["novel"]
        camera = Cameras(novel["extrinsics"][:, 1], novel["intrinsics"][:, 1])
        second = module.generator.render(layers, camera, (SIDE, SIDE)).features
    torch.testing.assert_close(both[1::2], second)


def test_opaque_reference_layers_reproduce_the_reference_view(batch: PosedViews) -> None:
    """With vertices on pixel centres, rendering into the reference camera returns the texture."""
    generator = tiny_stereolayers(grid="centre").generator
    camera = Cameras(batch["source"]["extrinsics"][:, 0], batch["source"]["intrinsics"][:, 0])
    with torch.no_grad():
        built = generator(*(batch["source"]["images"] * 2 - 1).unbind(1), camera, camera)
        rgba = built.rgba.clone()
        rgba[:, :, :3] = (batch["source"]["images"][:, :1] * 2 - 1).expand_as(rgba[:, :, :3])
        view = generator.render(replace(built, rgba=rgba), camera, (SIDE, SIDE))
    torch.testing.assert_close(view.features, batch["source"]["images"][:, 0] * 2 - 1, atol=1e-4, rtol=0)


def test_prediction_sways_and_returns_to_its_start(batch: PosedViews) -> None:
    module = tiny_stereolayers(prediction=PredictionOptions(frames=4, reach=0.5)).eval()
    with torch.no_grad():
        frames = module.predict_step(batch, 0)["frames"].int()
    assert frames.shape == (3, 4, 3, SIDE, SIDE)
    assert (frames[:, 0] - frames[:, 2]).abs().max() <= 1  # both in the middle of the baseline
    assert (frames[:, 1] - frames[:, 3]).abs().max() > 2


def test_geometry_stays_in_float32_and_bf16_stays_close(batch: PosedViews) -> None:
    module = tiny_stereolayers().eval()
    with torch.no_grad():
        full = module.validation_step(batch, 0)
        with torch.autocast("cpu", torch.bfloat16):
            half = module.validation_step(batch, 0)
            layers = module.build(batch)
    assert layers.depth.dtype == layers.vertices.dtype == layers.rgba.dtype == torch.float32
    assert (full["predicted"] - half["predicted"]).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("size", "sentence"),
    [((48, 64), "multiples of 32, but gets 48x64"), ((64, 36), "multiples of 32, but gets 64x36")],
)
def test_impossible_image_sizes_are_refused_before_training(size: tuple[int, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_stereolayers().check(SyntheticScenes(image_size=size))


def test_large_images_are_seen_at_256_unless_their_sides_are_multiples_of_128() -> None:
    generator = StereoLayersGenerator(layers=2, planes=4, geometry_width=4, coloring_width=4)
    assert generator.network_size(512, 384) == (512, 384)
    assert generator.network_size(300, 512) == (256, 256)
    assert generator.network_size(64, 200) == (64, 200)
    generator.check_size(320, 336)
    with pytest.raises(UserError, match="multiples of 256, but gets 384x384"):
        generator.check_size(384, 384)
    with pytest.raises(UserError, match="colouring network needs image sides that are multiples of 8"):
        generator.check_size(300, 512)


def test_depth_of_a_reduced_geometry_network_comes_back_at_full_size() -> None:
    torch.manual_seed(0)
    generator = StereoLayersGenerator(
        layers=2, planes=2, geometry_width=1, coloring_width=1, geometry_levels=3
    )
    camera = Cameras(torch.eye(4)[None], torch.tensor([[[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]]))
    with torch.no_grad():
        layers = generator(torch.rand(1, 3, 264, 320), torch.rand(1, 3, 264, 320), camera, camera)
    assert layers.depth.shape == (1, 2, 264, 320)


def test_released_rendering_differs_from_ours_where_it_should() -> None:
    assert RenderingOptions(interpolation="affine", near=None, far_clip=120.0) == RELEASED
    assert RenderingOptions().interpolation == "perspective"


def test_the_default_is_the_papers_method() -> None:
    generator = StereoLayers(perceptual="random").generator
    assert (generator.layers, len(generator.plane_depths)) == (4, 32)
    assert (generator.depth_scheme, generator.texturing) == ("BI", "RSBg")
    torch.testing.assert_close(generator.plane_depths[[0, -1]], torch.tensor([100.0, 1.0]))
    generator.check_size(256, 256)
    numbers = sum(parameter.numel() for parameter in generator.parameters())
    assert numbers == 9_846_020 + 18_582_483  # measured on the official networks


def test_a_step_logs_every_term_the_total_and_where_the_layers_are(
    batch: PosedViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, logged = (
        tiny_stereolayers(loss_weights=LossWeights(l1=2.0, perceptual=0.5, tv=3.0, order=7.0)),
        {},
    )
    module.trainer = pl.Trainer(accelerator="cpu", logger=False, log_every_n_steps=1)
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: logged.update(values))
    loss = module.training_step(batch, 0)
    terms = {name: float(logged[f"train/{name}"]) for name in ("l1", "perceptual_random", "tv", "order")}
    weighted = 2 * terms["l1"] + 0.5 * terms["perceptual_random"] + 3 * terms["tv"] + 7 * terms["order"]
    assert float(loss.detach()) == pytest.approx(weighted, rel=1e-5)
    assert float(logged["train/loss"]) == float(loss.detach())
    assert 15.0 >= float(logged["train/depth_of_layer_0"]) >= float(logged["train/depth_of_layer_1"]) >= 1.5
    assert len(logged) == 4 + 1 + 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prediction": PredictionOptions(frames=0)}, r"model\.prediction\.frames is 0; expected at least 1"),
        ({"learning_rate": 0.0}, r"model\.learning_rate is 0\.0; expected a number above 0"),
        ({"learning_rate_decay": 1.5}, r"model\.learning_rate_decay is 1\.5; expected a factor above 0"),
    ],
)
def test_impossible_options_of_training_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        tiny_stereolayers(**options)


def test_further_terms_are_logged_and_weighted_when_they_are_on(
    batch: PosedViews, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, logged = (
        tiny_stereolayers(regularisation=Regularisation(opacity=30.0, sparsity=4.0), layers=3),
        {},
    )
    module.trainer = pl.Trainer(accelerator="cpu", logger=False)
    monkeypatch.setattr(module, "log_dict", lambda values, batch_size: logged.update(values))
    with torch.no_grad():
        module.generator.coloring_network.final_conv.bias.add_(2.0)  # alphas of about 0.9
    loss = module.training_step(batch, 0)
    weights = {"l1": 1, "perceptual_random": 10, "tv": 5, "order": 2, "opacity": 30, "sparsity": 4}
    terms = {name: float(logged[f"train/{name}"]) for name in weights}
    assert all(terms[name] > 0.1 for name in ("opacity", "sparsity"))
    assert float(loss.detach()) == pytest.approx(sum(weights[n] * terms[n] for n in weights), rel=1e-5)


def test_the_papers_hinge_is_plain_and_the_official_codes_squared(batch: PosedViews) -> None:
    terms = {}
    for power in (1, 2):
        module = tiny_stereolayers(regularisation=Regularisation(order_power=power))
        layers = module.build(batch)
        # In the wrong order by 0.5 everywhere.
        layers = replace(layers, depth=torch.tensor([3.0, 3.5]).view(1, 2, 1, 1).expand_as(layers.depth))
        rendering = module.render_views(layers, batch["novel"])
        terms[power] = module.loss_terms(layers, rendering, batch["novel"]["images"].flatten(0, 1))["order"]
    assert float(terms[1]) == pytest.approx(0.5) and float(terms[2]) == pytest.approx(0.25)


def test_raw_texturing_is_sent_to_the_class_with_a_discriminator() -> None:
    with pytest.raises(
        UserError,
        match=r"model\.texturing RAW predicts colours, .*\.AdversarialStereoLayers, or texturing RSBg\.$",
    ):
        tiny_stereolayers(texturing="RAW")
