"""What HiDT learns of the procedural landscapes in minutes, beside what needs no learning; and what its enhancer adds.

`python benchmarks/hidt_learning.py [--seeds 0] [--enhancer] [--at-once 1] [--root DIR]` trains
`experiments/hidt/synthetic.yaml` and `synthetic_without_maps.yaml`, and shows the scenes of the test in the light of
others with the best checkpoint of each: PSNR, SSIM and LPIPS (stand-in network) against the true pictures. The rank
correlation is Spearman's between the sun's elevation and the style of photographs of the test, along the direction that
linear regression finds on photographs of the training set. With `--enhancer` the enhancer of `synthetic_enhancer.yaml`
is trained on the first of these networks, and its pictures compared with the translated picture enlarged, against the
true large ones. The seeds are fixed here.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.stats import spearmanr

import repsynth  # noqa: F401  guards torchvision
from repsynth.cli.experiments import folder
from repsynth.datamodules.base import Part
from repsynth.datamodules.samplers import SampleKey
from repsynth.datamodules.synthetic.landscapes import SyntheticLandscapes
from repsynth.metrics.colour_transfer import BASELINES
from repsynth.metrics.scores import Scores
from repsynth.modules.hidt.batch_crops import enlarged, reduced
from repsynth.modules.hidt.enhancer_module import HiDTEnhancer
from repsynth.modules.hidt.generator import HiDTGenerator
from repsynth.modules.hidt.learning import EnhancerLossWeights
from repsynth.modules.hidt.options import EnhancerOptions, GeneratorOptions
from repsynth.modules.hidt.training_data import to_network
from repsynth.modules.hidt.translation import decoded
from repsynth.modules.hidt.translation_weights import load_translation

SEEDS = (0,)
FIGURES = ("psnr", "ssim", "lpips_random")
EXPERIMENTS = {"with maps": "synthetic", "without maps": "synthetic_without_maps"}
REGRESSED = 1024
"""Training photographs in which the direction of the elevation is found."""
_AT_ONCE = 16


@dataclass(frozen=True)
class Outcome:
    """What one run gave on the test."""

    figures: dict[str, float]
    correlation: float | None
    minutes: float


def train(experiment: str, run: Path, words: list[str]) -> float:
    """Train and test one experiment; the minutes of training with its validations."""
    given = [
        f"--config={folder() / 'hidt' / f'{experiment}.yaml'}",
        f"--trainer.default_root_dir={run}",
        *words,
    ]
    started = time.perf_counter()
    _repsynth("fit", [*given, "--trainer.enable_progress_bar=false"])
    minutes = (time.perf_counter() - started) / 60
    _repsynth("test", [*given, "--trainer.enable_progress_bar=false", "--ckpt_path=best"])
    return minutes


def _repsynth(verb: str, words: list[str]) -> None:
    command = [sys.executable, "-m", "repsynth", verb, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{verb} {' '.join(words)} failed:\n{done.stderr}")


def tested(run: Path) -> dict[str, float]:
    """The figures of `repsynth test`."""
    report = json.loads((run / "evaluation" / "test.json").read_text())["figures"]
    return {name: float(report[name]["mean"]) for name in FIGURES}


def network_of(run: Path) -> HiDTGenerator:
    """The best translation network of a run, averaged."""
    options = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["generator"]
    levels = tuple(options.pop("skip_levels"))
    generator = HiDTGenerator(GeneratorOptions(skip_levels=levels, **options))
    load_translation(generator, run / "checkpoints" / "best.ckpt")
    return generator.eval()


def data_of(run: Path) -> SyntheticLandscapes:
    """The data of a run."""
    options: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]
    return SyntheticLandscapes(**options)


@torch.no_grad()
def correlation_of(run: Path) -> float:
    """Spearman's correlation of the sun's elevation with the style, along a direction found in training."""
    generator, data = network_of(run), data_of(run)
    styles, elevations = _styles(generator, data, "train", min(REGRESSED, data.train_samples))
    design = np.column_stack((styles, np.ones(len(styles))))
    direction = np.linalg.lstsq(design, elevations, rcond=None)[0][:-1]
    styles, elevations = _styles(generator, data, "test", data.eval_samples)
    return float(spearmanr(styles @ direction, elevations).statistic)


def _styles(
    generator: HiDTGenerator, data: SyntheticLandscapes, part: Part, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Styles [N, style_size] of photographs, and the elevations [N] of the sun in them."""
    photos = data.train_dataset() if part == "train" else data.eval_dataset("test")
    key = "images" if part == "train" else "style"
    found = [
        generator.encode_style(to_network(_unit([photos[SampleKey(0, n)][key] for n in numbers])))
        for numbers in _batches(count)
    ]
    elevations = np.array([data.light_of(part, number).elevation for number in range(count)])
    return torch.cat(found).numpy(), elevations


@torch.no_grad()
def unlearned(
    data: SyntheticLandscapes, network: HiDTGenerator | None = None, factor: int = 1
) -> dict[str, Any]:
    """Figures of what needs no learning: the baselines, or the enlarged picture of a translation network."""
    scores = Scores(["psnr", "ssim", "lpips"], lpips_weights="random", download=False)
    ways = BASELINES if network is None else {"bicubic": lambda c, s: _enlarged(network, c, s, factor)}
    rows: dict[str, list[tuple[float, ...]]] = {title: [] for title in ways}
    examples = data.eval_dataset("test")
    for numbers in _batches(data.eval_samples):
        batch = [examples[SampleKey(0, number)] for number in numbers]
        content, style, truth = (
            _unit([each[key] for each in batch]) for key in ("content", "style", "truth")
        )
        for title, way in ways.items():
            rows[title] += scores(way(content, style), truth)
    return {
        title: dict(zip(FIGURES, np.mean(found, axis=0).tolist(), strict=True))
        for title, found in rows.items()
    }


@torch.no_grad()
def untrained(run: Path, translation: Path, seed: int) -> dict[str, float]:
    """Figures of the enhancer of a run as it starts, with weights drawn anew."""
    options = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
    options["generator"]["skip_levels"] = tuple(options["generator"]["skip_levels"])
    torch.manual_seed(seed)
    module = HiDTEnhancer(
        str(translation),
        GeneratorOptions(**options["generator"]),
        EnhancerOptions(**options["enhancer"]),
        loss_weights=EnhancerLossWeights(perceptual=0),
        border=options["border"],
    ).eval()
    scores = Scores(["psnr", "ssim", "lpips"], lpips_weights="random", download=False)
    data, found = data_of(run), []
    examples = data.eval_dataset("test")
    for numbers in _batches(data.eval_samples):
        drawn = [examples[SampleKey(0, number)] for number in numbers]
        batch: Any = {key: _unit([each[key] for each in drawn]) for key in ("content", "style", "truth")}
        batch["ids"] = [str(number) for number in numbers]
        made: Any = module.validation_step(batch, 0)
        found += scores(made["predicted"], made["expected"])
    return dict(zip(FIGURES, np.mean(found, axis=0).tolist(), strict=True))


def _enlarged(
    network: HiDTGenerator, content: torch.Tensor, style: torch.Tensor, factor: int
) -> torch.Tensor:
    photos, lights = (to_network(reduced(images, factor)) for images in (content, style))
    return enlarged(decoded(network, network.encode_content(photos), network.encode_style(lights)), factor)


def _batches(count: int) -> Iterator[range]:
    return (range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE))


def _unit(images: list[Any]) -> torch.Tensor:
    return torch.stack([torch.as_tensor(image) for image in images]).float() / 255


def row(
    title: str, figures: dict[str, float], correlation: float | None = None, minutes: float | None = None
) -> str:
    """One line of a table."""
    cells = [f"{figures['psnr']:.2f}", f"{figures['ssim']:.3f}", f"{figures['lpips_random']:.4f}"]
    cells.append("" if correlation is None else f"{correlation:.3f}")
    cells.append("" if minutes is None else f"{minutes:.1f}")
    return f"| {title} | {' | '.join(cells)} |"


HEAD = f"| | {' | '.join(FIGURES)} | rank correlation | minutes |\n|---|---|---|---|---|---|"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--enhancer", action="store_true", help="train the enhancer too, with maps and the same seeds"
    )
    parser.add_argument(
        "--at-once", type=int, default=1, help="runs; for two on two cores set OMP_NUM_THREADS=1 too"
    )
    parser.add_argument("--root", type=Path, default=Path("runs/hidt-learning"))
    options = parser.parse_args()
    print(HEAD, flush=True)
    print_translated(options.root, options.seeds, options.at_once)
    if options.enhancer:
        print_enhanced(options.root, options.seeds)


def print_translated(root: Path, seeds: list[int], at_once: int) -> None:
    """Train the translation network with maps and without, and compare it with what needs no learning."""
    runs = {
        (f"HiDT {title}, seed {seed}"): (seed, experiment)
        for seed in seeds
        for title, experiment in EXPERIMENTS.items()
    }

    def trained(run: tuple[int, str]) -> tuple[Path, float]:
        seed, experiment = run
        where = root / f"seed{seed}" / experiment
        return where, train(experiment, where, [f"--seed_everything={seed}"])

    with ThreadPoolExecutor(at_once) as pool:
        for number, (title, (run, minutes)) in enumerate(
            zip(runs, pool.map(trained, runs.values()), strict=True)
        ):
            if number == 0:
                for name, figures in unlearned(data_of(run)).items():
                    print(row(name, figures), flush=True)
            print(row(title, tested(run), correlation_of(run), minutes), flush=True)


def print_enhanced(root: Path, seeds: list[int]) -> None:
    """Train the enhancer on the network of each seed, and compare it with plain enlargement."""
    print(f"\n{HEAD}", flush=True)
    for seed in seeds:
        below, run = root / f"seed{seed}" / "synthetic", root / f"seed{seed}" / "enhancer"
        words = [f"--seed_everything={seed}", f"--model.translation={below / 'checkpoints' / 'best.ckpt'}"]
        minutes = train("synthetic_enhancer", run, words)
        factor = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["enhancer"]["factor"]
        (plain,) = unlearned(data_of(run), network_of(below), factor).values()
        print(row(f"translated picture, bicubic x{factor}, seed {seed}", plain), flush=True)
        print(row("the enhancer as it starts", untrained(run, below / "checkpoints" / "best.ckpt", seed)))
        print(row(f"enhanced, seed {seed}", tested(run), None, minutes), flush=True)


if __name__ == "__main__":
    main()
