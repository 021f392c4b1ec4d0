"""Environment variables in `trainer.default_root_dir`: what a cluster or W&B's agent sets."""

from pathlib import Path

import pytest
import yaml

from repsynth.cli import main
from repsynth.cli.run_directory import expanded
from repsynth.errors import UserError

from .conftest import YAML


def test_variables_are_replaced_and_the_rest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    monkeypatch.setenv("RUN_ID", "a1")
    assert expanded("$SCRATCH/runs/x-${RUN_ID}_y", "") == "/scratch/me/runs/x-a1_y"
    assert expanded("runs/100$", "") == "runs/100$"
    assert expanded("runs/plain", "") == "runs/plain"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    if value is not None:
        monkeypatch.setenv("NOWHERE", value)
    with pytest.raises(UserError) as caught:
        expanded("$NOWHERE/runs", "in x.yaml")
    assert str(caught.value) == (
        "option 'trainer.default_root_dir' (in x.yaml) is '$NOWHERE/runs', but the environment variable NOWHERE is not "
        "set; set it, or give a folder without it"
    )


def test_a_run_is_written_there_and_its_configuration_reopens_it(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "x7y8z9")
    words = [
        "--config",
        YAML,
        "--trainer.default_root_dir=runs/sweeps/$WANDB_RUN_ID",
        "--trainer.max_epochs=1",
    ]
    assert main(["fit", *words]) == 0
    saved = Path("runs/sweeps/x7y8z9/config.yaml")
    assert yaml.safe_load(saved.read_text())["trainer"]["default_root_dir"] == "runs/sweeps/x7y8z9"
    monkeypatch.delenv("WANDB_RUN_ID")
    assert main(["test", "--config", str(saved)]) == 0
    capsys.readouterr()
    assert main(["fit", *words]) == 2
    assert "(on the command line) is 'runs/sweeps/$WANDB_RUN_ID', but" in capsys.readouterr().err
