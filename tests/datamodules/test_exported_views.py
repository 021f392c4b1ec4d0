"""Exported evaluation scenes: read in the written form, back from our own exporter, and what can be wrong with them."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.batches import PosedViews
from repsynth.datamodules.exported_views import ExportedViews
from repsynth.datamodules.samplers import SampleKey
from repsynth.errors import UserError
from repsynth.exports.validation_set import write_validation_set

_HEAD = "frame_id,type,frame_path,frame_size,extrinsic_re,intrinsics_re"
_LAYOUT = "<number>/{scene.csv, initial/, reference/, novel/}, numbers from 0 without gaps"
_INTRINSICS = [[0.8, 0.0, 0.5], [0.0, 1.1, 0.5], [0.0, 0.0, 1.0]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPSYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def row(frame: int, kind: str, x: float, picture: str | None = None, nested: bool = False) -> str:
    pose = [[1.0, 0.0, 0.0, -x], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    matrices = [pose, _INTRINSICS] if nested else [[*chain(*pose)], [*chain(*_INTRINSICS)]]
    path = f"{kind}/{kind}_{frame:06d}.png" if picture is None else picture
    return f'{frame},{kind},{path},"[24, 32]",' + ",".join(f'"{matrix}"' for matrix in matrices)


def write_scene(
    folder: Path, inputs: list[float], novel: list[float], reference: float | None, **form: bool
) -> None:
    """Frames at these x; a picture's grey level is ten times its x. The reference has a camera, but no picture."""
    rows = [_HEAD]
    for kind, places in (("initial", inputs), ("novel", novel)):
        (folder / kind).mkdir(parents=True)
        for frame, x in enumerate(places):
            rows.append(row(frame, kind, x, **form))
            picture = Image.fromarray(np.full((24, 32, 3), round(10 * x), dtype=np.uint8))
            picture.save(folder / kind / f"{kind}_{frame:06d}.png")
    if reference is not None:
        rows.append(row(0, "reference", reference, "virtual", **form))
    (folder / "scene.csv").write_text("\n".join([*rows, ""]))


def exported(**options: Any) -> ExportedViews:  # noqa: ANN401
    # Absolute where pixels are read: the pictures that a process keeps are known by their paths.
    return ExportedViews(**{"root": str(Path("set").resolve()), "image_size": (24, 24), "seed": 0, **options})


@pytest.mark.parametrize("nested", [False, True])
def test_inputs_start_with_the_one_nearest_to_the_reference(nested: bool) -> None:
    write_scene(Path("set/0"), [0.0, 4.0, 8.0], [1.0, 2.0], 7.0, nested=nested)
    write_scene(Path("set/1"), [3.0, 5.0, 9.0], [4.0, 6.0], None, nested=nested)
    module = exported(eval_batch_size=2)
    module.check()
    (batch,) = module.test_dataloader()
    assert batch["ids"] == ["0", "1"]
    for part, places in (("source", [[8, 0, 4], [3, 5, 9]]), ("novel", [[1, 2], [4, 6]])):
        np.testing.assert_array_equal(-batch[part]["extrinsics"][:, :, 0, 3], places)
        np.testing.assert_array_equal(batch[part]["images"].float().mean(dim=(2, 3, 4)) / 10, places)
    # 24 of 32 columns are left.
    assert batch["source"]["intrinsics"][0, 0, 0, 0] == pytest.approx(0.8 * 32 / 24)
    assert batch["depth_range"].tolist() == [[1, 100]] * 2
    assert module.protocol == (
        "ExportedViews, exported scenes, all novel frames of each from all its initial ones; 24 x 24 pixels (crop)"
    )


def test_scenes_are_in_the_order_of_their_numbers() -> None:
    for number in range(11):
        write_scene(Path(f"set/{number}"), [0.0, 1.0], [float(number)], None)
    names = [example.name for example in exported().evaluation_examples("val")]
    assert names == [f"{number:02d}" for number in range(11)]
    novel = exported().eval_dataset("val")[SampleKey(0, 10)]["novel"]
    assert novel["extrinsics"][0, 0, 3] == -10


def test_our_own_export_comes_back(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)

    def views(number: int) -> dict[str, torch.Tensor]:
        poses = torch.eye(4).repeat(2, number, 1, 1)
        poses[..., :3, 3] = torch.randn(2, number, 3, generator=generator)
        images = torch.randint(0, 256, (2, number, 3, 24, 24), generator=generator, dtype=torch.uint8)
        intrinsics = torch.tensor(_INTRINSICS).repeat(2, number, 1, 1)
        return {"images": images, "extrinsics": poses, "intrinsics": intrinsics}

    batch: PosedViews = {
        "ids": ["a", "b"],
        "source": views(3),  # type: ignore[typeddict-item]
        "novel": views(2),  # type: ignore[typeddict-item]
        "depth_range": torch.tensor([[1.0, 100.0]] * 2),
        "median_depth": torch.tensor([2.0, 2.0]),
    }
    assert write_validation_set([batch], tmp_path / "set") == ["a", "b"]
    (found,) = exported(eval_batch_size=2).test_dataloader()
    for part in ("source", "novel"):
        for key in ("images", "extrinsics", "intrinsics"):
            torch.testing.assert_close(found[part][key], batch[part][key])  # type: ignore[literal-required]


def test_scenes_of_different_sizes_cannot_be_joined() -> None:
    write_scene(Path("set/0"), [0.0, 1.0], [2.0], None)
    write_scene(Path("set/1"), [0.0, 1.0], [2.0, 3.0], None)
    exported().check("test")
    with pytest.raises(UserError) as caught:
        exported(eval_batch_size=4).check("validate")
    assert str(caught.value) == (
        "ExportedViews: the scenes 0 and 1 have (2, 1) and (2, 2) (initial, novel) frames and cannot be joined; set "
        "data.eval_batch_size to 1 (now 4)"
    )


def replaced(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "scene.csv").write_text(
        (folder / "scene.csv").read_text().replace(old, new, 1)
    )


MISTAKES: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "no root": (
        lambda folder: folder.parent.rename("sat"),
        {},
        f"ExportedViews: no folder at set (option data.root). Expected {_LAYOUT}. See docs/data/exportedviews.md for "
        "how to get it.",
    ),
    "a gap": (
        lambda folder: folder.rename("set/2"),
        {},
        "ExportedViews: no folder set/1, expected scenes numbered from 0 without gaps: export them again",
    ),
    "no list": (
        lambda folder: (folder / "scene.csv").unlink(),
        {},
        "ExportedViews: set/1/scene.csv cannot be read ([Errno 2] No such file or directory: 'set/1/scene.csv'); "
        "export the scene again",
    ),
    "a column is called otherwise": (
        replaced("extrinsic_re", "extrinsics"),
        {},
        "ExportedViews: set/1/scene.csv has no column extrinsic_re; columns are "
        f"{_HEAD.replace('extrinsic_re', 'extrinsics').replace(',', ', ')}: export the scene again",
    ),
    "an unknown type": (
        replaced("novel", "target"),
        {},
        "ExportedViews: set/1/scene.csv line 4: type is 'target'; expected initial, reference or novel: export the "
        "scene again",
    ),
    "code in a field": (
        replaced('"[1.0, 0.0, 0.0, -0.0,', "\"[__import__('os'), 0.0, 0.0, -0.0,"),
        {},
        "ExportedViews: set/1/scene.csv line 2: extrinsic_re is \"[__import__('os'), 0.0, 0.0, -0.0, 0.0, \"; expected "
        "a list of 12 numbers: export the scene again",
    ),
    "numbers are missing": (
        replaced("[0.8, 0.0, 0.5, 0.0, 1.1, 0.5, 0.0, 0.0, 1.0]", "[0.8, 1.1, 0.5, 0.5]"),
        {},
        "ExportedViews: set/1/scene.csv line 2: intrinsics_re is '[0.8, 1.1, 0.5, 0.5]'; expected a list of 9 numbers: "
        "export the scene again",
    ),
    "a cut row": (
        lambda folder: (folder / "scene.csv").write_text(f"{_HEAD}\n0,initial,initial/initial_000000.png\n"),
        {},
        "ExportedViews: set/1/scene.csv line 2: extrinsic_re is ''; expected a list of 12 numbers: export the scene "
        "again",
    ),
    "a mirrored camera": (
        replaced('"[1.0, 0.0, 0.0, -0.0,', '"[-1.0, 0.0, 0.0, -0.0,'),
        {},
        "ExportedViews: set/1/scene.csv line 2: camera 0 has a mirrored rotation (determinant -1); expected "
        "determinant +1: correct it or leave it out.",
    ),
    "nothing to predict": (
        lambda folder: (folder / "scene.csv").write_text("\n".join([_HEAD, row(0, "initial", 0.0)])),
        {},
        "ExportedViews: set/1/scene.csv has no novel frames; expected inputs (initial) and frames to predict (novel): "
        "export the scene again",
    ),
    "a path out of the scene": (
        replaced("novel/novel_000000.png", "../0/novel/novel_000000.png"),
        {},
        "ExportedViews: set/1/scene.csv line 4: frame_path is '../0/novel/novel_000000.png'; expected a relative path "
        "that stays below set/1: correct it in the file",
    ),
    "a frame without a picture": (
        replaced("novel/novel_000000.png", "virtual"),
        {},
        "set/1/virtual: no such file; an image was expected here",
    ),
    "pictures that are too small": (
        lambda folder: None,
        {"image_size": (24, 40)},
        "set/0/initial/initial_000000.png is 32x24 (width x height), smaller than data.image_size 40x24; lower "
        "data.image_size or set data.on_small: skip",
    ),
    "planes behind the camera": (
        lambda folder: None,
        {"far": 0.5},
        "data.near is 1 and data.far 0.5; expected 0 < near < far, in scene units",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_sentence(mistake: str) -> None:
    spoil, options, sentence = MISTAKES[mistake]
    for number in range(2):
        write_scene(Path(f"set/{number}"), [0.0, 1.0], [2.0], None)
    spoil(Path("set/1"))
    with pytest.raises(UserError) as caught:
        exported(root="set", **options).check("test")
    assert str(caught.value) == sentence


def test_there_is_nothing_to_train_on() -> None:
    write_scene(Path("set/0"), [0.0, 1.0], [2.0], None)
    assert exported().describe("test") == {"test scenes": 1, "test samples": 1}
    with pytest.raises(UserError) as caught:
        exported().check("fit")
    assert str(caught.value) == (
        "ExportedViews: has evaluation scenes only; train on another data set and name this one for validation or test"
    )
