"""The commands of docs/running.md that need a run: executed in their order, on networks and data that take seconds."""

import re
import shlex
from pathlib import Path

import pytest
from test_readme import commands

from repsynth.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "running.md").read_text()
SMALL = [
    "--model.layers=2",
    "--model.planes=4",
    "--model.geometry_width=4",
    "--model.geometry_levels=0",
    "--model.coloring_width=4",
    "--data.train_scenes=4",
    "--data.eval_scenes=1",
    "--data.num_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]


def marked() -> list[str]:
    """The commands of the blocks whose mark names this file."""
    blocks = re.findall(
        r"<!-- not run: tests/test_running\.py [^>]*-->\n(```bash\n.*?^```)", PAGE, re.M | re.S
    )
    return [command for block in blocks for command in commands(block)]


def test_the_commands_that_need_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    found = marked()
    assert len(found) == 10
    for command in found:
        words = shlex.split(command)
        assert words[0] == "repsynth"
        own = SMALL if any(word.startswith("experiments/") for word in words) else []
        assert main([*words[1:], *own]) == 0, f"{command}\n{capsys.readouterr().err}"
    assert (tmp_path / "runs" / "from-exported" / "checkpoints" / "last.ckpt").is_file()


def test_every_file_and_option_that_the_page_names_is_there() -> None:
    clusters = ROOT / "experiments" / "clusters"
    names = re.findall(r"`((?:slurm|torchrun)_\w+\.\w+)`", PAGE)
    assert len(names) == 4 and all((clusters / name).is_file() for name in names)
    paths = re.findall(r"experiments/[\w/]+\.(?:sbatch|sh|yaml)", PAGE)
    assert paths and all((ROOT / path).is_file() for path in paths)
