"""A method that lives outside the repository, through the whole command line."""

import errno
import os
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import yaml

from repsynth.cli import main

from .conftest import YAML

RUN = Path("runs/toy-synthetic")
LAST = RUN / "checkpoints" / "last.ckpt"


def fit(*words: str) -> None:
    assert main(["fit", "--config", YAML, *words]) == 0


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_it_is_listed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["EXPERIMENT", "METHOD", "DATA", "NEEDS"]
    assert row.split() == [YAML, "ToyMethod", "ToyPictures", "nothing"]


def test_it_is_described(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "toy_method"]) == 0
    text = capsys.readouterr().out
    assert "Learning to Copy Small Pictures" in text
    assert "l2: 1.0, squared error of the copy" in text
    assert "width: a whole number, default 4" in text
    assert "Channels of the narrow middle." in text
    assert "      lr: a number, default 0.1" in text


def test_a_dry_run_tells_all_and_writes_nothing(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(toy)
    fit("--dry-run", "--model.width", "7")
    assert files(toy) == before
    configuration, _, report = capsys.readouterr().out.partition("# data\n")
    assert yaml.safe_load(configuration)["model"]["init_args"]["width"] == 7
    lines = [line.split() for line in report.splitlines()]
    assert ["training", "samples:", "6"] in lines
    assert ["encoder", "28", "28", "[2,", "7,", "4,", "4]"] in lines
    assert ["decoder", "24", "24", "[2,", "3,", "4,", "4]"] in lines


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_a_dry_run_needs_no_checkpoint(verb: str, toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--config", YAML, "--dry-run"]) == 0
    assert "[1, 5, 4, 4]" in capsys.readouterr().out


def test_it_trains_and_the_saved_configuration_reopens_the_run(toy: Path) -> None:
    fit("--model.width", "3")
    saved = yaml.safe_load((RUN / "config.yaml").read_text())
    assert saved["model"]["init_args"]["width"] == 3
    assert saved["model"]["init_args"]["schedule"] == {"lr": 0.05, "warmup_samples": 0}
    assert saved["trainer"]["use_distributed_sampler"] is False
    assert weights(LAST)["encoder.weight"].shape[0] == 3
    assert main(["test", "--config", str(RUN / "config.yaml")]) == 0


def test_names_and_overrides_mean_the_same_in_both_forms(toy: Path) -> None:
    fit("--model.width", "3", "--trainer.default_root_dir", "runs/short")
    fit("--model.init_args.width=3", "--trainer.default_root_dir=runs/long")
    short, long = (yaml.safe_load(Path(f"runs/{name}/config.yaml").read_text()) for name in ("short", "long"))
    assert short["model"] == long["model"]
    assert short["model"]["init_args"]["width"] == 3


def test_a_second_start_loses_nothing(toy: Path) -> None:
    fit()
    first = {
        path: path.read_bytes()
        for path in RUN.rglob("*")
        if path.is_file() and "checkpoints" not in path.parts
    }
    fit("--resume")
    assert sorted(path.name for path in RUN.glob("config*.yaml")) == ["config.yaml"]
    fit("--resume", "--trainer.max_epochs", "3")
    assert sorted(path.name for path in RUN.glob("config*.yaml")) == ["config-2.yaml", "config.yaml"]
    assert yaml.safe_load((RUN / "config-2.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert all(path.read_bytes() == content for path, content in first.items())
    metrics = [path.read_text() for path in sorted(RUN.glob("csv/*/metrics.csv"))]
    assert all("train/l2" in text for text in metrics)
    assert len(list(RUN.glob("tensorboard/events*"))) == 3


def test_a_full_disk_is_one_sentence_and_other_errors_are_not(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever writes: loggers, tables and pictures do not know how to tell it."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.csv")
    with mock.patch("lightning.pytorch.loggers.CSVLogger.log_metrics", side_effect=full):
        assert main(["fit", "--config", YAML]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: fit ended because metrics.csv cannot be written (No space left on device): make room or choose another "
        "folder (trainer.default_root_dir); checkpoints that were written are whole (--resume)"
    )
    other = OSError(errno.EIO, os.strerror(errno.EIO))
    with (
        mock.patch("lightning.pytorch.loggers.CSVLogger.log_metrics", side_effect=other),
        pytest.raises(OSError, match="Input/output error"),
    ):
        fit("--resume")


def test_a_resumed_run_equals_the_uninterrupted_one(toy: Path) -> None:
    fit("--trainer.default_root_dir", "runs/whole", "--trainer.max_epochs", "3")
    fit("--trainer.max_epochs", "1")
    fit("--trainer.max_epochs", "3", "--resume")
    assert same(weights(LAST), weights(Path("runs/whole/checkpoints/last.ckpt")))


def test_resume_without_a_checkpoint_starts_from_the_beginning(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit("--resume")
    assert f"--resume: no checkpoint below {RUN} yet" in capsys.readouterr().err
    assert LAST.is_file()


def test_weights_alone_can_be_taken_from_another_run(toy: Path) -> None:
    fit("--trainer.default_root_dir", "runs/first", "--seed_everything", "5")
    source = Path("runs/first/checkpoints/last.ckpt")
    fit("--init_from", str(source), "--model.schedule.lr", "0.0", "--trainer.max_epochs", "1")
    assert same(weights(LAST), weights(source))
    assert torch.load(LAST, weights_only=True)["callbacks"]["Determinism"]["samples_seen"] == 6


def test_a_checkpoint_of_another_size_is_refused(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit("--trainer.max_epochs", "1")
    capsys.readouterr()
    assert main(["test", "--config", YAML, "--model.width", "9", "--ckpt_path", "last"]) == 2
    assert "does not fit the networks of this experiment" in capsys.readouterr().err
    other = ["--trainer.default_root_dir", "runs/other"]
    assert main(["fit", "--config", YAML, "--model.width", "9", "--init_from", str(LAST), *other]) == 2
    assert "does not fit the networks of this experiment" in capsys.readouterr().err


def test_a_refused_start_leaves_the_run_directory_alone(toy: Path) -> None:
    fit("--trainer.max_epochs", "1")
    before = files(RUN)
    for refused in ([], ["--model.width=9", "--resume"], ["--data.batch_size=0", "--resume"]):
        assert main(["fit", "--config", YAML, *refused]) == 2
        assert (
            main(["fit", "--config", YAML, *refused, "--trainer.default_root_dir=new", "--data.side=6"]) == 2
        )
    assert files(RUN) == before
    assert not Path("new").exists()


def test_a_run_is_not_continued_from_behind_its_end(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = '--trainer.callbacks+={"class_path": "repsynth.callbacks.checkpoint.Checkpoint", "init_args": '
    fit(every + '{"every_samples": 1}}')
    before = LAST.with_name("last-1.ckpt")
    # Two saves at the end have the same count: go back by hand.
    state = torch.load(before, weights_only=True)
    state["callbacks"]["Determinism"]["samples_seen"] = 4
    torch.save(state, before)
    capsys.readouterr()
    assert main(["fit", "--config", YAML, "--ckpt_path", str(before), "--trainer.max_epochs=3"]) == 2
    assert (
        f"{before} was saved after 4 samples, but {LAST} of the same run after 12" in capsys.readouterr().err
    )
    fit("--ckpt_path", str(before), "--trainer.max_epochs=3", "--trainer.default_root_dir=runs/branch")


def test_the_newest_damaged_checkpoint_is_named_and_the_one_before_taken(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every = '--trainer.callbacks+={"class_path": "repsynth.callbacks.checkpoint.Checkpoint", "init_args": '
    fit(every + '{"every_samples": 1}}')
    LAST.write_bytes(LAST.read_bytes()[:-500])
    capsys.readouterr()
    with pytest.warns(UserWarning) as caught:
        fit("--resume", "--trainer.max_epochs=3")
    told = [warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in caught]
    line = f"the checkpoint {LAST} is damaged (it has no whole zip archive) and is passed over"
    assert f"warning: {line}\n" in told
    assert f"from {RUN}/checkpoints/last-1.ckpt\n" in capsys.readouterr().err


def test_a_reader_that_leaves_ends_the_command_quietly(toy: Path) -> None:
    for unbuffered in ("", "1"):
        command = f"{sys.executable} -m repsynth list | true; echo ${{PIPESTATUS[0]}}"
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert (done.stdout, done.stderr) == ("141\n", "")


def test_a_pipe_that_breaks_elsewhere_is_a_failure(toy: Path) -> None:
    """A lost worker or logger also raises BrokenPipeError, which must not end a training without a word."""
    program = (
        "import sys, repsynth.cli as cli\n"
        "def lost(*_): raise BrokenPipeError('the logger is gone')\n"
        "cli._run_training = lost\n"
        "sys.exit(cli.main(['fit']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "the logger is gone" in done.stderr


def test_ctrl_c_leaves_with_130(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_method.module import ToyMethod

    def interrupted(*_: Any) -> None:  # noqa: ANN401
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ToyMethod, "training_step", interrupted)
    try:
        assert main(["fit", "--config", YAML]) == 130
    finally:
        signal.signal(signal.SIGINT, handler)


def test_other_failures_keep_their_traceback(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_method.module import ToyMethod

    monkeypatch.setattr(ToyMethod, "configure_optimizers", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["fit", "--config", YAML])


def test_print_config_shows_the_merged_configuration(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", YAML, "--print_config", "--model.width=6"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["width"] == 6


def test_a_dry_run_of_several_ranks_stays_in_this_process(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit("--dry-run", "--trainer.devices", "2", "--trainer.strategy", "ddp")
    assert capsys.readouterr().out.count("# networks") == 1


def test_two_ranks_train_through_the_command_line(toy: Path) -> None:
    words = ["fit", "--config", YAML, "--trainer.devices=2", "--trainer.strategy=ddp"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(toy),
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "repsynth", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    state = torch.load(LAST, weights_only=True)
    assert state["callbacks"]["Determinism"]["samples_seen"] == 12
    assert sorted(path.name for path in RUN.glob("config*.yaml")) == ["config.yaml"]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])
