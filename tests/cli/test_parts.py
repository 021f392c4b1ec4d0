"""Parts of the command line that need no run."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from repsynth.callbacks.checkpoint import Checkpoint
from repsynth.callbacks.determinism import Determinism
from repsynth.callbacks.nonfinite import NonFiniteGuard
from repsynth.callbacks.origin import Origin
from repsynth.callbacks.preflight import Preflight
from repsynth.callbacks.watchdog import Watchdog
from repsynth.cli import every_run, main, saved_config, signatures
from repsynth.cli.configuration import merge


def test_list_help_and_version_import_nothing_heavy(toy: Path) -> None:
    code = (
        "import sys\n"
        "from repsynth.cli import main\n"
        "codes = [main(words.split()) for words in ('list', '--help', 'fit --help', '--version')]\n"
        "print(codes, {'torch', 'lightning', 'numpy', 'jsonargparse'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0] set()"


def test_python_dash_m_leaves_with_the_exit_code(toy: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "repsynth", "lisst"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown command 'lisst': did you mean 'list'?\n"


def test_the_doctor_reports_and_never_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["doctor"]) == 0
    report = capsys.readouterr().out
    for part in (
        "python",
        "torch",
        "lightning",
        "pytorch3d",
        "nvdiffrast",
        "vgg19",
        "alexnet",
        "inception",
        "ffmpeg",
    ):
        assert f"\n  {part}" in report
    assert "mode offline (from WANDB_MODE)" in report


def test_the_doctor_finds_weight_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert main(["doctor"]) == 0
    assert "missing; enables the perceptual loss" in capsys.readouterr().out
    damaged = tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"not the weights")
    assert main(["doctor"]) == 0
    assert f"the weight file {damaged}" in capsys.readouterr().out


def test_every_run_gets_its_callbacks_once(tmp_path: Path) -> None:
    saved = saved_config.SavedConfig({})
    kinds = [type(each) for each in every_run.complete({}, tmp_path, saved)["callbacks"]]
    assert kinds == [
        Watchdog,
        Origin,
        Determinism,
        Preflight,
        NonFiniteGuard,
        Checkpoint,
        saved_config.SavedConfig,
    ]

    class Mine(Determinism):
        pass

    given: list[Callback] = [Checkpoint(monitor="val/psnr"), Mine()]
    completed = every_run.complete({"callbacks": given}, tmp_path, saved)["callbacks"]
    assert [type(each) for each in completed] == [
        Watchdog,
        Origin,
        Preflight,
        NonFiniteGuard,
        Checkpoint,
        Mine,
        saved_config.SavedConfig,
    ]
    without = every_run.complete({"enable_checkpointing": False}, tmp_path, saved)["callbacks"]
    assert Checkpoint not in map(type, without)


def test_loggers_given_stay_and_false_means_none(tmp_path: Path) -> None:
    mine = CSVLogger(tmp_path)
    saved = saved_config.SavedConfig({})
    assert every_run.complete({"logger": mine}, tmp_path, saved)["logger"] is mine
    assert every_run.complete({"logger": False}, tmp_path, saved)["logger"] is False
    names = [type(each).__name__ for each in every_run.complete({"logger": True}, tmp_path, saved)["logger"]]
    assert names == ["CSVLogger", "TensorBoardLogger"]


def test_configurations_are_numbered_only_when_they_differ(tmp_path: Path) -> None:
    names = [saved_config.save({"a": value}, tmp_path).name for value in (1, 1, 2, 1, 2, 3)]
    assert names == [
        "config.yaml",
        "config.yaml",
        "config-2.yaml",
        "config.yaml",
        "config-2.yaml",
        "config-3.yaml",
    ]


class FakeRunConfig(dict[str, Any]):
    """Like the service's: a value that is there already must not be changed."""

    def update(self, values: dict[str, Any]) -> None:  # type: ignore[override]
        assert not set(values) & set(self)
        super().update(values)


@pytest.mark.parametrize("key", ["model.init_args.lr", "model.lr"])
def test_values_of_a_sweep_are_not_overwritten(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(config=FakeRunConfig({key: 0.3}))
    monkeypatch.setattr(WandbLogger, "experiment", run)
    config = {"model": {"init_args": {"lr": 0.1, "width": 2}}}
    saved_config._log(object.__new__(WandbLogger), saved_config.flatten(config))
    assert run.config == {key: 0.3, "model.init_args.width": 2}


def test_later_files_and_options_win(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("model: {class_path: a.A, init_args: {x: 1, y: 2}}\ndata: {class_path: d.D}\n")
    second.write_text("model: {class_path: a.A, init_args: {y: 3}}\n")
    merged = merge([f"--config={first}", "--config", str(second), "--model.z", "4"])
    assert merged.values["model"]["init_args"] == {"x": 1, "y": 3, "z": "4"}
    assert merged.origin("model.init_args.x") == f"in {first}"
    assert merged.origin("model.init_args.y") == f"in {second}"
    assert merged.origin("model.init_args.z") == "on the command line"


def test_options_of_another_class_are_forgotten(tmp_path: Path) -> None:
    first = tmp_path / "a.yaml"
    first.write_text("model: {class_path: a.A, init_args: {x: 1}}\ndata: {class_path: d.D}\n")
    merged = merge([f"--config={first}", "--model=b.B", "--model.y=2"])
    assert merged.values["model"] == {"class_path": "b.B", "init_args": {"y": "2"}}


class Base:
    def __init__(self, depth: int, name: str = "x") -> None:
        """
        Args:
            depth: how deep.
        """


class Derived(Base):
    """Text.

    Args:
        kind: which one.
    """

    def __init__(self, kind: Literal["a", "b"] = "a", **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)


def test_options_come_from_the_bases_that_get_the_rest() -> None:
    options = signatures.options(Derived)
    assert list(options) == ["kind", "depth", "name"]
    assert options["depth"].required
    assert (options["kind"].description, options["depth"].description) == ("which one.", "how deep.")
    assert not signatures.takes_anything(Derived)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (Literal["a", "b"], "'a' or 'b'"),
        (list[int], "a list of (a whole number)"),
        (tuple[int, float], "[a whole number, a number]"),
        (dict[str, bool], "a mapping from a text to true or false"),
        (Path, "a Path"),
    ],
)
def test_types_in_words(annotation: Any, words: str) -> None:  # noqa: ANN401
    assert signatures.readable_type(annotation) == words
