"""What a stereo pair teaches in equal time: StereoLayers with four layers and with one, StereoMag with eight planes.

`python benchmarks/learning.py [--seeds 0 1 2] [--models NAME ...] [--cameras wide] [--jobs 2] [--root DIR]` trains each
model with each seed on the procedural scenes of `experiments/*/synthetic.yaml` and prints the tables of the README,
beside the baselines that need no learning. The seeds are fixed here; held-out scenes are the same for all. Each run is
a process with one compute thread and one loader, and as many samples as fit into the same time: they were measured
once, the tables print the time that each run really took. Cameras are wider apart than in those files (`CAMERAS`).
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import repsynth  # noqa: F401  guards torchvision, before anything imports Lightning
from repsynth.cli.experiments import folder
from repsynth.comparison import Figures, compare, table

SEEDS = (0, 1, 2)
CAMERAS = {"wide": ("--data.clip_frames=9", "--data.window=9"), "narrow": ()}
"""Baselines of up to seven steps of the camera, or of three as in the experiments' own files, where eight planes lie
about one pixel of disparity apart and there is nothing that layers could do better."""
ANNEALED_FROM = 0.46
"""Share of the samples after which the learning rate falls, as in the experiments' own files."""


@dataclass(frozen=True)
class Model:
    """One row of the table: an experiment, changes to it, and the samples that fit into the time of all."""

    experiment: str
    samples: int
    changes: tuple[str, ...] = ()


MODELS = {
    "StereoLayers-4": Model("stereolayers", 2600),
    "StereoLayers-1": Model("stereolayers", 3000, ("--model.layers=1",)),
    "StereoMag-8": Model("stereomag", 4300, ("--model.planes=8",)),
}


@dataclass(frozen=True)
class Outcome:
    """What one run gave."""

    rows: dict[str, Figures]
    """The comparison's rows: the baselines, and last the model's own."""
    minutes: float
    """Of training, with its validations."""


def train(name: str, seed: int, cameras: str, root: Path) -> Outcome:
    """Train and test one model with one seed, in processes of their own."""
    model = MODELS[name]
    run = root / name / f"seed{seed}"
    begin = int(ANNEALED_FROM * model.samples)
    words = [
        f"--config={folder() / model.experiment / 'synthetic.yaml'}",
        f"--trainer.default_root_dir={run}",
        f"--seed_everything={seed}",
        f"--data.train_scenes={model.samples}",
        f"--model.learning_rate_anneal=[{begin}, {model.samples}]",
        "--trainer.enable_progress_bar=false",
        *CAMERAS[cameras],
        *model.changes,
    ]
    start = time.perf_counter()
    _repsynth("fit", words)
    minutes = (time.perf_counter() - start) / 60
    _repsynth("test", [*words, "--ckpt_path=best"])
    print(f"{name}, seed {seed}: {minutes:.1f} min of training", file=sys.stderr)
    return Outcome(compare(run), minutes)


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


def summary(name: str, outcomes: list[Outcome]) -> str:
    """Mean and range of each figure over the seeds, and of the minutes."""
    rows = [own(outcome) for outcome in outcomes]
    cells = [_spread([finite(row, figure) for row in rows], figure) for figure in rows[0]]
    minutes = [outcome.minutes for outcome in outcomes]
    return f"| {name} | " + " | ".join([*cells, f"{min(minutes):.1f} to {max(minutes):.1f}"]) + " |"


def _spread(values: list[float], figure: str) -> str:
    digits = 2 if figure == "psnr" else 3
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def own(outcome: Outcome) -> Figures:
    """The figures of the model itself."""
    return list(outcome.rows.values())[-1]


def finite(row: Figures, name: str) -> float:
    """A figure that has to be a number."""
    value = row[name]
    if value is None:
        sys.exit(f"{name} is not finite: look at evaluation/test.csv of the runs")
    return value


def print_tables(outcomes: dict[str, list[Outcome]], seeds: list[int]) -> None:
    """Every run, then mean and range over the seeds, then how the first model stands against the others."""
    rows: dict[str, Figures] = {}
    for name, runs in outcomes.items():
        *unlearned, _ = runs[0].rows.items()
        rows |= dict(unlearned)
        rows |= {f"{name}, seed {seed}": own(run) for seed, run in zip(seeds, runs, strict=True)}
    first, *others = outcomes
    figures = list(own(outcomes[first][0]))
    titles = " | ".join([*figures, "minutes"])
    print(table(dict(sorted(rows.items(), key=lambda row: "seed" in row[0]))))
    print(
        f"\nmean (least to greatest) over {len(seeds)} seeds\n\n| | {titles} |\n{'|---' * (len(figures) + 2)}|"
    )
    print("\n".join(summary(name, runs) for name, runs in outcomes.items()))
    for figure, sign in (("psnr", 1), ("lpips_random", -1)):
        worst = min(sign * finite(own(run), figure) for run in outcomes[first])
        rivals = [sign * finite(own(run), figure) for name in others for run in outcomes[name]]
        rivals += [sign * finite(row, figure) for title, row in rows.items() if "seed" not in title]
        print(f"\n{figure}: worst seed of {first} against the best of all others: {worst - max(rivals):+.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--cameras", default="wide", choices=list(CAMERAS))
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, each with one compute thread")
    parser.add_argument("--root", type=Path, default=Path("runs/prove"))
    options = parser.parse_args()
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {
            (name, seed): pool.submit(train, name, seed, options.cameras, options.root)
            for seed in options.seeds
            for name in options.models
        }
        outcomes = {name: [futures[name, seed].result() for seed in options.seeds] for name in options.models}
    print_tables(outcomes, options.seeds)


if __name__ == "__main__":
    main()
