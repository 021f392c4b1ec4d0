from pathlib import Path

import numpy as np
import torch
from PIL import Image

from repsynth.batches import PosedViews
from repsynth.datamodules.exported_views import ExportReader
from repsynth.datamodules.synthetic.posed_scenes import SyntheticScenes
from repsynth.exports.validation_set import write_validation_set


def batches() -> list[PosedViews]:
    data = SyntheticScenes(image_size=(24, 32), novel_views=2, eval_scenes=3, eval_batch_size=2)
    return list(data.test_dataloader())


def test_scenes_are_numbered_over_all_batches_and_come_back(tmp_path: Path) -> None:
    given = batches()
    assert write_validation_set(given, tmp_path) == ["test-000000", "test-000001", "test-000002"]
    reader = ExportReader(tmp_path, (1.0, 100.0))
    assert reader.names() == ["0", "1", "2"]
    for name, (batch, index) in zip(
        reader.names(), ((given[0], 0), (given[0], 1), (given[1], 0)), strict=True
    ):
        scene, choice = reader.read(name), reader.choice(name)
        assert (choice.sources, choice.novel) == ([0, 1], [2, 3])  # the reference is the first source
        extrinsics = torch.cat([batch[kind]["extrinsics"][index] for kind in ("source", "novel")])
        intrinsics = torch.cat([batch[kind]["intrinsics"][index] for kind in ("source", "novel")])
        images = torch.cat([batch[kind]["images"][index] for kind in ("source", "novel")])
        assert np.array_equal(scene.extrinsics.astype(np.float32), extrinsics.numpy())
        assert np.array_equal(scene.intrinsics.astype(np.float32), intrinsics.numpy())
        for picture, image in zip(scene.pictures, images, strict=True):
            assert np.array_equal(np.asarray(Image.open(picture.path)), image.movedim(0, -1).numpy())


def test_the_list_has_the_official_columns(tmp_path: Path) -> None:
    write_validation_set(batches()[1:], tmp_path)
    lines = (tmp_path / "0" / "scene.csv").read_text().splitlines()
    assert lines[0] == "frame_id,type,frame_path,frame_size,extrinsic_re,intrinsics_re"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["0", "initial", "initial/initial_000000.png"],
        ["1", "initial", "initial/initial_000001.png"],
        ["0", "reference", "reference/reference_000000.png"],
        ["0", "novel", "novel/novel_000000.png"],
        ["1", "novel", "novel/novel_000001.png"],
    ]
    assert '"[24, 32]"' in lines[1]
    assert (tmp_path / "0" / "reference" / "reference_000000.png").is_file()
