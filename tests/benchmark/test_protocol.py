from pathlib import Path
from typing import Any

import pytest

from repsynth.benchmark.entrants import DataSet
from repsynth.benchmark.protocol import VIEW_OPTIONS, read_protocol, settled
from repsynth.cli import signatures
from repsynth.datamodules.scene_data import SceneData
from repsynth.errors import UserError
from tests.benchmark.conftest import write_protocol

SHIPPED = sorted((Path(__file__).parents[2] / "experiments" / "protocols").glob("*.yaml"))
SCENES = "repsynth.datamodules.synthetic.posed_scenes.SyntheticScenes"


def test_keys_that_are_not_given_have_their_defaults(tmp_path: Path) -> None:
    protocol = read_protocol(write_protocol(tmp_path / "p.yaml", lpips={"weights": "random"}, seeds=[1, 2]))
    assert protocol.lpips.backbone == "alex" and protocol.lpips.weights == "random"
    assert protocol.image_size == (32, 32) and protocol.seeds == (1, 2) and protocol.precision == "32-true"
    options = protocol.evaluation["init_args"]
    assert options["lpips_weights"] == "random" and options["crop"] == 0.75 and options["stages"] == ["test"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"crp": 220}, "unknown key 'crp'; did you mean 'crop'?"),
        ({"lpips": {"weight": "auto"}}, "unknown key 'lpips.weight'; did you mean 'weights'?"),
        ({"lpips": {"backbone": "resnet"}}, "'lpips.backbone' expects 'alex' or 'vgg' or 'squeeze', but got 'resnet'"),
        ({"views": {"windw": 5}}, "unknown key 'views.windw'; did you mean 'window'?"),
        ({"image_size": 256}, "'image_size' expects [a whole number, a whole number] or null, but got 256"),
        ({"crop": 220.5}, "evaluation option crop is 220.5: expected a fraction of each side in (0, 1], or a whole "
         "number of pixels above 1"),
        ({"metrics": ["psnr", "psnr"]}, "evaluation option metrics is ['psnr', 'psnr']: expected some of psnr, "
         "ssim, lpips, flip, each at most once"),
        ({"seeds": []}, "'seeds' is []; expected at least one, from 0 on, none twice"),
        ({"seeds": [1, 1]}, "'seeds' is [1, 1]; expected at least one, from 0 on, none twice"),
        ({"repeats": -1}, "'repeats' is -1; expected 0 (no timing) or more"),
        ({"published": ["stereolayers/table1/swrd"]}, "unknown published table 'stereolayers/table1/swrd'; did you "
         "mean 'stereolayers/table1/sword'?"),
        ({"precision": "16-true"}, "'precision' expects '32-true' or 'bf16-mixed' or '16-mixed', but got '16-true'"),
    ],
)  # fmt: skip
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    path = write_protocol(tmp_path / "p.yaml", **changes)
    with pytest.raises(UserError) as caught:
        read_protocol(path)
    assert str(caught.value) == f"{path}: {sentence}"


def test_the_options_of_the_data_are_replaced(tmp_path: Path) -> None:
    path = write_protocol(tmp_path / "p.yaml")
    given = DataSet("s", {"class_path": SCENES, "init_args": {"eval_scenes": 9, "window": 3}}, "in s.yaml")
    options = settled(read_protocol(path), path, given).data["init_args"]
    assert options == {
        "eval_scenes": 9,
        "window": 5,
        "image_size": [32, 32],
        "mode": "extrapolation",
        "source_views": 2,
        "novel_views": 1,
    }


def test_most_view_options_are_those_of_posed_scenes() -> None:
    assert set(VIEW_OPTIONS) - set(signatures.options(SceneData)) == {
        "evaluation_index",
        "evaluation_partial",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_protocol_can_be_read(path: Path) -> None:
    assert path.read_text().startswith("# ")
    read_protocol(path)


def test_protocols_are_shipped() -> None:
    assert len(SHIPPED) >= 3
