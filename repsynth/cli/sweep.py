"""`repsynth sweep --local FILE`: the trials of a W&B sweep on this machine, without an account."""

import argparse
from pathlib import Path

from repsynth.errors import UserError

SUMMARY = "run the trials of a sweep on this machine"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--local", type=Path, metavar="FILE", help="the sweep, such as experiments/sweeps/NAME.yaml")
    add("--jobs", type=int, default=1, metavar="N", help="trials at a time (default: 1)")
    add("--max-trials", type=int, metavar="N", help="at most so many (default: the grid, or run_cap)")
    add("--root", type=Path, metavar="DIR", help="gets a folder for every trial (default: runs/sweeps/NAME)")
    add("--seed", type=int, default=0, metavar="N", help="of methods random and bayes (default: 0)")
    add("--dry-run", action="store_true", help="check the sweep and show its trials, then leave")


def run(options: argparse.Namespace) -> None:
    """Check a sweep, run its trials and print a table of them.

    Raises:
        UserError: any mistake in the options or in the sweep, before a trial starts.
        SystemExit: with code 1 if a trial failed, with 128 + signal if a signal stopped the sweep.
    """
    if options.overrides:
        raise UserError(
            f"repsynth sweep: unrecognized arguments: {' '.join(options.overrides)} (see `repsynth sweep --help`); "
            "options of the experiment belong into the sweep's command or parameters"
        )
    if options.local is None:
        raise UserError(
            "repsynth sweep needs --local FILE; with an account W&B runs the same file: `wandb sweep FILE`, then "
            "`wandb agent ID`"
        )
    for name, value, least in (
        ("--jobs", options.jobs, 1),
        ("--max-trials", options.max_trials, 1),
        ("--seed", options.seed, 0),
    ):
        if value is not None and value < least:
            raise UserError(f"{name} is {value}; expected at least {least}")
    from repsynth.cli.sweeps.local import run_sweep

    code = run_sweep(
        options.local, options.root, options.jobs, options.max_trials, options.seed, options.dry_run
    )
    if code:
        raise SystemExit(code)
