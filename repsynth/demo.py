"""`make demo`: train StereoLayers on the embedded scenes for about five minutes, evaluate it, show what it does."""

import itertools
import sys
import time
from pathlib import Path

import repsynth
from repsynth.cli import main as run
from repsynth.cli.experiments import folder

RUN = Path("runs/demo")
"""Run directory; runs/demo-2 and so on when there has been a demo before."""


def main() -> int:
    """Train, test, predict and compare; returns the exit code of the first step that failed."""
    root = _free_folder()
    experiment = [
        f"--config={folder() / 'stereolayers' / 'synthetic.yaml'}",
        f"--trainer.default_root_dir={root}",
    ]
    evaluation = [*experiment, "--ckpt_path=best"]
    print(f"repsynth {repsynth.__version__}: training StereoLayers on procedural scenes, about five minutes")
    start = time.perf_counter()
    for verb, *options in (
        ("fit", *experiment),
        ("test", *evaluation),
        ("predict", *evaluation, "--trainer.limit_predict_batches=1", "--data.eval_batch_size=1"),
    ):
        if code := run([verb, *options]):
            return code
    from repsynth.comparison import compare, table

    print(f"\nHeld-out scenes, central crop (all of it in {time.perf_counter() - start:.0f} s):\n")
    print(table(compare(root)))
    print("\nlpips_random and perceptual_random use stand-in networks: compare them only with each other.")
    _say_where(root)
    return 0


def _free_folder() -> Path:
    names = itertools.chain([RUN], (RUN.with_name(f"{RUN.name}-{number}") for number in itertools.count(2)))
    return next(path for path in names if not path.exists())


def _say_where(root: Path) -> None:
    for title, pattern in (
        ("figures per image", "evaluation/test.csv"),
        ("input / prediction / truth / error / depth", "media/test_*.png"),
        ("camera path", "predictions/*.mp4"),
        ("best checkpoint", "checkpoints/best.ckpt"),
    ):
        for path in sorted(root.glob(pattern)):
            print(f"{title:>44}: {path}")


if __name__ == "__main__":
    sys.exit(main())
