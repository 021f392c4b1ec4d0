"""Two photographs as a batch without novel views."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from repsynth.datamodules.posed_scene import middle_depth
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.stereo_pair import StereoPair
from repsynth.datamodules.views import camera_centres
from repsynth.geometry.cameras import Cameras, crop_intrinsics
from tests.datamodules.pair_folder import SIZE, write_pair


def example_of(root: Path, **options: Any) -> Any:  # noqa: ANN401
    data = StereoPair(str(root), **{"image_size": (30, 40), **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.check("predict")
    return data.predict_dataset()[SampleKey(0, 0)]


def test_a_rectified_pair(tmp_path: Path) -> None:
    example = example_of(write_pair(tmp_path / "chair"))
    assert example["id"] == "chair"
    assert example["source"]["images"].shape == (2, 3, 30, 40)
    assert example["source"]["images"][:, 0, 0, -1].tolist() == [50, 150]
    np.testing.assert_allclose(
        camera_centres(example["source"]["extrinsics"]), [[0, 0, 0], [0.25, 0, 0]], atol=1e-7
    )
    assert example["depth_range"].tolist() == [2, 50]
    assert example["median_depth"] == pytest.approx(middle_depth((2, 50)))
    # Nothing to predict, and still of the right shapes.
    shapes = {name: value.shape for name, value in example["novel"].items()}
    assert shapes == {"images": (0, 3, 30, 40), "extrinsics": (0, 4, 4), "intrinsics": (0, 3, 3)}


def test_the_second_camera_is_to_the_right(tmp_path: Path) -> None:
    """What the first sees in its middle, the second sees further left, by focal length x baseline / depth."""
    source = example_of(write_pair(tmp_path / "chair"), image_size=SIZE)["source"]
    cameras = Cameras(torch.tensor(source["extrinsics"]), torch.tensor(source["intrinsics"]))
    pixels, depth = cameras.project(torch.tensor([[0.0, 0.0, 5.0]]))
    torch.testing.assert_close(pixels[:, 0], torch.tensor([[0.5, 0.45], [0.5 - 0.9 * 0.25 / 5, 0.45]]))
    assert depth.flatten().tolist() == [5, 5]


@pytest.mark.parametrize(("fit", "size"), [("crop", (30, 40)), ("stretch", (30, 40)), ("crop", (20, 60))])
def test_intrinsics_follow_the_image(tmp_path: Path, fit: Any, size: tuple[int, int]) -> None:  # noqa: ANN401
    given = [[0.9, 1.5, 0.5, 0.45], [0.8, 1.4, 0.55, 0.5]]
    folder = write_pair(tmp_path / "chair", intrinsics_normalised_fx_fy_cx_cy=given)
    found = example_of(folder, fit=fit, image_size=size)["source"]["intrinsics"]
    for matrix, (fx, fy, cx, cy) in zip(found, given, strict=True):
        whole = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        between = {(30, 40): (30, 50), (20, 60): (36, 60)}[size]
        expected = whole if fit == "stretch" else crop_intrinsics(whole, between, size)
        np.testing.assert_allclose(matrix, expected, rtol=1e-6)


def test_either_picture_can_be_the_reference(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "chair")
    first, second = (example_of(folder, reference=name)["source"] for name in ("first", "second"))
    for name in ("images", "extrinsics", "intrinsics"):
        np.testing.assert_array_equal(first[name], second[name][::-1])


def test_lengths_can_be_scaled(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "chair")
    scaled = example_of(folder, near_depth=1.0)
    assert scaled["depth_range"].tolist() == [1, 25]
    np.testing.assert_allclose(camera_centres(scaled["source"]["extrinsics"])[1], [0.125, 0, 0], atol=1e-7)


def test_an_assumed_focal_length_has_square_pixels_and_is_told(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "chair", intrinsics_normalised_fx_fy_cx_cy=None)
    data = StereoPair(str(folder), image_size=(30, 50), assume_focal=0.6)
    sentence = (
        f"StereoPair: {folder}/pair.json gives no focal length; 0.6 times the width with square pixels is assumed "
        "(data.assume_focal), so depths and camera paths are right only as far as that is"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.check("predict")
        data.check("predict")
    assert [str(warning.message) for warning in caught] == [sentence]
    example: Any = data.predict_dataset()[SampleKey(0, 0)]
    height, width = SIZE
    matrix = example["source"]["intrinsics"][0]
    np.testing.assert_allclose(matrix, [[0.6, 0, 0.5], [0, 0.6 * width / height, 0.5], [0, 0, 1]], rtol=1e-6)
    assert matrix[0, 0] * width == pytest.approx(matrix[1, 1] * height)


def test_a_focal_length_that_is_given_is_never_assumed(tmp_path: Path) -> None:
    folder = write_pair(tmp_path / "chair")
    np.testing.assert_array_equal(
        example_of(folder, assume_focal=0.1)["source"]["intrinsics"],
        example_of(folder)["source"]["intrinsics"],
    )


def test_pairs_below_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_pair(tmp_path / name)
    (tmp_path / "notes").mkdir()
    data = StereoPair(str(tmp_path), image_size=(30, 40), eval_batch_size=2)
    with pytest.warns(
        UserWarning,
        match=r"StereoPair: found 2 pairs under .*: 1 folders without pair.json. First: notes; these are left out",
    ):
        data.check("predict")
    assert data.describe("predict") == {"pairs": 2}
    (batch,) = data.predict_dataloader()
    assert batch["ids"] == ["a", "b"] and batch["source"]["images"].shape == (2, 2, 3, 30, 40)
    batch = data.on_after_batch_transfer(batch, 0)
    assert batch["novel"]["images"].shape == (2, 0, 3, 30, 40)
    assert batch["novel"]["images"].dtype == torch.float32


def test_bananas(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "stereo" / "bananas"
    data = StereoPair(str(folder), image_size=(72, 128))
    with pytest.warns(
        UserWarning, match=r"pair.json: intrinsics_note: no focal length is given with the example; 0.5"
    ):
        data.check("predict")
    (batch,) = data.predict_dataloader()
    assert batch["ids"] == ["bananas"] and batch["depth_range"].tolist() == [[1, 100]]
    poses = np.array(json.loads((folder / "pair.json").read_text())["w2c_3x4_opencv"])
    np.testing.assert_allclose(batch["source"]["extrinsics"][0, :, :3], poses, rtol=1e-6)
    # As it stands in the file, guess or not: half of the width and half of the height.
    np.testing.assert_allclose(
        batch["source"]["intrinsics"][0], [[[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]]] * 2
    )
    assert not torch.equal(batch["source"]["images"][0, 0], batch["source"]["images"][0, 1])


def test_bananas_in_a_folder_of_pairs_with_the_other_reference(shared_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_dir / "data" / "stereo" / "bananas", tmp_path / "pairs" / "bananas")
    first = example_of(tmp_path / "pairs", image_size=(72, 128))
    second = example_of(tmp_path / "pairs", image_size=(72, 128), reference="second")
    assert first["id"] == second["id"] == "bananas"
    np.testing.assert_array_equal(first["source"]["images"][0], second["source"]["images"][1])
