"""What CIPS learns of the procedural pictures in minutes: FID (stand-in network) before and after, over seeds.

`python benchmarks/cips_learning.py [--seeds 0 1 2] [--jobs 2] [--root DIR]` tests `experiments/cips/synthetic.yaml`
with its initial weights, trains it, and tests the best checkpoint, each seed in processes of its own with one compute
thread. Beside them stand two sets that need no learning: other pictures of the same family, which nothing can be
expected to beat, and pictures whose every pixel comes from another training picture: right colours at every place, no
structure. The seeds are fixed here. Samples before and after are in `<root>/seed<n>/{start,run}/media`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import repsynth  # noqa: F401  guards torchvision
from repsynth.cli.experiments import folder
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic.images import SyntheticImages
from repsynth.metrics.set_scores import SetOptions, SetScores

SEEDS = (0, 1, 2)
FIGURE = "fid_random"
REAL = 5000
"""Real pictures that the experiment compares with."""


@dataclass(frozen=True)
class Outcome:
    """FID before and after training, and its minutes."""

    start: float
    end: float
    minutes: float


def train(seed: int, root: Path) -> Outcome:
    """Test, train and test with one seed."""
    config = [f"--config={folder() / 'cips' / 'synthetic.yaml'}", f"--seed_everything={seed}"]
    quiet = ["--trainer.enable_progress_bar=false"]
    begin, run = root / f"seed{seed}" / "start", root / f"seed{seed}" / "run"
    _repsynth("test", [*config, *quiet, f"--trainer.default_root_dir={begin}", "--ckpt_path=none"])
    started = time.perf_counter()
    _repsynth("fit", [*config, *quiet, f"--trainer.default_root_dir={run}"])
    minutes = (time.perf_counter() - started) / 60
    _repsynth("test", [*config, *quiet, f"--trainer.default_root_dir={run}", "--ckpt_path=best"])
    return Outcome(_figure(begin), _figure(run), minutes)


def _figure(run: Path) -> float:
    report = json.loads((run / "evaluation" / "test.json").read_text())
    return float(report["figures"][FIGURE]["mean"])


def _repsynth(verb: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "repsynth", verb, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{verb} {' '.join(words)} failed:\n{done.stderr}")


def unlearned() -> dict[str, float]:
    """FID of sets that need no learning."""
    images = _images(SyntheticImages(image_size=32, train_samples=2 * REAL), 2 * REAL)
    real, others = images[:REAL], images[REAL:]
    places = np.random.default_rng(0).integers(0, REAL, (REAL, 1, 32, 32))
    mixed = torch.from_numpy(np.take_along_axis(real.numpy(), np.broadcast_to(places, real.shape), axis=0))
    scores = SetScores(["fid"], SetOptions("random"), download=False)
    reference = scores.nothing_seen("real")
    _add(scores, reference, real)
    found = {}
    for title, pictures in (
        ("other pictures of the family", others),
        ("every pixel of another picture", mixed),
    ):
        statistics = scores.nothing_seen("generated")
        _add(scores, statistics, pictures)
        found[title] = scores.figures(reference, statistics)[FIGURE].mean
    return found


def _images(data: SyntheticImages, count: int) -> torch.Tensor:
    dataset = data.real_images("test")
    return torch.stack([dataset[SampleKey(0, index)]["images"] for index in range(count)])


def _add(scores: SetScores, statistics: object, images: torch.Tensor) -> None:
    for start in range(0, len(images), 250):
        part = images[start : start + 250]
        scores.add(statistics, [f"{start + n:06d}" for n in range(len(part))], part)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, each with one compute thread")
    parser.add_argument("--root", type=Path, default=Path("runs/cips-learning"))
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda seed: train(seed, options.root), options.seeds))
    print(f"| | {FIGURE} at the start | trained | trained / start | minutes |\n|---|---|---|---|---|")
    for title, value in unlearned().items():
        print(f"| {title} | | {value:.4f} | | |")
    for seed, found in zip(options.seeds, outcomes, strict=True):
        print(
            f"| CIPS, seed {seed} | {found.start:.3f} | {found.end:.4f} | {found.end / found.start:.4f} | "
            f"{found.minutes:.1f} |"
        )


if __name__ == "__main__":
    main()
