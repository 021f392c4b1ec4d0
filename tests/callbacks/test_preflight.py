from collections import namedtuple
from pathlib import Path
from unittest import mock

import lightning.pytorch as pl
import pytest
from distributed.toy import Toy, ToyGAN, build

from repsynth.callbacks.checkpoint import resume_path
from repsynth.callbacks.preflight import Preflight
from repsynth.checkpoints import DurableCheckpointIO
from repsynth.errors import UserError


def fit(root: Path, method: type[Toy] = Toy, resume: Path | None = None) -> pl.Trainer:
    trainer, module, data = build(root, method, extra=(Preflight(),), plugins=[])
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return trainer


def test_brings_the_durable_files(tmp_path: Path) -> None:
    assert isinstance(fit(tmp_path).strategy.checkpoint_io, DurableCheckpointIO)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        UserError, match=r"the output folder .*file.run cannot be written \(Not a directory\)"
    ):
        fit(tmp_path / "file" / "run")


def test_small_disk(tmp_path: Path) -> None:
    usage = namedtuple("usage", "free")
    with (
        mock.patch("repsynth.callbacks.preflight.shutil.disk_usage", return_value=usage(1000)),
        pytest.raises(UserError, match=r"has 0\.00 GiB free, and the checkpoints of this run may need"),
    ):
        fit(tmp_path)


def test_a_run_that_goes_on_needs_no_room_for_the_files_that_it_has(tmp_path: Path) -> None:
    trainer = fit(tmp_path)
    held = sum(path.stat().st_size for path in (tmp_path / "checkpoints").iterdir())
    with mock.patch("repsynth.callbacks.preflight._COPIES", 1):
        need = 3 * 4 * sum(p.numel() for p in (*trainer.model.parameters(), *trainer.model.buffers()))
        assert need < held
        usage = namedtuple("usage", "free")
        with mock.patch("repsynth.callbacks.preflight.shutil.disk_usage", return_value=usage(0)):
            fit(tmp_path, resume=resume_path(tmp_path))
            with pytest.raises(UserError, match=r"has 0\.00 GiB free"):
                fit(tmp_path / "new")


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    fit(tmp_path / "a")
    fit(tmp_path / "b")
    with pytest.raises(UserError, match=r"already holds the checkpoints of a run \(best.ckpt\).*--resume"):
        fit(tmp_path / "a")
    with pytest.raises(UserError, match="already holds the checkpoints"):
        fit(tmp_path / "a", resume=resume_path(tmp_path / "b"))
    fit(tmp_path / "a", resume=resume_path(tmp_path / "a"))


def test_checkpoint_of_another_method(tmp_path: Path) -> None:
    fit(tmp_path)
    with pytest.raises(UserError, match=r"belongs to .*Toy, this experiment trains .*ToyGAN"):
        fit(tmp_path, ToyGAN, resume=resume_path(tmp_path))
