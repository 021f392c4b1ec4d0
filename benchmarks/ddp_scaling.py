"""Samples per second of one process and of two (gloo, CPU), side by side in one run.

`python benchmarks/ddp_scaling.py [--cases tiny stereolayers ...] [--rounds 3] [--steps 20]` runs `repsynth profile` in
turn, round by round, each time in new processes with one compute thread and no loader processes:

- one: one process;
- two: two processes that share the same batch, which is the same training in less time;
- two, batch x 2: two processes with as many samples each as the one has.

Two processes on one core cannot be faster than one: give it as many idle cores as processes. What is lost on the way
to a ratio of 2 is waiting for the slower rank and summing gradients; `repsynth profile` shows both as backward.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from repsynth.cli.experiments import folder

CASES = {
    "tiny": ("stereomag", ["--model.planes=2", "--model.width=4", "--data.eval_batch_size=2"]),
    "stereomag": ("stereomag", ["--data.eval_batch_size=2"]),
    "stereolayers": ("stereolayers", ["--data.eval_batch_size=2"]),
    "cips": ("cips", ["--data.eval_batch_size=10"]),
}
"""Name -> method, whose synthetic experiment is run, and what is changed in it."""
SIDES = {"one": (1, 1), "two": (2, 1), "two, batch x 2": (2, 2)}
"""Side -> processes, and how many times the experiment's batch."""


def samples_per_second(case: str, side: str, steps: int) -> float:
    """Of one start of `repsynth profile`."""
    method, changes = CASES[case]
    config = folder() / method / "synthetic.yaml"
    ranks, times = SIDES[side]
    words = [
        f"--config={config}",
        *changes,
        f"--data.batch_size={times * batch_of(config)}",
        "--data.num_workers=0",
        "--trainer.accelerator=cpu",
        f"--trainer.devices={ranks}",
        f"--trainer.strategy={'auto' if ranks == 1 else 'ddp_find_unused_parameters_true'}",
    ]
    with tempfile.TemporaryDirectory() as root:
        out = Path(root) / "profile.json"
        _profile([*words, f"--steps={steps}", f"--json={out}"])
        return float(json.loads(out.read_text())["samples_per_second"])


def batch_of(config: Path) -> int:
    content: dict[str, Any] = yaml.safe_load(config.read_text())
    return int(content["data"]["init_args"]["batch_size"])


def _profile(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "repsynth", "profile", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"repsynth profile {' '.join(words)} failed:\n{done.stderr}")


def measured(case: str, rounds: int, steps: int) -> dict[str, list[float]]:
    """Samples per second of every side, round by round."""
    found: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side, values in found.items():
            values.append(samples_per_second(case, side, steps))
            print(f"{case}, round {number + 1}, {side}: {values[-1]:.3g} samples/s", file=sys.stderr)
    return found


def row(case: str, side: str, found: dict[str, list[float]]) -> str:
    """Median and range, and the ratio to one process, taken round by round."""
    values, ones = found[side], found["one"]
    ratios = [value / one for value, one in zip(values, ones, strict=True)]
    spread = f"{min(values):.3g} to {max(values):.3g}"
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"| {case} | {side} | {statistics.median(values):.3g} ({spread}) | {ratio} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", default=["tiny", "stereolayers"], choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = ["| experiment | processes | samples/s | ratio to one |", "|---|---|---|---|"]
    for case in options.cases:
        found = measured(case, options.rounds, options.steps)
        lines += [row(case, side, found) for side in SIDES]
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f} at the end\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
