import shutil
from pathlib import Path

import pytest

from repsynth.benchmark.entrants import check_names, data_set, entrant
from repsynth.errors import UserError

PLANE = "repsynth.modules.stereo_baselines.module.PlaneWarp"


def test_a_run_gives_its_newest_configuration_and_its_weights(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree("first", run)
    (run / "config-2.yaml").write_text((run / "config.yaml").read_text().replace("planes: 2", "planes: 3"))
    found = entrant(f"mine={run}")
    assert (found.name, found.checkpoint) == ("mine", run / "checkpoints" / "last.ckpt")
    assert found.model["init_args"]["planes"] == 3 and found.origin == f"in {run / 'config-2.yaml'}"
    assert [node["class_path"] for node in found.averages] == ["repsynth.callbacks.ema.EMA"]
    (run / "checkpoints" / "best.ckpt").write_bytes((run / "checkpoints" / "last.ckpt").read_bytes())
    best = entrant(str(run))
    assert (best.name, best.checkpoint) == ("run", run / "checkpoints" / "best.ckpt")


def test_a_checkpoint_is_built_from_the_configuration_beside_it(folder: Path, tmp_path: Path) -> None:
    in_run = entrant("first/checkpoints/last.ckpt")
    assert (in_run.name, in_run.origin) == ("last", "in first/config.yaml")
    alone = tmp_path / "moved.ckpt"
    alone.write_bytes(Path("first/checkpoints/last.ckpt").read_bytes())
    with pytest.raises(UserError) as caught:
        entrant(f"a={alone}")
    assert str(caught.value) == (
        f"{alone} has no configuration beside it; put that of its training there as moved.yaml or config.yaml"
    )
    (tmp_path / "moved.yaml").write_text(Path("first/config.yaml").read_text())
    assert entrant(f"a={alone}").model == in_run.model


@pytest.mark.parametrize("word", ["plane=PlaneWarp", f"plane={PLANE}"])
def test_a_baseline_needs_no_weights(word: str) -> None:
    found = entrant(word)
    assert (found.name, found.model, found.checkpoint) == ("plane", {"class_path": PLANE}, None)


def test_a_name_is_the_last_part_where_none_is_given(folder: Path) -> None:
    assert entrant("PlaneWarp").name == "PlaneWarp"
    assert data_set("first.yaml").name == "first"
    assert data_set(f"{PLANE}").name == "PlaneWarp"
    (folder / "a=b").mkdir(exist_ok=True)
    shutil.copy("first.yaml", "a=b/c.yaml")
    assert data_set("./a=b/c.yaml").name == "c"


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("a=runs/none", "--models a=runs/none: there is no run directory, checkpoint or class 'runs/none'; classes are "
         "dotted paths or NearestView or PlaneWarp"),
        ("a=Nearest", "--models a=Nearest: there is no run directory, checkpoint or class 'Nearest'; classes are "
         "dotted paths or NearestView or PlaneWarp"),
        ("a=", "'a=' names nothing; expected NAME=PATH, NAME=CLASS or one of these without a name"),
        ("a=repsynth.modules.stereo_baselines.module.PlanWarp", "unknown class "
         "'repsynth.modules.stereo_baselines.module.PlanWarp' for --models "
         "a=repsynth.modules.stereo_baselines.module.PlanWarp (on the command line): module "
         "repsynth.modules.stereo_baselines.module has no 'PlanWarp'; did you mean 'PlaneWarp'?"),
    ],
)  # fmt: skip
def test_models_that_are_not_there(
    word: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        entrant(word)
    assert str(caught.value) == sentence


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no config\.yaml: name the directory of a run"):
        entrant(str(tmp_path))


def test_data_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {class_path: a.B}\n")
    with pytest.raises(
        UserError, match=r"a\.yaml has no section 'data' with a class_path; name an experiment or its"
    ):
        data_set(str(tmp_path / "a.yaml"))
    with pytest.raises(UserError, match=r"b\.yaml: no such configuration file"):
        data_set(str(tmp_path / "b.yaml"))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a", "b", "a"], "--models: two are called 'a'; give each its own name: --models NAME=..."),
        ([".."], "--models: '..' cannot name a folder; expected letters, digits, blanks and . _ + - after a letter or "
         "digit: --models NAME=..."),
    ],
)  # fmt: skip
def test_names_that_cannot_be_told_apart(names: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        check_names("--models", names)
    assert str(caught.value) == sentence
