"""Puts a SLURM job back into the queue when its run has stopped at a signal."""

import os
import re
import signal
import subprocess
import sys


def put_back(number: int) -> None:
    """Put this process's job back into the queue if SLURM will start it no more by itself; to be called by one rank.

    That is so after SIGUSR1, its warning before the time limit, and if the job is preempted with a time of grace: one
    that ends in it counts as ended. `scancel` sends SIGTERM as well, and means it. A job that cannot be put back is
    told on stderr: the run has been saved, and ends as it would have.

    Args:
        number: the signal.
    """
    job = job_id()
    if job is None or not (number == signal.SIGUSR1 or _preempted(job)):
        return
    failure = _scontrol("requeue", job)[1]
    if failure:
        print(
            f"warning: job {job} could not be put back into the queue ({failure}): submit it again, everything "
            "is saved",
            file=sys.stderr,
        )


def job_id() -> str | None:
    """The job of this process as `scontrol` takes it; None outside of SLURM, or where a launch file hides it."""
    job, array = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_ARRAY_JOB_ID")
    if job is None or array is None:
        return job
    # The number of an array's last task is that of the array too, and means all its tasks.
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"


def _preempted(job: str) -> bool:
    """Whether SLURM wants the job to leave, and has not begun to end it."""
    shown = _scontrol("show", "job", job)[0]
    return "JobState=RUNNING" in shown and re.search(r"\bPreemptTime=\d", shown) is not None


def _scontrol(*words: str) -> tuple[str, str]:
    """What `scontrol` says, and why it failed, if it did."""
    try:
        done = subprocess.run(["scontrol", *words], check=False, capture_output=True, text=True)
    except OSError as error:
        return "", f"scontrol: {error.strerror}"
    failure = done.stderr.strip() or f"scontrol ended with code {done.returncode}"
    return done.stdout, failure if done.returncode else ""
