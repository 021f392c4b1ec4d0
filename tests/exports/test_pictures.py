from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from repsynth.exports.files import file_name
from repsynth.exports.pictures import write_depth, write_frames, write_views


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.parametrize(
    ("sample", "name"),
    [("fern/image000", "fern_image000"), ("a b:c", "a_b_c"), ("..", "_"), (".x", "_x"), ("é-1.0", "é-1.0")],
)
def test_names_of_files_stay_in_their_folder(sample: str, name: str) -> None:
    assert file_name(sample) == name


def test_bytes_and_floats_are_the_same_picture(tmp_path: Path) -> None:
    levels = torch.randint(
        0, 256, (1, 3, 8, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    for name, frames in (("bytes", levels), ("floats", levels / 255)):
        assert write_frames(frames, tmp_path / name, fps=25) == [tmp_path / f"{name}.png"]
        assert (np.asarray(Image.open(tmp_path / f"{name}.png")) == levels[0].movedim(0, -1).numpy()).all()


def test_many_frames_are_a_video(tmp_path: Path) -> None:
    frames = torch.linspace(20, 220, 7).byte().view(7, 1, 1, 1).expand(7, 3, 32, 48)
    assert write_frames(frames, tmp_path / "a.b", fps=25) == [tmp_path / "a.b.mp4"]
    video = decoded(tmp_path / "a.b.mp4")
    assert video.shape == (7, 32, 48, 3)
    assert video.mean(axis=(1, 2, 3)) == pytest.approx(np.linspace(20, 220, 7), abs=3)


def test_depth_is_exact_in_its_array_and_shown_as_inverse_depth_with_one_range(tmp_path: Path) -> None:
    depth = torch.full((3, 1, 32, 32), 4.0)
    depth[0, :, :16], depth[1, :, :16], depth[2, :, :16] = 2.0, 8.0, torch.nan
    written = write_depth(depth, tmp_path / "depth", fps=25)
    assert written == [tmp_path / "depth.npy", tmp_path / "depth.mp4"]
    values = np.load(tmp_path / "depth.npy")
    assert (values.dtype, values.shape) == (np.float32, (3, 32, 32))
    assert np.array_equal(values, depth[:, 0].numpy(), equal_nan=True)
    video = decoded(tmp_path / "depth.mp4").astype(int)
    near, far, nothing = (video[t, 4:12, 8:24].mean(axis=(0, 1)) for t in range(3))
    assert near == pytest.approx([252, 255, 164], abs=12)
    assert far == pytest.approx([0, 0, 4], abs=12)
    assert nothing == pytest.approx([90, 110, 140], abs=12)
    same = [video[t, 20:28, 8:24].mean(axis=(0, 1)) for t in range(3)]
    assert same[0] == pytest.approx(same[1], abs=6)
    assert same[0] == pytest.approx(same[2], abs=6)


def test_a_single_depth_map_and_one_of_nothing(tmp_path: Path) -> None:
    assert write_depth(torch.full((1, 1, 8, 6), torch.nan), tmp_path / "d", fps=1) == [
        tmp_path / "d.npy",
        tmp_path / "d.png",
    ]
    assert np.load(tmp_path / "d.npy").shape == (8, 6)
    assert (np.asarray(Image.open(tmp_path / "d.png")) == [90, 110, 140]).all()


def test_views_have_their_own_sizes_and_files(tmp_path: Path) -> None:
    frames = [torch.zeros(3, 8, 6, dtype=torch.uint8), torch.full((3, 4, 10), 255, dtype=torch.uint8)]
    depth = [torch.ones(1, 8, 6), torch.ones(1, 4, 10)]
    written = write_views(frames, depth, ["left", "right"], tmp_path)
    names = [
        "left.png",
        "depth/left.npy",
        "depth/left.png",
        "right.png",
        "depth/right.npy",
        "depth/right.png",
    ]
    assert [str(path.relative_to(tmp_path)) for path in written] == names
    assert all(path.is_file() for path in written)
    assert Image.open(tmp_path / "right.png").size == (10, 4)
    assert np.load(tmp_path / "depth" / "left.npy").shape == (8, 6)
