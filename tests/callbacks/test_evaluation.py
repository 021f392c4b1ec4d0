import csv
import json
import statistics
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from distributed.ranks import rank, run_ranks
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from repsynth.batches import PosedViews, paired_novel_views
from repsynth.callbacks import evaluation
from repsynth.callbacks.evaluation import Evaluation
from repsynth.callbacks.media import Media
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.errors import UserError
from repsynth.metrics.psnr import psnr
from repsynth.metrics.scores import Scores
from repsynth.metrics.table import gather, summarize

from .ranks import GRID, Pictures, gather_as_rank, loader, rows_of


class Toy(pl.LightningModule):
    """One convolution with a buffer, which DDP broadcasts at each forward."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.InstanceNorm2d(3, track_running_stats=True))
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        return (self.network(batch["input"]) - batch["target"]).square().mean()

    def validation_step(self, batch: dict[str, Any], index: int) -> object:
        predicted = self.network(batch["input"]).clamp(0, 1)
        return {"ids": batch["ids"], "predicted": predicted, "expected": batch["target"]}

    def test_step(self, batch: dict[str, Any], index: int) -> object:
        return self.validation_step(batch, index)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def trainer_with(root: Path, *callbacks: pl.Callback, **options: object) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "default_root_dir": root,
        "callbacks": list(callbacks),
        "max_epochs": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        "use_distributed_sampler": False,
    }
    return pl.Trainer(**settings | options)


def truth(module: Toy, count: int) -> dict[str, float]:
    module.eval()
    figures = {}
    for example in map(Pictures(count).__getitem__, range(count)):
        with torch.no_grad():
            predicted = module.network(example["input"][None]).clamp(0, 1)
        figures[example["ids"]] = psnr(predicted, example["target"][None]).item()
    return figures


def report(root: Path, stage: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    with (root / "evaluation" / f"{stage}.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    return json.loads((root / "evaluation" / f"{stage}.json").read_text()), rows


def test_means_rows_and_report_of_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "samples_seen", lambda trainer: 1234)
    module = Toy()
    trainer = trainer_with(tmp_path, Evaluation(["psnr", "ssim"], crop=1.0))
    trainer.test(module, loader(5), verbose=False)
    expected = truth(module, 5)
    content, rows = report(tmp_path, "test")
    assert {row["id"]: float(row["psnr"]) for row in rows} == pytest.approx(expected, rel=1e-6)
    assert [row["id"] for row in rows] == sorted(expected)
    mean = statistics.fmean(expected.values())
    assert trainer.callback_metrics["test/psnr"].item() == pytest.approx(mean, rel=1e-6)
    assert content["figures"]["psnr"]["mean"] == pytest.approx(mean, rel=1e-7)
    assert content["figures"]["psnr"]["std"] == pytest.approx(statistics.stdev(expected.values()), rel=1e-5)
    assert (content["stage"], content["count"], content["crop"]) == ("test", 5, 1.0)
    assert content["settings"]["ssim"] == {"window": 11, "border": "zero"}
    assert (content["samples_seen"], content["checkpoint"]) == (1234, None)


def test_a_checkpoint_can_monitor_a_figure_and_the_report_names_the_file(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, "best", monitor="val/psnr", mode="max")
    trainer = trainer_with(tmp_path, Evaluation(["psnr"]), best)
    trainer.fit(Toy(), loader(4), loader(3))
    content, _ = report(tmp_path, "val")
    assert best.best_model_score is not None
    assert best.best_model_score.item() == pytest.approx(content["figures"]["psnr"]["mean"])
    assert content["checkpoint"] is None
    trainer_with(tmp_path, Evaluation(["psnr"])).validate(
        Toy(), loader(3), ckpt_path=best.best_model_path, verbose=False
    )
    assert report(tmp_path, "val")[0]["checkpoint"] == best.best_model_path


def test_the_report_says_what_data_the_figures_are_of(tmp_path: Path) -> None:
    class Copy(pl.LightningModule):
        def test_step(self, batch: PosedViews, index: int) -> object:
            return paired_novel_views(batch, batch["source"]["images"][:, 0])

    data = SyntheticScenes(image_size=(16, 24), eval_scenes=2)
    trainer_with(tmp_path, Evaluation(["psnr"])).test(Copy(), data, verbose=False)
    assert report(tmp_path, "test")[0]["data"] == (
        "SyntheticScenes, 1 novel from 2 input views by extrapolation in a window of 5 of 5 cameras; "
        "16 x 24 pixels"
    )


class SanityProbe(pl.Callback):
    """Looks at what the sanity check left."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.looked = False

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert not self.root.joinpath("evaluation").exists()
        assert not any(name.startswith("val/") for name in trainer.callback_metrics)
        self.looked = True


def test_images_that_a_metric_cannot_take_are_refused_before_training(tmp_path: Path) -> None:
    steps: list[int] = []

    class Trained(pl.LightningModule):
        def training_step(self, batch: PosedViews, index: int) -> None:
            steps.append(index)

        def configure_optimizers(self) -> None:
            return None

    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[Evaluation(metrics=["lpips"], lpips_weights="random", crop=0.5)],
    )
    data = SyntheticScenes(image_size=(32, 32), train_scenes=4, eval_scenes=1)
    with pytest.raises(
        UserError, match=r"LPIPS with alex needs sides of at least 31 pixels, but gets \[1, 3, 16, 16\]"
    ):
        trainer.fit(Trained(), datamodule=data)
    assert steps == []


def test_the_sanity_check_leaves_nothing(tmp_path: Path) -> None:
    probe = SanityProbe(tmp_path)
    trainer_with(tmp_path, Evaluation(["psnr"]), probe, num_sanity_val_steps=2).fit(
        Toy(), loader(4), loader(3)
    )
    assert probe.looked
    assert report(tmp_path, "val")[0]["count"] == 3


def test_metric_networks_stay_out_of_the_module(tmp_path: Path) -> None:
    module = Toy()
    before = list(module.state_dict())
    trainer = trainer_with(tmp_path, Evaluation(["lpips"], lpips_weights="random"))
    with pytest.raises(UserError, match="LPIPS with alex needs sides of at least 31 pixels"):
        trainer.test(module, loader(1), verbose=False)
    assert list(module.state_dict()) == before


def test_a_stand_in_logs_under_its_own_name(tmp_path: Path) -> None:
    trainer = trainer_with(
        tmp_path, Evaluation(["lpips"], lpips_weights="random", lpips_backbone="squeeze", crop=1.0)
    )
    trainer.test(Toy(), DataLoader(Pictures(1, side=32)), verbose=False)
    assert list(trainer.callback_metrics) == ["test/lpips_random"]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_figures_of_half_precision_predictions_are_float32(tmp_path: Path, half: torch.dtype) -> None:
    class Rounded(Toy):
        def __init__(self, returned: torch.dtype) -> None:
            super().__init__()
            self.returned = returned

        def validation_step(self, batch: dict[str, Any], index: int) -> object:
            predicted = batch["input"].to(half).to(self.returned)
            return {"ids": batch["ids"], "predicted": predicted, "expected": batch["target"]}

    found = {}
    for returned, precision in ((torch.float32, "32-true"), (half, "bf16-mixed")):
        callback = Evaluation(["psnr", "ssim", "lpips", "flip"], lpips_weights="random")
        trainer = trainer_with(tmp_path, callback, precision=precision)
        trainer.validate(Rounded(returned), DataLoader(Pictures(2, side=32), 2), verbose=False)
        found[precision] = {key: value.item() for key, value in trainer.callback_metrics.items()}
    assert found["32-true"] == found["bf16-mixed"]


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (None, "a NoneType"),
        ({"ids": ["a"], "predicted": torch.zeros(1, 3, 4, 4)}, "a dict without expected"),
        ({"ids": [], "predicted": None, "expected": torch.zeros(1)}, "that is not a tensor"),
        (
            {"ids": ["a"], "predicted": torch.zeros(1, 3, 4, 4), "expected": torch.zeros(1, 3, 4, 5)},
            "not both",
        ),
        (
            {"ids": ["a"], "predicted": torch.zeros(2, 3, 4, 4), "expected": torch.zeros(2, 3, 4, 4)},
            "1 ids for 2",
        ),
        (
            {
                "ids": torch.tensor([1]),
                "predicted": torch.zeros(1, 3, 4, 4),
                "expected": torch.ones(1, 3, 4, 4),
            },
            "ids that are a Tensor, not a list of str",
        ),
    ],
)
def test_a_step_that_returns_something_else_is_named(tmp_path: Path, output: object, complaint: str) -> None:
    class Wrong(Toy):
        def validation_step(self, batch: dict[str, Any], index: int) -> object:
            return output

    with pytest.raises(UserError, match=f"evaluation step of Wrong returned.*{complaint}"):
        trainer_with(tmp_path, Evaluation(["psnr"])).validate(Wrong(), loader(2), verbose=False)
    trainer_with(tmp_path, Evaluation(["psnr"], stages=["test"])).validate(Wrong(), loader(2), verbose=False)


def test_repeated_samples_are_refused(tmp_path: Path) -> None:
    twice = DataLoader(Pictures(3), 1, sampler=[0, 1, 0])
    with pytest.raises(UserError, match=r"more than once \(sample 0\)"):
        trainer_with(tmp_path, Evaluation(["psnr"])).test(Toy(), twice, verbose=False)


# Several ranks.


@pytest.mark.parametrize("world", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_each_sample_counts_once_for_every_size_batch_and_number_of_ranks(world: int, tmp_path: Path) -> None:
    run_ranks(world, gather_as_rank, world, tmp_path)
    scores = Scores(["psnr", "ssim"])
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(world)]
    assert len(ranks[0]) == 36
    for count, batch_size in GRID:
        rows = gather(rows_of(count, batch_size, 0, 1, scores))
        expected = [figure.mean for figure in summarize(scores.names, rows).values()]
        for found in ranks:
            ids, means = found[f"{count} {batch_size}"]
            assert ids == sorted(f"sample {index * 7 % 10}" for index in range(count))
            assert means == pytest.approx(expected, rel=1e-6)


class Restored(pl.Callback):
    """Looks at the DDP wrapper after a validation."""

    looked = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network = trainer.strategy.model
        assert isinstance(network, DistributedDataParallel) and network.require_forward_param_sync
        self.looked = True


class Failing(Toy):
    """Breaks in its validation, where buffers must not be broadcast."""

    def validation_step(self, batch: dict[str, Any], index: int) -> object:
        self.in_ddp = [self.trainer.strategy.model]
        assert not self.in_ddp[0].require_forward_param_sync
        raise RuntimeError("broken on purpose")


def train_on_ranks(root: Path, rank: int, world: int, count: int) -> None:
    """Fit with validation, then test, on uneven shards."""
    module, restored = Toy(), Restored()
    callbacks = (Evaluation(["psnr"]), Media(samples=2), restored)
    trainer = trainer_with(root, *callbacks, strategy="ddp", devices=world)
    trainer.fit(module, loader(4, rank, world), loader(count, rank, world))
    assert restored.looked
    logged = trainer.callback_metrics["val/psnr"].item()
    trainer.test(module, loader(count, rank, world), verbose=False)
    state = {key: value.tolist() for key, value in module.state_dict().items()}
    (root / f"rank{rank}.json").write_text(json.dumps({"val": logged, "state": state}))


def fail_on_ranks(root: Path, rank: int, world: int) -> None:
    module = Failing()
    trainer = trainer_with(root, Evaluation(["psnr"]), strategy="ddp", devices=world)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        trainer.fit(module, loader(4, rank, world), loader(4, rank, world))
    assert module.in_ddp[0].require_forward_param_sync


COUNTS = (1, 5)
"""One sample leaves the second rank without any."""


def train_and_fail(root: Path, world: int) -> None:
    for count in COUNTS:
        (root / str(count)).mkdir(exist_ok=True)
        train_on_ranks(root / str(count), rank(), world, count)
    fail_on_ranks(root, rank(), world)


def test_ddp_training_with_uneven_and_empty_shards(tmp_path: Path) -> None:
    run_ranks(2, train_and_fail, tmp_path, 2)
    for count in COUNTS:
        check_ranks(tmp_path / str(count), count)


def check_ranks(root: Path, count: int) -> None:
    found = [json.loads((root / f"rank{rank}.json").read_text()) for rank in range(2)]
    module = Toy()
    module.load_state_dict({key: torch.tensor(value) for key, value in found[0]["state"].items()})
    expected = truth(module, count)
    for stage in ("val", "test"):
        content, rows = report(root, stage)
        assert content["count"] == count
        assert {row["id"]: float(row["psnr"]) for row in rows} == pytest.approx(expected, rel=1e-5)
    assert found[0]["val"] == found[1]["val"]
    assert len(list((root / "media").iterdir())) == 2
    assert found[0]["val"] == pytest.approx(report(root, "val")[0]["figures"]["psnr"]["mean"], rel=1e-6)
