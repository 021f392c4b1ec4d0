from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from repsynth.callbacks import media
from repsynth.callbacks.evaluation import Evaluation
from repsynth.callbacks.media import FrameWriter, Media
from repsynth.errors import UserError
from repsynth.media import Panel, false_colours, grid, to_bytes, write_png, write_video

# Files.


def test_bytes_are_rounded_and_clamped() -> None:
    levels = torch.tensor([-1.0, 0.0, 0.5 / 255 + 1e-4, 0.6, 1.0, 9.0])
    found = to_bytes(levels.view(1, 1, 6).expand(3, 1, 6))
    assert found.shape == (1, 6, 3)
    assert found[0, :, 0].tolist() == [0, 0, 1, 153, 255, 255]


def test_false_colours_run_from_dark_to_bright_and_mark_what_is_not_finite() -> None:
    values = torch.linspace(2, 8, 50).repeat(2, 1)
    values[1, 0] = torch.inf
    panel = false_colours(values)
    brightness = panel.image[0].astype(int).sum(-1)
    assert (np.diff(brightness) >= 0).all() and brightness[-1] > brightness[0] + 400
    assert panel.note == "2 .. 8"
    assert panel.image[1, 0].tolist() == [90, 110, 140]
    assert false_colours(torch.full((2, 2), torch.nan)).image.shape == (2, 2, 3)


def test_false_colours_of_a_fixed_range_compare_between_pictures() -> None:
    small = false_colours(torch.tensor([[0.1, 0.2]]), 0.0, 0.5).image
    large = false_colours(torch.tensor([[0.1, 0.9]]), 0.0, 0.5).image
    assert (small[0, 0] == large[0, 0]).all()
    assert large[0, 1].tolist() == [252, 255, 164]


def flat(level: int, side: int = 128) -> Panel:
    return Panel(np.full((side, side, 3), level, np.uint8), "note")


def test_grid_keeps_the_panels_pixels_in_order() -> None:
    picture = grid(["a", "b"], [[flat(10), flat(20)], [flat(30), flat(40)]])
    levels = [10, 20, 30, 40]
    places = [np.argwhere((picture == level).all(-1)) for level in levels]
    assert all(len(place) >= 128 * 128 for place in places)
    centres = [place.mean(0) for place in places]
    assert centres[0][1] < centres[1][1] and centres[0][0] < centres[2][0]
    assert abs(centres[0][0] - centres[1][0]) < 2 and abs(centres[1][1] - centres[3][1]) < 2


def test_small_panels_are_enlarged_by_a_whole_number() -> None:
    picture = grid(["a"], [[Panel(np.random.default_rng(0).integers(0, 200, (50, 60, 3), dtype=np.uint8))]])
    assert picture.shape[1] >= 3 * 60 and picture.shape[1] < 4 * 60


def test_titles_and_notes_leave_ink_and_long_ones_are_cut() -> None:
    blank = Panel(np.full((128, 128, 3), 255, np.uint8))
    empty, titled = grid([""], [[blank]]), grid(["a very long title " * 9], [[blank]])
    assert (empty == 255).all()
    assert titled.shape == empty.shape
    assert (titled[:18] < 100).any() and (titled[18:] == 255).all()


def test_png_comes_back_and_no_temporary_file_stays(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    write_png(image, tmp_path / "new" / "x.png")
    assert (np.asarray(Image.open(tmp_path / "new" / "x.png")) == image).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.png"]


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
def test_video_comes_back_at_an_even_size(size: tuple[int, int], tmp_path: Path) -> None:
    shades = torch.linspace(0.1, 0.9, 10)
    frames = shades.view(10, 1, 1, 1).expand(10, 3, *size)
    write_video(frames, tmp_path / "x.mp4", fps=10)
    with av.open(str(tmp_path / "x.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 10)
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 10
    assert decoded[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    for frame, shade in zip(decoded, shades, strict=True):
        assert np.abs(frame / 255 - shade.item()).max() < 0.02


def test_a_video_without_frames_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no frames for the video .*x\.mp4"):
        write_video([], tmp_path / "x.mp4")
    assert list(tmp_path.iterdir()) == []


# Callbacks.

GREYS = torch.arange(100, 150, 10).byte().view(5, 1, 1, 1).expand(5, 3, 16, 24)


class Toy(pl.LightningModule):
    def __init__(self, predictions: object = None) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 3, 1)
        self.predictions = predictions

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        return self.network(batch["image"]).square().mean()

    def validation_step(self, batch: dict[str, Any], index: int) -> object:
        image = batch["image"]
        return {
            "ids": batch["ids"],
            "predicted": image,
            "expected": 1 - image,
            "panels": {"depth": image[:, :1] * 10, "input": image},
        }

    def test_step(self, batch: dict[str, Any], index: int) -> object:
        return self.validation_step(batch, index)

    def predict_step(self, batch: dict[str, Any], index: int) -> object:
        if self.predictions is not None:
            return self.predictions
        return {"ids": batch["ids"], "frames": batch["frames"]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


def samples(names: Sequence[str], **more: Tensor) -> DataLoader[Any]:
    return DataLoader([{"ids": name, "image": torch.rand(3, 16, 16)} | more for name in names], batch_size=2)


def trainer_with(root: Path, *callbacks: pl.Callback, **options: object) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "default_root_dir": root,
        "callbacks": list(callbacks),
        "max_epochs": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return pl.Trainer(**settings | options)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], list[list[str]]]]:
    """Titles and notes of every grid."""
    calls: list[tuple[list[str], list[list[str]]]] = []

    def spy(titles: list[str], rows: list[list[Panel]]) -> np.ndarray:
        calls.append((titles, [[panel.note for panel in row] for row in rows]))
        return grid(titles, rows)

    monkeypatch.setattr(media, "grid", spy)
    return calls


def test_the_same_first_ids_are_drawn_at_every_evaluation(tmp_path: Path, drawn: list[Any]) -> None:
    trainer_with(tmp_path, Media(samples=3), num_sanity_val_steps=1).fit(
        Toy(), samples("xy"), samples("cadbe")
    )
    assert len(drawn) == 2
    for titles, notes in drawn:
        assert titles == ["input", "prediction", "truth", "error", "depth"]
        assert [row[0] for row in notes] == ["a", "b", "c"]
        assert all(row[3] == "0 .. 0.5" and ".." in row[4] for row in notes)


def test_samples_without_truth_fill_a_square_in_the_order_of_their_ids(tmp_path: Path) -> None:
    """Five pictures of one level each, of which four are asked for, given out of order."""
    levels = {"c": 30, "a": 10, "e": 50, "b": 20, "d": 40}
    outputs = {
        "ids": list(levels),
        "generated": torch.stack([torch.full((3, 2, 4), level / 255) for level in levels.values()]),
    }
    callback = Media(samples=4)
    callback._keep(outputs, pl.LightningModule())
    callback._draw("val", trainer_with(tmp_path))
    picture = np.asarray(Image.open(tmp_path / "media" / "val_0000000000.png"))
    assert picture.shape == (4, 8, 3)
    assert picture[::2, ::4, 0].tolist() == [[10, 20], [30, 40]]


def test_files_are_named_by_stage_and_samples_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "samples_seen", lambda trainer: 5_000_000)
    trainer_with(tmp_path, Media(), Evaluation(["psnr"])).test(Toy(), samples("ab"), verbose=False)
    assert [path.name for path in (tmp_path / "media").iterdir()] == ["test_0005000000.png"]
    assert Image.open(tmp_path / "media" / "test_0005000000.png").size[0] > 5 * 128


def test_tensorboard_gets_the_picture_at_samples_seen_and_csv_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "samples_seen", lambda trainer: 77)
    loggers = [TensorBoardLogger(tmp_path / "tb"), CSVLogger(tmp_path / "csv")]
    trainer_with(tmp_path, Media(), logger=loggers).validate(Toy(), samples("ab"), verbose=False)
    loggers[0].experiment.flush()  # type: ignore[union-attr]
    events = EventAccumulator(loggers[0].log_dir or "").Reload()
    assert [event.step for event in events.Images("val/samples")] == [77]


def test_wandb_gets_the_picture(tmp_path: Path) -> None:
    logged = []

    class Recorder(WandbLogger):
        def __init__(self) -> None: ...

        def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: object) -> None:
            logged.append((key, images[0].shape, step))

    media.log_picture(Recorder(), "val/samples", np.zeros((4, 6, 3), np.uint8), 12)
    assert logged == [("val/samples", (4, 6, 3), 12)]


@pytest.mark.slow
def test_wandb_offline_stores_pictures_and_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    trainer = trainer_with(tmp_path, Media(), FrameWriter(), logger=logger)
    trainer.validate(Toy(), samples("ab"), verbose=False)
    trainer.predict(Toy(), samples("a", frames=torch.rand(3, 3, 16, 16)), return_predictions=False)
    logger.experiment.finish()
    stored = [path for path in (tmp_path / "wandb").rglob("*") if path.suffix in {".png", ".mp4"}]
    assert sorted(path.suffix for path in stored) == [".mp4", ".png"]


def test_the_first_predicted_videos_go_to_tensorboard(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path / "tb")
    trainer = trainer_with(
        tmp_path, FrameWriter(fps=10, logged=2), logger=[logger, CSVLogger(tmp_path / "csv")]
    )
    trainer.predict(Toy(), samples("abc", frames=GREYS), return_predictions=False)
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir or "").Reload()
    assert sorted(events.Tags()["images"]) == ["predict/a", "predict/b"]
    (event,) = events.Images("predict/a")
    with Image.open(BytesIO(event.encoded_image_string)) as shown:
        assert (shown.format, shown.n_frames, shown.size) == ("GIF", 5, (24, 16))  # type: ignore[attr-defined]
        assert shown.info["duration"] == 100
        assert shown.convert("RGB").getpixel((3, 4)) == (100, 100, 100)


def test_named_views_and_single_frames_go_to_tensorboard_as_pictures(tmp_path: Path) -> None:
    frames = [[torch.zeros(3, 8, 6, dtype=torch.uint8), torch.full((3, 4, 10), 255, dtype=torch.uint8)]]
    views = {"ids": ["a"], "frames": frames, "names": ["left", "right"]}
    still = {"ids": ["b"], "frames": torch.rand(1, 1, 3, 16, 16)}
    logger = TensorBoardLogger(tmp_path / "tb")
    for output in (views, still):
        trainer_with(tmp_path, FrameWriter(), logger=logger).predict(Toy(output), samples("a"))
    logger.experiment.flush()
    events = EventAccumulator(logger.log_dir or "").Reload()
    assert sorted(events.Tags()["images"]) == ["predict/a/left", "predict/a/right", "predict/b"]
    (event,) = events.Images("predict/a/right")
    assert (event.height, event.width) == (4, 10)
    assert Image.open(BytesIO(event.encoded_image_string)).getextrema() == ((255, 255),) * 3


def test_predicted_videos_go_to_wandb(tmp_path: Path) -> None:
    logged: list[Any] = []

    class Recorder(WandbLogger):
        def __init__(self) -> None: ...

        def log_video(self, key: str, videos: list[Any], step: int | None = None, **kwargs: object) -> None:
            logged.append((key, Path(videos[0]).name, step, kwargs))

    frames = torch.rand(2, 3, 8, 8).mul(255).byte()
    media.log_video(Recorder(), "predict/a", tmp_path / "a.mp4", frames, 10, 7)
    assert logged == [("predict/a", "a.mp4", 7, {"format": ["mp4"]})]


@pytest.mark.parametrize("options", [{"fps": 0}, {"logged": -1}])
def test_impossible_options_of_the_writer_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="FrameWriter options fps and logged are"):
        FrameWriter(**options)


def test_no_sample_to_draw_is_refused() -> None:
    with pytest.raises(UserError, match="media option samples is 0"):
        Media(samples=0)


def test_predictions_become_videos_and_single_frames_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = FrameWriter(fps=10)
    moving = samples(["scene/1", "b"], frames=torch.rand(5, 3, 16, 16))
    trainer_with(tmp_path, writer).predict(Toy(), moving, return_predictions=False)
    assert [path.name for path in writer.files] == ["scene_1.mp4", "b.mp4"]
    with av.open(str(tmp_path / "predictions" / "b.mp4")) as container:
        assert len(list(container.decode(video=0))) == 5
    assert f"2 file(s) in {tmp_path / 'predictions'} (scene_1.mp4 .. b.mp4)" in capsys.readouterr().out
    still = samples("c", frames=torch.rand(1, 3, 16, 16))
    trainer_with(tmp_path, writer).predict(Toy(), still, return_predictions=False)
    assert [path.name for path in writer.files] == ["c.png"]
    assert capsys.readouterr().out.endswith("1 file(s) in {} (c.png)\n".format(tmp_path / "predictions"))


def test_two_predictions_of_one_name_are_refused(tmp_path: Path) -> None:
    same = samples(["a/b", "a_b"], frames=torch.rand(1, 3, 16, 16))
    with pytest.raises(
        UserError, match=r"two predictions would be written to .*a_b: give samples ids that differ"
    ):
        trainer_with(tmp_path, FrameWriter()).predict(Toy(), same)


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (torch.zeros(1), "a Tensor"),
        ({"ids": ["a"], "frames": torch.zeros(1, 3, 8, 8)}, "a dict with ids, frames"),
        ({"images": 1}, "a dict with images"),
        ({"ids": ["a"], "frames": [[torch.zeros(1, 8, 8)]]}, "a dict with ids, frames"),
        ({"ids": ["a", "b"], "frames": torch.zeros(1, 1, 3, 8, 8)}, "a dict with ids, frames"),
    ],
)
def test_a_predict_step_that_returns_something_else_is_named(
    tmp_path: Path, output: object, found: str
) -> None:
    with pytest.raises(UserError, match=f"predict_step of Toy returned {found}: expected ids"):
        trainer_with(tmp_path, FrameWriter()).predict(Toy(output), samples("a"))
    assert not (tmp_path / "predictions").exists()
