#!/usr/bin/env python3
"""Stands in for `python -m repsynth fit`: does what the width of the model says, in no time.

A width of 7 is a mistake, 6 a crash, 9 is killed, 8 trains until it is asked to stop, others finish. The words go to
`calls.txt` of the run directory, threads and GPUs to `machine.txt`.
"""

import os
import pathlib
import signal
import sys
import time


def leave(number: int, frame: object) -> None:
    sys.exit(128 + number)


assert sys.argv[1:4] == ["-m", "repsynth", "fit"], sys.argv
words = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[4:])
run = pathlib.Path(words["trainer.default_root_dir"])
with (run / "calls.txt").open("a") as calls:
    calls.write(" ".join(sys.argv[4:]) + "\n")
names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
(run / "machine.txt").write_text(" ".join(os.environ.get(name, "-") for name in names))
width, first = int(words["model.width"]), not (run / "checkpoints").exists()
(run / "checkpoints").mkdir(exist_ok=True)
if width == 7:
    sys.exit("error: seven is too many")
if width == 6:
    sys.exit("Traceback\n  File x\nValueError: six")
if width == 9 and first:
    os.kill(os.getpid(), signal.SIGKILL)
if width == 8 and first:
    signal.signal(signal.SIGTERM, leave)
    (run / "ready").touch()
    time.sleep(60)
    sys.exit("nobody asked to stop")
rows = {4: [("4", "20"), ("8", "24"), ("12", "22")], 5: [("4", "nan")]}.get(
    width, [("4", "10"), ("8", str(width))]
)
(run / "csv" / "version_0").mkdir(parents=True)
lines = ["step,train/loss,val/psnr", *(f"{step},0.5,\n{step},,{value}" for step, value in rows)]
(run / "csv" / "version_0" / "metrics.csv").write_text("\n".join(lines) + "\n")
