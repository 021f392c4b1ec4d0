from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from callbacks.image_sets import (
    GENERATED,
    OFFLINE,
    REAL,
    Painter,
    Pictures,
    PictureSets,
    means,
    painted,
    report,
    report_of_test,
    trainer_in,
)
from repsynth.batches import Numbered
from repsynth.callbacks.evaluation import Evaluation
from repsynth.datamodules.base import DataModule, EvalStage
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError
from repsynth.metrics.features import quantised
from repsynth.metrics.random_features import RandomFeatures, random_extractor
from repsynth.metrics.set_scores import SET_METRICS, SetScores
from repsynth.nn.latents import latents

NAMES = [f"{metric}_random" for metric in SET_METRICS]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def directly() -> dict[str, float]:
    """The figures without Lightning, cache and batches."""
    scores = SetScores(SET_METRICS, OFFLINE)
    drawn = painted(
        1.2 * latents(torch.zeros(GENERATED, dtype=torch.int64), torch.arange(GENERATED), 3, 4, 4)
    )
    pictures = [Pictures(REAL, 0)[SampleKey(0, index)] for index in range(REAL)]
    real, generated = scores.nothing_seen("real"), scores.nothing_seen("generated")
    scores.add(real, [item["ids"] for item in pictures], torch.stack([item["images"] for item in pictures]))
    scores.add(generated, [f"{number:03d}" for number in range(GENERATED)], drawn)
    return {name: figure.mean for name, figure in scores.figures(real, generated).items()}


@pytest.mark.parametrize("batch", [7, 16])
def test_figures_are_those_of_the_sets_for_any_batch(batch: int, tmp_path: Path) -> None:
    found = report_of_test(tmp_path, PictureSets(eval_batch_size=batch))
    assert means(found) == pytest.approx(directly(), rel=1e-6)
    assert list(found["figures"]) == NAMES


def test_the_report_says_what_the_figures_are_of(tmp_path: Path) -> None:
    content = report_of_test(tmp_path, PictureSets(eval_batch_size=16, eval_seed=3))
    assert content["count"] == GENERATED
    assert content["sets"] == {
        "real": REAL,
        "generated": GENERATED,
        "real_set": "pictures from 0",
        "image_size": [16, 16],
        "quantisation": "8 bits: clamped to [0, 1], times 255, rounded to the nearest",
        "seed": 3,
    }
    about = content["settings"]["fid_random"]
    assert (about["extractor"], about["resize"]) == ("random", "none")
    assert about["weights_sha256"] == random_extractor().checksum
    assert content["figures"]["kid_random"]["std"] > 0
    assert not (tmp_path / "evaluation" / "test.csv").exists()


class WithoutCache(pl.Callback):
    """Takes the cached files away once the sanity check has found them."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (path,) = self.cache.glob("set-*.npz")
        path.unlink()


def test_a_validation_logs_under_names_that_a_checkpoint_can_monitor(tmp_path: Path, cache: Path) -> None:
    module, data = Painter(), PictureSets(eval_batch_size=16)
    state = list(module.state_dict())
    callbacks = Evaluation(SET_METRICS, sets=OFFLINE), WithoutCache(cache)
    trainer = trainer_in(tmp_path, *callbacks, num_sanity_val_steps=1)
    trainer.fit(module, data)
    logged = {name.removeprefix("val/"): value.item() for name, value in trainer.callback_metrics.items()}
    assert logged == pytest.approx(means(report(tmp_path, "val")))
    assert list(logged) == NAMES
    assert list(module.state_dict()) == state
    assert data.read == 1, "the validation stands on what the sanity check has read"


def test_another_seed_gives_other_samples_and_the_same_seed_the_same(tmp_path: Path) -> None:
    first, again, other = (
        means(report_of_test(tmp_path / str(index), PictureSets(eval_batch_size=16, eval_seed=seed)))
        for index, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first["fid_random"] != other["fid_random"]


def test_half_precision_of_the_run_does_not_reach_the_features(tmp_path: Path) -> None:
    found = report_of_test(tmp_path, PictureSets(eval_batch_size=16), precision="bf16-mixed")
    assert means(found) == pytest.approx(directly(), rel=1e-6)


# Pairs and sets in one evaluation.


class Pairs(DataModule):
    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        return Pictures(140, 0)


class Noisy(pl.LightningModule):
    def test_step(self, batch: dict[str, Any], index: int) -> object:
        expected = batch["images"]
        shift = torch.tensor([int(name[:3]) for name in batch["ids"]]) % 11 / 100
        return {"ids": batch["ids"], "predicted": expected + shift[:, None, None, None], "expected": expected}


def test_one_callback_scores_pairs_as_images_and_as_sets(tmp_path: Path) -> None:
    callback = Evaluation(["fid", "psnr", "recall"], sets=OFFLINE)
    trainer_in(tmp_path, callback).test(Noisy(), Pairs(eval_batch_size=16, seed=4), verbose=False)
    content = report(tmp_path, "test")
    assert list(content["figures"]) == ["psnr", "fid_random", "recall_random"]
    assert (content["count"], content["crop"]) == (140, 1.0)
    assert content["sets"]["real_set"] == "the expected images of the evaluation's steps"
    assert (content["sets"]["real"], content["sets"]["generated"], content["sets"]["seed"]) == (140, 140, 4)
    assert set(content["settings"]) == set(content["figures"])
    header = (tmp_path / "evaluation" / "test.csv").read_text().splitlines()
    assert header[0] == "id,psnr" and len(header) == 141
    assert content["figures"]["fid_random"]["mean"] > 0


# The cache of real statistics.


def test_real_images_are_read_once_and_again_for_another_set(tmp_path: Path, cache: Path) -> None:
    first, second, other = (
        PictureSets(eval_batch_size=16),
        PictureSets(eval_batch_size=7),
        PictureSets(first=500),
    )
    figures = [means(report_of_test(tmp_path, data)) for data in (first, second, other)]
    assert [data.read for data in (first, second, other)] == [1, 0, 1]
    assert figures[0] == pytest.approx(figures[1], rel=1e-7)
    assert figures[0]["fid_random"] != pytest.approx(figures[2]["fid_random"], rel=1e-3)
    assert len(list(cache.glob("set-*.npz"))) == 2
    fewer = PictureSets(eval_batch_size=16, real_samples=160)
    assert report_of_test(tmp_path, fewer)["sets"]["real"] == 160
    assert fewer.read == 1


def test_another_extractor_is_another_key(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_of_test(tmp_path, PictureSets(eval_batch_size=16))
    fill = "repsynth.metrics.random_features.fill_randomly"
    monkeypatch.setattr(fill, lambda network: nn.init.constant_(network.stages[0].weight, 0.1))
    data = PictureSets(eval_batch_size=16)
    report_of_test(tmp_path, data)
    assert data.read == 1
    assert len(list(cache.glob("set-*.npz"))) == 2
    assert RandomFeatures().stages[0].weight.shape == (16, 3, 3, 3)


def test_a_damaged_file_is_computed_again(tmp_path: Path, cache: Path) -> None:
    before = means(report_of_test(tmp_path, PictureSets(eval_batch_size=16)))
    (path,) = cache.glob("set-*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    data = PictureSets(eval_batch_size=16)
    assert means(report_of_test(tmp_path, data)) == before
    assert data.read == 1
    with np.load(path) as archive:
        assert archive["count"] == REAL


def test_a_smoke_run_reads_one_batch_and_caches_nothing(tmp_path: Path, cache: Path) -> None:
    content = report_of_test(tmp_path, PictureSets(eval_batch_size=16), fast_dev_run=True)
    assert (content["sets"]["real"], content["sets"]["generated"]) == (16, 16)
    assert not cache.exists()


def test_statistics_of_an_earlier_data_module_are_not_kept(tmp_path: Path) -> None:
    callback = Evaluation(["fid"], sets=OFFLINE)
    figures = []
    for data in (PictureSets(eval_batch_size=16), PictureSets(first=500, eval_batch_size=16)):
        trainer_in(tmp_path, callback).test(Painter(), data, verbose=False)
        figures.append(means(report(tmp_path, "test"))["fid_random"])
    assert figures[0] != figures[1]


# Mistakes.


class Returns(Painter):
    """A painter whose result is changed."""

    def __init__(self, change: Callable[[Any], object]) -> None:
        super().__init__()
        self.change = change

    def validation_step(self, batch: Numbered, index: int) -> Any:  # noqa: ANN401
        return self.change(super().validation_step(batch, index))


def refusal(root: Path, module: pl.LightningModule, data: object, callback: Evaluation | None = None) -> str:
    trainer = trainer_in(root, *([callback] if callback else []))
    with pytest.raises(UserError) as raised:
        trainer.test(module, data, verbose=False)  # type: ignore[arg-type]
    assert not (root / "evaluation").exists()
    return str(raised.value)


def with_nan(outputs: Any) -> object:  # noqa: ANN401
    outputs["generated"][3] = torch.nan
    return outputs


def test_images_with_nan_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, Returns(with_nan), PictureSets(eval_batch_size=16)).startswith(
        "evaluation image 003 holds values that are not finite (NaN or infinity), expected [0, 1]"
    )


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (None, "a NoneType"),
        ({"ids": ["a"]}, "a dict without generated"),
        ({"generated": torch.zeros(1, 3, 16, 16)}, "a dict without ids"),
        ({"ids": ["a"], "generated": [1]}, "generated that is not a tensor"),
        (
            {"ids": ["a"], "generated": torch.zeros(1, 1, 16, 16)},
            "generated [1, 1, 16, 16], not [N, 3, H, W]",
        ),
        ({"ids": ["a"], "generated": torch.zeros(2, 3, 16, 16)}, "1 ids for 2 images"),
        ({"ids": ["a"], "predicted": torch.zeros(1, 3, 16, 16)}, "a dict without expected"),
    ],
)
def test_a_step_that_returns_something_else_is_named(tmp_path: Path, output: object, complaint: str) -> None:
    found = refusal(tmp_path, Returns(lambda _: output), PictureSets(eval_batch_size=16))
    assert found == (
        f"the evaluation step of Returns returned {complaint}: expected repsynth.batches.Generated with ids and "
        "generated, or Paired; return it, or take Media out and fid, kid, precision and recall out of the metrics"
    )


def test_pairs_are_asked_for_when_a_figure_needs_them(tmp_path: Path) -> None:
    callback = Evaluation(["psnr", "fid"], sets=OFFLINE)
    found = refusal(tmp_path, Painter(), PictureSets(eval_batch_size=16), callback)
    assert found.startswith("the evaluation step of Painter returned a dict without predicted, expected")


class NoRealImages(DataModule):
    def eval_dataset(self, stage: EvalStage) -> Dataset[Any]:
        return PictureSets().eval_dataset(stage)


def test_generated_images_need_real_ones(tmp_path: Path) -> None:
    assert refusal(tmp_path, Painter(), NoRealImages(eval_batch_size=16)) == (
        "the evaluation step of Painter returned generated images and no real ones, and neither does the data module "
        "have them: derive it from repsynth.datamodules.image_sets.RealImages, or return Paired"
    )


def test_too_few_samples_are_refused_with_the_counts(tmp_path: Path) -> None:
    data = PictureSets(eval_batch_size=16, test_samples=1)
    assert refusal(tmp_path, Painter(), data) == (
        f"fid compares the spread of two sets and got {REAL} and 1 images: expected at least 2 of each; evaluate more "
        "images or leave fid out of metrics"
    )


def test_repeated_samples_are_refused(tmp_path: Path) -> None:
    twice = Returns(lambda outputs: {**outputs, "ids": ["same"] * len(outputs["ids"])})
    assert refusal(tmp_path, twice, PictureSets(eval_batch_size=16)).startswith(
        "evaluation got 1 sample ids more than once (same)"
    )


def test_images_that_are_too_small_are_refused_before_anything_runs(tmp_path: Path) -> None:
    data = PictureSets(eval_batch_size=16)
    data.image_size = (15, 40)
    assert refusal(tmp_path, Painter(), data) == (
        "the extractor 'random' of set figures needs sides of at least 16 pixels, but gets [1, 3, 15, 40]: evaluate "
        "larger images or leave set figures out of metrics"
    )
    assert data.read == 0


def test_missing_weights_are_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REPSYNTH_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    data = PictureSets(eval_batch_size=16)
    for metric, option in (("fid", "sets.inception_weights"), ("recall", "sets.vgg_weights")):
        found = refusal(tmp_path, Painter(), data, Evaluation([metric], download=False))  # type: ignore[list-item]
        assert f'or set {option} to "random" for the stand-in' in found
    assert data.read == 0


def test_an_unknown_figure_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(UserError) as raised:
        Evaluation(["psnr", "fidd"])  # type: ignore[list-item]
    assert str(raised.value) == (
        "evaluation option metrics is ['psnr', 'fidd']: expected some of psnr, ssim, lpips, flip, fid, kid, precision, "
        "recall, dipd, is, cis, each at most once"
    )


def test_loaders_without_a_data_module_can_give_pairs(tmp_path: Path) -> None:
    images: Tensor = (
        quantised(torch.rand(130, 3, 16, 16, generator=torch.Generator().manual_seed(0)), []) / 255
    )
    items = [{"ids": f"{index:03d}", "images": image} for index, image in enumerate(images)]
    trainer_in(tmp_path, Evaluation(["precision"], sets=OFFLINE)).test(
        Noisy(),
        DataLoader(items, 16),  # type: ignore[arg-type]
        verbose=False,
    )
    content = report(tmp_path, "test")
    assert content["sets"]["seed"] is None
    assert 0 <= content["figures"]["precision_random"]["mean"] <= 1
