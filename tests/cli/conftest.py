import shutil
from pathlib import Path

import pytest

_TOY = Path(__file__).with_name("toy_method")
YAML = "experiments/toy_method/synthetic.yaml"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a method of its own on the path and its experiment, as the current folder."""
    shutil.copytree(
        _TOY, tmp_path / "toy_method", ignore=shutil.ignore_patterns("experiments", "__pycache__")
    )
    shutil.copytree(_TOY / "experiments", tmp_path / "experiments")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
