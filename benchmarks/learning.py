"""Does StereoLayers learn? Three seeds of the demo's run against the baselines that need no learning.

`python benchmarks/learning.py [--seeds 0 1 2] [--root runs/prove]` prints the table that the README shows. The seeds
are fixed here; held-out scenes are the same for all.
"""

import argparse
import statistics
import sys
from pathlib import Path

from repsynth.cli import main as run
from repsynth.cli.experiments import folder
from repsynth.comparison import Figures, compare, table

SEEDS = (0, 1, 2)


def train(seed: int, root: Path) -> dict[str, Figures]:
    """Train and test with one seed; returns the comparison's rows."""
    experiment = [
        f"--config={folder() / 'stereolayers' / 'synthetic.yaml'}",
        f"--trainer.default_root_dir={root}",
        f"--seed_everything={seed}",
        "--trainer.enable_progress_bar=false",
    ]
    for arguments in (["fit", *experiment], ["test", *experiment, "--ckpt_path=best"]):
        if code := run(arguments):
            sys.exit(code)
    return compare(root)


def spread(rows: list[Figures]) -> str:
    """Mean and range of each figure over the seeds."""
    parts = []
    for name in rows[0]:
        values = [finite(row, name) for row in rows]
        parts.append(f"{name} {statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    return ", ".join(parts)


def margin(name: str, learned: list[Figures], baselines: list[Figures]) -> float:
    """By how much the worst seed exceeds the best baseline in a figure of which more is better."""
    return min(finite(row, name) for row in learned) - max(finite(row, name) for row in baselines)


def finite(row: Figures, name: str) -> float:
    """A figure that has to be a number."""
    value = row[name]
    if value is None:
        sys.exit(f"{name} is not finite: look at evaluation/test.csv of the runs")
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--root", type=Path, default=Path("runs/prove"))
    options = parser.parse_args()
    rows: dict[str, Figures] = {}
    for seed in options.seeds:
        *unlearned, (method, figures) = train(seed, options.root / f"seed{seed}").items()
        rows |= dict(unlearned) | {f"{method}, seed {seed}": figures}
    learned = [figures for title, figures in rows.items() if "seed" in title]
    baselines = [figures for title, figures in rows.items() if "seed" not in title]
    print(table(rows))
    print(f"\nover {len(learned)} seeds: {spread(learned)}")
    psnr, ssim = (margin(name, learned, baselines) for name in ("psnr", "ssim"))
    print(f"worst seed above the better baseline: {psnr:+.2f} dB PSNR, {ssim:+.3f} SSIM")


if __name__ == "__main__":
    main()
