"""Jobs on the cluster of `with_slurm.sh`, and what they leave behind."""

import csv
import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from test_running import SMALL

EPOCHS, SAMPLES, BATCH = 2, 32, 2
END = EPOCHS * SAMPLES
RUN = [
    *("--config", "experiments/stereolayers/synthetic.yaml"),
    *SMALL,
    f"--data.train_scenes={SAMPLES}",
    f"--data.batch_size={BATCH}",
    "--data.num_workers=1",
    "--trainer.precision=32-true",
    f"--trainer.max_epochs={EPOCHS}",
    "--trainer.log_every_n_steps=1",
    "--trainer.callbacks+=paced.Paced",
]
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
PACE = 1.5
"""Seconds that a step takes at least, so that a run is still training when its signal comes."""
PATIENCE = 900
"""Seconds that a job may need to get anywhere; on an idle machine it needs twenty to start."""


@dataclass(frozen=True)
class Step:
    """A training step: in which start of the job, samples seen at its end, and when that was."""

    restarts: int
    samples: int
    time: float


@dataclass(frozen=True)
class Job:
    """A job that was submitted.

    Attributes:
        number: As SLURM's commands take it.
        root: The run directory.
        log: What its processes print.
    """

    number: str
    root: Path
    log: Path

    def field(self, name: str) -> str:
        """A field of `scontrol show job`."""
        found = re.search(rf"\b{name}=(\S+)", slurm("scontrol", "show", "job", self.number))
        assert found, f"job {self.number} has no {name}"
        return found[1]

    def task(self, index: int) -> "Job":
        """One of a job that is an array, whose run directory is named by its index."""
        number = f"{self.number}_{index}"
        return Job(number, self.root / str(index), self.log.with_name(f"repsynth-{number}.log"))

    def steps(self) -> list[Step]:
        """The steps of all starts so far."""
        path = self.root / "steps.txt"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [Step(int(restarts), int(samples), float(when)) for restarts, samples, when in rows]

    def first_start(self) -> list[Step]:
        """The steps before SLURM started the job again."""
        return [step for step in self.steps() if step.restarts == 0]

    def wait_for_step(self, number: int) -> None:
        """Until so many steps are done."""
        self._wait(lambda: len(self.steps()) >= number, f"step {number}")

    def wait_for(self, state: str) -> float:
        """Until the job is in this state; the time when it was."""
        self._wait(lambda: self.field("JobState") == state, state)
        return time.time()

    def _wait(self, reached: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not reached():
            # In this order: it may have got there and ended since.
            ended = self.field("JobState") in ENDED and not reached()
            assert not ended and time.monotonic() < end, f"it did not come to {what}:\n{self.told()}"
            time.sleep(0.2)

    def told(self) -> str:
        """What SLURM and the processes of the job say about it."""
        text = self.log.read_text() if self.log.exists() else ""
        return slurm("scontrol", "show", "job", self.number) + text


def slurm(*words: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def submit(project: Path, root: str, *words: str, pace: float = PACE) -> Job:
    """Submit a job from `project`; its steps take `pace` seconds until it is started again."""
    paced = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PACE": str(pace)}
    number = subprocess.run(
        ["sbatch", "--parsable", *words], cwd=project, env=paced, check=True, capture_output=True, text=True
    ).stdout.strip()
    return Job(number, project / root, project / f"repsynth-{number}.log")


def launch(project: Path, root: str, partition: str, pace: float = PACE) -> Job:
    """Submit the launch file of one node with two tasks; but for its size and the run it is as it is."""
    size = ("--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1")
    file = "experiments/clusters/slurm_one_node.sbatch"
    run = (*RUN, "--trainer.default_root_dir", root)
    return submit(project, root, f"--partition={partition}", *size, file, *run, pace=pace)


def end_all_jobs() -> None:
    """Leave the cluster to the next test."""
    end = time.monotonic() + PATIENCE
    while slurm("squeue", "--noheader"):
        # It fails at a job that ends meanwhile.
        for kill in ((), ("--full", "--signal=KILL")):
            subprocess.run(["scancel", "--quiet", *kill, "--user=root"], check=False, capture_output=True)
        assert time.monotonic() < end, slurm("squeue")
        time.sleep(1)


def logged(root: Path) -> list[dict[str, str]]:
    """The rows of all CSV logs of a run in the order in which they were written, without empty fields."""
    files = sorted((root / "csv").glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name[8:]))
    rows = [row for path in files for row in csv.DictReader(path.open(newline=""))]
    return [{name: value for name, value in row.items() if value} for row in rows]
