"""How near the loader of posed scenes comes to the speed at which this machine decodes their pictures.

`python benchmarks/loader.py [--clips 512] [--rounds 15]` writes RealEstate10K clips of 256 x 256 JPEG frames into a
temporary folder and measures, round by round in turn, each round with new processes:

- limit: as many processes as the loader has, each with the pictures that a loader process reads, in its order, doing
  `numpy.asarray(PIL.Image.open(path).convert("RGB"))` and nothing else: open, read (from the page cache), decode, RGB
  uint8 [H, W, 3] in memory, thrown away;
- loader: one epoch of `RealEstate10K.train_dataloader()` with that many processes, from the call of `iter` to the last
  batch in the main process: order of the clips, cameras, choice of views, pictures decoded to [3, H, W], joined, sent.
  Every picture is decoded, because pictures of more than a few clips are never kept; all clips are in the cache of
  scenes after a first epoch that does not count;
- without kept scenes: the same, but every example takes its clip out of the table of parsed clips, as nearly all do
  with many more clips than that cache holds;
- augmented: the loader with colour jitter and mirroring.

All read the same pictures. Their shares of the limit are also given in processor time, the main process's included.

New processes, because the speed of libjpeg depends on where a small buffer of Pillow happens to lie: 255 or 380 us for
one of these pictures, on either side, mostly for as long as a process lives (perf shows the copy out of that buffer).
So every process scatters its memory at random before it begins, and the figures are means over many.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from PIL import Image
from skimage import data as photographs
from torch.utils.data import DataLoader

import repsynth
from repsynth.datamodules import scene_examples
from repsynth.datamodules.kept_clips import KeptClips
from repsynth.datamodules.posed_scene import Picture
from repsynth.datamodules.realestate10k import RealEstate10K

SIDE = 256
STEP = 33_367
"""Microseconds between frames."""
QUALITY = 92


def write_clips(root: Path, clips: int, frames: int) -> None:
    """Crops that move sideways over photographs, with noise."""
    rng = np.random.default_rng(0)
    pictures = (photographs.astronaut, photographs.coffee, photographs.chelsea, photographs.rocket)
    sources = [np.asarray(Image.fromarray(picture()).resize((700, 400))) for picture in pictures]
    grain = rng.normal(0, 4, (SIDE + 64, SIDE + 64, 3))
    for number in range(clips):
        name = f"{number:016x}"
        folder = root / "frames" / "train" / name
        folder.mkdir(parents=True)
        top, left = rng.integers(0, 400 - SIDE), rng.integers(0, 700 - SIDE - frames)
        for frame in range(frames):
            y, x = rng.integers(0, 64, 2)
            crop = sources[number % len(sources)][top:, left + frame :][:SIDE, :SIDE]
            noisy = np.clip(crop + grain[y:, x:][:SIDE, :SIDE], 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{1_000_000 + STEP * frame}.jpg", quality=QUALITY)
        write_cameras(root / "cameras" / "train" / f"{name}.txt", frames)


def write_cameras(path: Path, frames: int) -> None:
    """A camera that moves sideways, written as the publisher does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"https://www.youtube.com/watch?v={path.stem}"]
    for frame in range(frames):
        numbers = [0.5, 0.9, 0.5, 0.5, 0, 0, 1, 0, 0, -0.05 * frame, 0, 1, 0, 0, 0, 0, 1, 0]
        lines.append(" ".join([str(1_000_000 + STEP * frame), *(f"{number:.9f}" for number in numbers)]))
    path.write_text("\n".join(lines) + "\n")


class Taken(NamedTuple):
    """What one round of one side took."""

    wall: float
    """Seconds on the clock."""
    processor: float
    """Seconds of all its processes together."""


@contextmanager
def limit(shares: list[list[str]]) -> Iterator[Callable[[], Taken]]:
    """Processes that wait, decode their pictures, and wait again."""
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in shares]
    workers = [
        context.Process(target=_decode_when_told, args=(there, share), daemon=True)
        for (_, there), share in zip(pipes, shares, strict=True)
    ]
    for worker in workers:
        worker.start()

    def all_decode() -> None:
        for here, _ in pipes:
            here.send(True)
        for here, _ in pipes:
            here.recv()

    yield partial(taken, all_decode, [psutil.Process(worker.pid) for worker in workers])
    for here, _ in pipes:
        here.send(False)
    for worker in workers:
        worker.join()


def _decode_when_told(pipe: Connection, paths: list[str]) -> None:
    scatter_memory()
    while pipe.recv():
        for path in paths:
            with Image.open(path) as picture:
                np.asarray(picture.convert("RGB"))
        pipe.send(True)


def scatter_memory(worker: int = 0) -> None:
    """Leave holes of random sizes, so that what is allocated next lies anywhere."""
    rng = np.random.default_rng()
    pieces = [bytearray(int(size)) for size in rng.integers(500, 3000, 400)]
    _held.extend(piece for piece, stays in zip(pieces, rng.random(len(pieces)) < 0.5, strict=True) if stays)


_held: list[bytearray] = []


@contextmanager
def epochs(data: RealEstate10K, keep_scenes: bool = True) -> Iterator[Callable[[], Taken]]:
    """A loader whose processes stay; each call is an epoch, always the same one."""
    kept = scene_examples._read
    # Loader processes start with the module as it is then.
    scene_examples._read = kept if keep_scenes else kept.__wrapped__  # type: ignore[assignment]
    loader: DataLoader[Any] = data.train_dataloader()
    loader.worker_init_fn = scatter_memory

    def read() -> None:
        for _ in loader:
            pass

    read()
    scene_examples._read = kept
    workers = loader._iterator._workers  # type: ignore[union-attr]
    yield partial(taken, read, [psutil.Process(), *(psutil.Process(worker.pid) for worker in workers)])


def taken(work: Callable[[], None], processes: list[psutil.Process]) -> Taken:
    """What some work takes that these processes do."""
    start, before = time.perf_counter(), _processor(processes)
    work()
    return Taken(time.perf_counter() - start, _processor(processes) - before)


def _processor(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def shares(data: RealEstate10K, workers: int) -> list[list[str]]:
    """The pictures that each loader process reads in an epoch, in its order."""
    found: list[list[str]] = [[] for _ in range(workers)]
    with picture_reading(lambda picture: found[place].append(picture.label)):
        dataset, loader = data.train_dataset(), data.train_dataloader()
        assert loader.batch_sampler is not None
        for number, batch in enumerate(loader.batch_sampler):
            place = number % workers
            for key in batch:
                dataset[key]
    return found


@contextmanager
def picture_reading(note: Callable[[Picture], object]) -> Iterator[None]:
    """Note the pictures that are asked for, and read none."""
    before = scene_examples._read_into

    def noted(image: np.ndarray, picture: Picture, options: scene_examples.PictureOptions) -> tuple[int, int]:
        note(picture)
        return options.size

    scene_examples._read_into = noted
    try:
        yield
    finally:
        scene_examples._read_into = before
        scene_examples._read.cache_clear()


def print_rates(rounds: list[dict[str, Taken]], pictures: int) -> None:
    """A line per side: means over the rounds, and their share of the limit's."""
    walls = {name: [each[name].wall / pictures for each in rounds] for name in rounds[0]}
    work = {name: [each[name].processor / pictures for each in rounds] for name in rounds[0]}
    print(
        f"{'':20}  images/s (least to most)  share of the limit | us of processor per image  share of the limit"
    )
    for name in rounds[0]:
        rate = f"{1 / statistics.mean(walls[name]):.0f} ({1 / max(walls[name]):.0f} to {1 / min(walls[name]):.0f})"
        shares = [statistics.mean(side["limit"]) / statistics.mean(side[name]) for side in (walls, work)]
        cost = 1e6 * statistics.mean(work[name])
        print(f"{name:20}  {rate:>24}  {shares[0]:18.3f} | {cost:25.0f}  {shares[1]:18.3f}")


def print_clips(root: Path, frames: int = 130, repeats: int = 2000) -> None:
    """How long a clip of as many rows as RealEstate10K's usually have takes, out of the table and out of its files."""
    for number in range(4):
        write_cameras(root / "cameras" / "train" / f"{number:016x}.txt", frames)
        folder = root / "frames" / "train" / f"{number:016x}"
        folder.mkdir(parents=True)
        for frame in range(frames):
            (folder / f"{1_000_000 + STEP * frame}.jpg").touch()
    reader = RealEstate10K(root=str(root), cache_dir=str(root / "cache"), val_scenes=1).reader("train")
    assert isinstance(reader, KeptClips)
    name = reader.names()[0]
    for title, source in (("the table", reader.prepared()), ("its files", reader.clips)):
        source.read(name)
        start = time.perf_counter()
        for _ in range(repeats):
            source.read(name)
        print(
            f"a clip of {frames} frames out of {title}: {(time.perf_counter() - start) / repeats * 1e3:.3f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--frames", type=int, default=32, help="of a clip")
    parser.add_argument("--samples", type=int, default=2, help="examples of each clip in an epoch")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder), options.clips, options.frames)
        measure(Path(folder), options)
    with tempfile.TemporaryDirectory() as folder:
        print_clips(Path(folder))


def measure(root: Path, options: argparse.Namespace) -> None:
    common: dict[str, Any] = {
        "root": str(root),
        "image_size": (SIDE, SIDE),
        "batch_size": options.batch_size,
        "num_workers": options.workers,
        "seed": 0,
        "val_scenes": 1,
        "samples_per_scene": options.samples,
        "cache_dir": str(root / "cache"),
    }
    parts = shares(RealEstate10K(**common), options.workers)
    pictures = sum(map(len, parts))
    sides: dict[str, Callable[[], AbstractContextManager[Callable[[], Taken]]]] = {
        "limit": lambda: limit(parts),
        "loader": lambda: epochs(RealEstate10K(**common)),
        "without kept scenes": lambda: epochs(RealEstate10K(**common), keep_scenes=False),
        "augmented": lambda: epochs(RealEstate10K(**common, augment=True)),
    }
    rounds: list[dict[str, Taken]] = []
    for _ in range(options.rounds):
        rounds.append({})
        for name, start in sides.items():
            with start() as side:
                side()
                rounds[-1][name] = side()
    size = sum(Path(path).stat().st_size for part in parts for path in part) / pictures
    print(
        f"repsynth {repsynth.__version__}, torch {torch.__version__}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}; {pictures} pictures of {SIDE} x {SIDE}, {size / 1e3:.0f} kB each, an epoch; "
        f"{options.workers} loader processes, batches of {options.batch_size} clips"
    )
    print_rates(rounds, pictures)


if __name__ == "__main__":
    main()
