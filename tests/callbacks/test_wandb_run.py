"""An offline W&B run says all that is needed to find, repeat and continue the run."""

import base64
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import wandb
import yaml
from distributed.harness import Sends
from distributed.toy import build
from lightning.pytorch.loggers import WandbLogger

from repsynth.callbacks.checkpoint import Stopped
from repsynth.callbacks.wandb_run import WandbRun, continue_run
from repsynth.cli import main

from .wandb_files import only_run

_TOY = Path(__file__).parents[1] / "cli" / "toy_method"


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to be in, W&B offline and silent."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    # What the run leaves in the environment is taken out again.
    monkeypatch.setenv("WANDB_RUN_ID", "")
    monkeypatch.delenv("WANDB_RUN_ID")
    wandb.teardown()  # it reads the environment once per process
    yield tmp_path
    wandb.teardown()


def callback(name: str, **options: object) -> str:
    return "--trainer.callbacks+=" + json.dumps(
        {"class_path": f"repsynth.callbacks.{name}", "init_args": options}
    )


def test_config_metrics_media_and_checkpoints_are_there(quiet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an agent of a sweep starts it: its values stay under the names that the sweep gave them."""
    shutil.copytree(_TOY, quiet / "toy_method")
    monkeypatch.syspath_prepend(quiet)
    Path("sweep.yaml").write_text(yaml.safe_dump({"model.width": {"value": 3}, "wandb_version": 1}))
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "sweep.yaml")
    words = [
        "--config=toy_method/experiments/toy_method/synthetic.yaml",
        "--trainer.default_root_dir=runs/a",
        "--model.width=3",
        "--trainer.logger=lightning.pytorch.loggers.WandbLogger",
        "--trainer.logger.project=repsynth",
        callback("media.Media"),
        callback("evaluation.Evaluation", metrics=["psnr"]),
        callback("checkpoint.Checkpoint", monitor="val/psnr"),
    ]
    assert main(["fit", *words]) == 0
    wandb.finish()

    run, root = only_run(quiet / "wandb"), quiet / "runs" / "a"
    assert run.config["model.width"] == 3 and "model.init_args.width" not in run.config
    saved = yaml.safe_load((root / "config.yaml").read_text())
    assert run.config["data.init_args.side"] == saved["data"]["init_args"]["side"]
    assert run.config["trainer.max_epochs"] == 2 and run.config["seed_everything"] == 0

    figures = [(row["trainer/global_step"], row["val/psnr"]) for row in run.history if "val/psnr" in row]
    report = json.loads((root / "evaluation" / "val.json").read_text())
    assert [samples for samples, _ in figures] == [6, 12]
    assert figures[-1][1] == pytest.approx(report["figures"]["psnr"]["mean"])
    losses = [row["trainer/global_step"] for row in run.history if "train/loss" in row]
    assert losses == [2, 4, 6, 8, 10, 12]

    (folder,) = (quiet / "wandb").glob("offline-run-*")
    pictures = [name for row in run.history for name in row.get("val/samples/filenames", [])]
    assert len(pictures) == 2 and all((folder / "files" / name).is_file() for name in pictures)

    assert run.summary["run_directory"] == str(root)
    assert run.summary["checkpoints"] == str(root / "checkpoints")
    (artifact,) = run.artifacts
    assert artifact.type == "model" and artifact.name == f"checkpoint-{artifact.run_id}"
    checked(artifact, root, ["best.ckpt", "last.ckpt"])
    metadata = json.loads(artifact.metadata)
    assert metadata["method"] == "toy_method.module.ToyMethod" and metadata["samples_seen"] == 12
    best = max(value for _, value in figures)
    assert metadata["monitor"] == "val/psnr" and metadata["best"] == pytest.approx(best)


def checked(artifact: Any, root: Path, names: list[str]) -> None:  # noqa: ANN401  a message of protobuf
    """The files that an artifact refers to are those of the run, byte for byte."""
    assert sorted(entry.path for entry in artifact.manifest.contents) == names
    for entry in artifact.manifest.contents:
        path = root / "checkpoints" / entry.path
        assert entry.ref == path.as_uri()
        assert base64.b64decode(entry.digest) == hashlib.md5(path.read_bytes()).digest()


def test_a_run_that_a_signal_stopped_refers_to_what_was_saved(quiet: Path) -> None:
    logger = WandbLogger(project="repsynth", save_dir=quiet, offline=True)
    extra: tuple[pl.Callback, ...] = (Sends(signal.SIGTERM, 4), WandbRun())
    trainer, module, data = build(quiet / "run", extra=extra, logger=logger)
    with pytest.raises(Stopped):
        trainer.fit(module, datamodule=data)
    wandb.finish()
    run = only_run(quiet / "wandb")
    (artifact,) = run.artifacts
    checked(artifact, quiet / "run", ["last.ckpt"])
    assert json.loads(artifact.metadata)["samples_seen"] == 16
    assert run.summary["run_directory"] == str(quiet / "run")


def recorded(root: Path, **changes: object) -> None:
    content: dict[str, object] = {"id": "abc", "folder": str(root.absolute()), "offline": False}
    (root / "wandb.json").write_text(json.dumps(content | changes))


def id_of(root: Path, **options: Any) -> str | None:  # noqa: ANN401
    logger = WandbLogger(**options)
    continue_run(logger, root)
    assert logger._wandb_init["id"] == logger.version
    return logger.version


def test_a_later_start_goes_on_in_the_recorded_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    assert id_of(tmp_path) is None
    recorded(tmp_path)
    assert id_of(tmp_path) == "abc"
    assert id_of(tmp_path, id="own") == "own"
    assert id_of(tmp_path, offline=True) is None
    recorded(tmp_path, offline=True)
    assert id_of(tmp_path) is None
    recorded(tmp_path, folder="/another/run")
    assert id_of(tmp_path) is None
    recorded(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert id_of(tmp_path) is None
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_RUN_ID", "of-the-agent")
    assert id_of(tmp_path) is None
