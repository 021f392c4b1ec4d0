"""The launch files of experiments/clusters, run by bash with stand-ins for SLURM, torchrun and the containers."""

import os
import re
import signal
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.plugins.environments import SLURMEnvironment

from repsynth.cli import _parser
from repsynth.cli.configuration import merge
from repsynth.cli.parsing import parse

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "experiments" / "clusters").iterdir())
SLURM = [path for path in FILES if path.suffix == ".sbatch"]
JOB = "4711"

_SKIP_OPTIONS = 'while [[ "$1" == -* ]]; do shift; done'
STAND_INS = {
    "srun": f'printf "%s\\0" "$@" > srun.txt; env -0 > task.txt; {_SKIP_OPTIONS}; exec "$@"',
    "apptainer": f'[ "$1" = exec ] || exit 9; shift; {_SKIP_OPTIONS}; echo "$1" > image.txt; shift; exec "$@"',
    "torchrun": 'printf "%s\\0" "$@" > torchrun.txt; env -0 > environment.txt',
    "repsynth": 'printf "%s\\0" repsynth "$@" > repsynth.txt; env -0 > environment.txt',
    "scancel": f'[ "$*" = "--quiet --signal=TERM {JOB}" ] && kill -TERM "$(cat started.txt)"',
    "scontrol": 'if [ "$1" = show ]; then echo node07; echo node08; else echo "$@" >> requeued.txt; fi',
}
# A run that takes a second to save, as `callbacks.checkpoint` does at these signals.
SAVES = """
trap 'sleep 1; echo saved USR1 >> saved.txt; exit 138' USR1
trap 'sleep 1; echo saved TERM >> saved.txt; exit 143' TERM
echo $$ > started.txt
for i in $(seq 200); do sleep 0.05; done
"""


def directives(path: Path) -> dict[str, str]:
    """The #SBATCH lines; SLURM stops reading at the first line that is no comment."""
    text = path.read_text()
    head = text[: text.index("\nset -e")]
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", head, re.MULTILINE)
    assert len(found) == len(re.findall(r"^#SBATCH", text, re.MULTILINE))
    return dict(found)


def slurm_variables(path: Path, folder: Path) -> dict[str, str]:
    """What sbatch sets for a script with these lines."""
    asked = directives(path)
    tasks = int(asked["nodes"]) * int(asked["ntasks-per-node"])
    return {
        "SLURM_JOB_ID": JOB,
        "SLURM_JOB_NAME": asked["job-name"],
        "SLURM_JOB_NODELIST": "node[07-10]",
        "SLURM_NODELIST": "node[07-10]",
        "SLURM_NNODES": asked["nodes"],
        "SLURM_NTASKS": str(tasks),
        "SLURM_NTASKS_PER_NODE": asked["ntasks-per-node"],
        "SLURM_CPUS_PER_TASK": asked["cpus-per-task"],
        "SLURM_SUBMIT_DIR": str(folder),
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder that looks like a checkout on a cluster."""
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("export ACTIVATED=yes\n")
    for name, body in STAND_INS.items():
        stand_in(tmp_path, name, body)
    return tmp_path


def stand_in(folder: Path, name: str, body: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def environment(path: Path, project: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    slurm = slurm_variables(path, project) if path in SLURM else {}
    return {**kept, **slurm, "PATH": f"{project / 'bin'}:{os.environ['PATH']}"}


def start(path: Path, project: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", str(path), *words],
        cwd=project,
        env=environment(path, project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def words(file: Path) -> list[str]:
    return file.read_text().split("\0")[:-1]


def variables(file: Path) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in words(file))


def command(path: Path, project: Path, *more: str) -> list[str]:
    """The words after `repsynth` that a launch file comes to."""
    process = start(path, project, *more)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    if path in SLURM:
        return words(project / "repsynth.txt")[1:]
    launched = words(project / "torchrun.txt")
    module = launched.index("-m") + 1
    assert launched[module] == "repsynth"
    return launched[module + 1 :]


def configuration(launched: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The complete configuration of a `repsynth fit` line, by the parser of the command line."""
    monkeypatch.chdir(ROOT)
    options, rest = _parser().parse_known_args(launched)
    assert options.verb == "fit" and options.resume and not options.dry_run
    return parse(rest, merge(rest)).plain()


def test_one_and_many_nodes_plain_and_in_containers() -> None:
    names = {path.name for path in FILES}
    kinds = {
        f"slurm_{nodes}{kind}.sbatch"
        for nodes in ("one_node", "many_nodes")
        for kind in ("", "_apptainer", "_pyxis")
    }
    kinds |= {
        f"torchrun_{nodes}{kind}.sh" for nodes in ("one_node", "many_nodes") for kind in ("", "_apptainer")
    }
    assert names == kinds


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_bash_and_says_what_to_edit(path: Path) -> None:
    assert subprocess.run(["bash", "-n", path], capture_output=True, timeout=60, check=True).stderr == b""
    header = path.read_text().partition("\n\n")[0]
    assert header.startswith("#!/bin/bash\n# ") and "\n# Edit: " in header
    assert f"experiments/clusters/{path.name}\n" in header


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_its_command_is_valid_and_fits_the_launcher(
    path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = configuration(command(path, project, "--seed_everything", "7"), monkeypatch)
    assert plain["seed_everything"] == 7
    devices, nodes = int(plain["trainer"]["devices"]), plain["trainer"]["num_nodes"]
    assert (nodes > 1) == ("many" in path.name)
    assert plain["data"]["init_args"]["batch_size"] % (devices * nodes) == 0
    assert plain["trainer"]["strategy"] == "ddp"
    if path in SLURM:
        check_slurm(path, project, devices, nodes, plain["data"]["init_args"]["num_workers"], monkeypatch)
    else:
        launched = words(project / "torchrun.txt")
        assert launched[launched.index("--nproc-per-node") + 1] == str(devices)
        if nodes > 1:
            assert launched[launched.index("--nnodes") + 1] == str(nodes)
        else:
            assert "--standalone" in launched
    inside = variables(project / "environment.txt")
    contained = "apptainer" in path.name or "pyxis" in path.name
    assert inside.get("ACTIVATED") == (None if contained else "yes")
    assert (project / "image.txt").exists() == ("apptainer" in path.name)


def check_slurm(
    path: Path, project: Path, devices: int, nodes: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning reads the same ranks from SLURM's variables as the command line says."""
    asked, task = directives(path), variables(project / "environment.txt")
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name in (
        "SLURM_NTASKS",
        "SLURM_NTASKS_PER_NODE",
        "SLURM_NNODES",
        "SLURM_JOB_NAME",
        "MASTER_ADDR",
        "MASTER_PORT",
    ):
        monkeypatch.setenv(name, task[name])
    assert SLURMEnvironment.detect()
    slurm = SLURMEnvironment()
    slurm.validate_settings(devices, nodes)
    assert slurm.world_size() == devices * nodes
    assert (slurm.main_address, slurm.main_port) == ("node07", 15000 + int(JOB))
    assert asked["gpus-per-node"] == asked["ntasks-per-node"] == str(devices)
    assert workers < int(asked["cpus-per-task"])
    srun = words(project / "srun.txt")
    assert "--kill-on-bad-exit=1" in srun and f"--cpus-per-task={asked['cpus-per-task']}" in srun
    assert any(word.startswith("--container-image=") for word in srun) == ("pyxis" in path.name)
    assert {"requeue", "open-mode", "signal", "time"} <= asked.keys() and asked["open-mode"] == "append"
    assert asked["signal"].startswith("B:USR1@") and int(asked["signal"].removeprefix("B:USR1@")) >= 120
    # Only the batch shell puts the job back.
    assert "SLURM_JOB_ID" not in task and variables(project / "task.txt")["SLURM_JOB_ID"] == JOB


def signalled(path: Path, project: Path, number: signal.Signals) -> int:
    """The exit code of a launch file whose shell gets a signal while the run trains."""
    stand_in(project, "repsynth", SAVES)
    process = start(path, project)
    end = time.monotonic() + 30
    while not (project / "started.txt").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("path", [SLURM[0], SLURM[-1]], ids=lambda path: path.name)
def test_at_the_warning_before_the_time_limit_the_job_is_put_back_after_the_save(
    path: Path, project: Path
) -> None:
    assert signalled(path, project, signal.SIGUSR1) == 138
    assert (project / "saved.txt").read_text() == "saved USR1\n"
    assert (project / "requeued.txt").read_text() == f"requeue {JOB}\n"
    assert (project / "requeued.txt").stat().st_mtime >= (project / "saved.txt").stat().st_mtime


def test_a_job_that_is_cancelled_saves_and_is_not_put_back(project: Path) -> None:
    assert signalled(SLURM[0], project, signal.SIGTERM) == 143
    assert (project / "saved.txt").read_text() == "saved TERM\n"
    assert not (project / "requeued.txt").exists()


def test_a_run_that_fails_fails_the_job(project: Path) -> None:
    stand_in(project, "repsynth", "exit 2")
    process = start(SLURM[0], project)
    process.communicate(timeout=60)
    assert process.returncode == 2 and not (project / "requeued.txt").exists()


def test_all_files_of_a_kind_have_the_same_body() -> None:
    """They differ in how many nodes there are and in what runs the command, and in nothing else."""
    bodies = {path.read_text().partition("requeue=no\n")[2] for path in SLURM}
    own = {re.sub(r"(?s)^(.*?)srun .*?(env -u)", r"\1\2", body) for body in bodies}
    assert len(own) == 1
