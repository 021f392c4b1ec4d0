"""Jobs of two tasks under a real SLURM that are stopped, put back, and end as if nothing had been.

`make test-slurm` runs them on the cluster of `with_slurm.sh`. The jobs are the launch file of one node with one small
run, so that the job which is left alone is the truth for all. Each prints how long it took from the signal to the end.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.harness import differences, final_state

from repsynth.checkpoints import seen
from slurm.jobs import BATCH, END, PACE, RUN, Job, end_all_jobs, launch, logged, slurm, submit

ROOT = Path(__file__).parents[2]
KILL_WAIT = 30.0
"""Seconds between SIGTERM and SIGKILL that SLURM gives by default."""
GRACE = 120.0
"""The GraceTime of the partition."""

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> None:
    if "SLURM_MISSING" in os.environ:
        pytest.skip(f"no SLURM: {os.environ['SLURM_MISSING']}")
    if "SLURM_CONF" not in os.environ or shutil.which("sbatch") is None:
        pytest.skip("needs the SLURM that `make test-slurm` sets up")


@pytest.fixture(scope="module")
def project(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a checkout with its environment."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "experiments").symlink_to(ROOT / "experiments")
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n")
    return folder


@pytest.fixture(autouse=True)
def free_node(cluster: None) -> Iterator[None]:
    yield
    end_all_jobs()


@pytest.fixture(scope="module")
def whole(project: Path) -> Job:
    """The job that nothing happens to."""
    job = launch(project, "runs/whole", "grace", pace=0)
    job.wait_for("COMPLETED")
    check_ended(job, restarts=0)
    return job


def check_ended(job: Job, restarts: int) -> None:
    """The job was started again so many times, and has seen every sample once and in turn."""
    assert job.field("Restarts") == str(restarts), job.told()
    steps = job.steps()
    assert [step.samples for step in steps] == list(range(BATCH, END + 1, BATCH)), job.told()
    assert {step.restarts for step in steps} == set(range(restarts + 1)), job.told()


def check_equal(job: Job, whole: Job) -> None:
    """It ended with every bit of the truth, and its logs are the same rows."""
    assert differences(final_state(whole.root), final_state(job.root)) == []
    assert logged(job.root) == logged(whole.root)


def check_saved(job: Job, name: str) -> None:
    """Nothing that was done is lost."""
    saved = job.first_start()[-1].samples
    assert f"{name}: stopped after {saved} samples, which are saved in " in job.log.read_text(), job.told()
    assert seen(final_state(job.root)) == saved


def check_stopped_in_time(job: Job, name: str, signalled: float, left: float) -> None:
    """No more steps than the one that was under way were done, and its end was saved before SLURM would have killed."""
    after = job.first_start()[-1].time - signalled
    saved = (job.root / "checkpoints" / "last.ckpt").stat().st_mtime - signalled
    print(
        f"\n{name}: step ended after {after:.1f} s, saved after {saved:.1f} s, left after {left - signalled:.1f} s"
    )
    # A step on a busy machine may take twice its pace, and SLURM needs a moment to deliver.
    assert after < 2 * PACE + 2
    assert saved < KILL_WAIT and left - signalled < GRACE
    check_saved(job, name)


def test_the_warning_before_the_time_limit(project: Path, whole: Job) -> None:
    """SLURM sends the launch file's own `--signal`; it looks at the limits of jobs every thirty seconds."""
    job = launch(project, "runs/limit", "grace")
    job.wait_for_step(2)
    slurm("scontrol", "update", f"JobId={job.number}", "TimeLimit=5")
    job.wait_for("PENDING")
    slurm("scontrol", "update", f"JobId={job.number}", "TimeLimit=60")
    check_saved(job, "SIGUSR1")
    job.wait_for("COMPLETED")
    check_ended(job, restarts=1)
    check_equal(job, whole)


def test_the_warning_in_the_middle_of_an_epoch(project: Path, whole: Job) -> None:
    job = launch(project, "runs/warned", "grace")
    job.wait_for_step(7)
    signalled = time.time()
    slurm("scancel", "--batch", "--signal=USR1", job.number)
    left = job.wait_for("PENDING")
    check_stopped_in_time(job, "SIGUSR1", signalled, left)
    job.wait_for("COMPLETED")
    check_ended(job, restarts=1)
    check_equal(job, whole)


@pytest.mark.parametrize("partition", ["grace", "sudden"])
def test_a_more_urgent_job(project: Path, whole: Job, partition: str) -> None:
    """With a time of grace the job ends in it and is put back by its launch file; without, by SLURM at once."""
    job = launch(project, f"runs/{partition}", partition)
    job.wait_for_step(3)
    signalled = time.time()
    slurm("srun", "--partition=urgent", "--exclusive", "true")
    check_stopped_in_time(job, "SIGTERM", signalled, time.time())
    job.wait_for("COMPLETED")
    check_ended(job, restarts=1)
    check_equal(job, whole)


@pytest.mark.parametrize(
    ("options", "state"),
    [((), "CANCELLED"), (("--signal=TERM",), "FAILED"), (("--batch", "--signal=TERM"), "FAILED")],
)
def test_a_job_that_is_cancelled_saves_and_stays_away(
    project: Path, options: tuple[str, ...], state: str
) -> None:
    job = launch(project, f"runs/cancelled{len(options)}", "grace")
    job.wait_for_step(5)
    signalled = time.time()
    slurm("scancel", *options, job.number)
    left = job.wait_for(state)
    check_stopped_in_time(job, "SIGTERM", signalled, left)
    assert job.field("ExitCode") == "143:0" and job.field("Restarts") == "0"


def test_rank_zero_puts_one_task_of_an_array_back(project: Path) -> None:
    """Without a launch file. The last task of an array has the array's number, and the other one goes on training."""
    run = " ".join(RUN)
    array = submit(
        project,
        "runs",
        *("--array=0-1", "--ntasks=1", "--job-name=plain", "--requeue", "--open-mode=append", "--time=60"),
        *("--output=repsynth-%A_%a.log", "--wrap"),
        f". .venv/bin/activate; srun repsynth fit {run} --trainer.devices 1 --trainer.default_root_dir "
        "runs/$SLURM_ARRAY_TASK_ID --resume",
    )
    first, last = (array.task(index) for index in (0, 1))
    for job in (first, last):
        job.wait_for_step(2)
    assert last.field("JobId") == array.number
    slurm("scancel", "--signal=USR1", last.number)
    for job in (first, last):
        job.wait_for("COMPLETED")
    check_ended(first, restarts=0)
    check_ended(last, restarts=1)
    check_equal(last, first)
