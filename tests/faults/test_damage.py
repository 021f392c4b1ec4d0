"""The newest checkpoint cut or altered at random places: it is named, the one before it taken, and the end the same."""

import random
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from distributed.experiments import SYNTHETIC, method
from distributed.harness import differences

from faults.small import BATCH, LENGTH
from faults.survival import Whole, resume, saved_steps, stopped
from faults.table import Trials
from repsynth.callbacks.checkpoint import resume_path
from repsynth.checkpoints import seen, verify
from repsynth.cli import starting_point

OFFSETS = 20
Damage = Callable[[bytes], bytes]


def cut(offset: int) -> Damage:
    return lambda content: content[:offset]


def altered(offset: int, bit: int) -> Damage:
    return lambda content: content[:offset] + bytes([content[offset] ^ 1 << bit]) + content[offset + 1 :]


def passed_over(newest: Path, damage: Damage) -> list[int]:
    """Damage the newest checkpoint of a run for a moment, and see what a resume would take.

    Returns:
        Steps that are lost by it: none when the damage changed nothing that is read.
    """
    content, steps = newest.read_bytes(), seen(verify(newest)) // BATCH
    others = [seen(verify(path)) // BATCH for path in newest.parent.glob("*.ckpt") if path != newest]
    newest.write_bytes(damage(content))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = starting_point.find("fit", newest.parents[1], ckpt_path=None, resume=True)
        told = [str(warning.message) for warning in caught]
        if found == newest:  # a byte that nobody reads, such as padding
            whole = newest.with_suffix(".whole")
            whole.write_bytes(content)
            assert told == []
            assert differences(*(torch.load(path, weights_only=True) for path in (newest, whole))) == []
            return [0]
        assert len(told) == 1 and told[0].startswith(f"the checkpoint {newest} is damaged ("), told
        assert found is not None and seen(verify(found)) // BATCH == max(others)
        return [steps - max(others)]
    finally:
        newest.write_bytes(content)


def resumed(reference: Whole, root: Path, newest: Path, damage: Damage, fault: str) -> list[int]:
    """Damage the newest checkpoint of a copy of a run for good, resume it, and compare its end."""
    again = root.with_name(fault.replace(" ", "-"))
    shutil.copytree(root, again)
    damaged = again / newest.relative_to(root)
    damaged.write_bytes(damage(newest.read_bytes()))
    done = saved_steps(root) - saved_steps(again)
    assert f"warning: the checkpoint {damaged} is damaged (" in resume(reference, again).printed()
    return [done]


@pytest.mark.faults
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("experiment", SYNTHETIC, ids=method)
def test_a_damaged_newest_checkpoint_costs_an_interval(
    experiment: Path, reference: Whole, trials: Trials
) -> None:
    root = reference.case.folder / "damaged"
    stopped(reference.case, root, LENGTH.steps - 2)
    newest = resume_path(root)
    assert newest is not None
    rng, size = random.Random(f"damage of {method(experiment)}"), newest.stat().st_size
    kinds: dict[str, list[Damage]] = {
        "newest checkpoint cut": [cut(rng.randrange(size)) for _ in range(OFFSETS)],
        "newest checkpoint altered": [altered(rng.randrange(size), rng.randrange(8)) for _ in range(OFFSETS)],
        "newest checkpoint empty": [cut(0)],
    }
    for fault, damages in kinds.items():
        for damage in damages:
            trials.run([fault], partial(passed_over, newest, damage))
        fault = f"{fault}, resumed"
        trials.run([fault], partial(resumed, reference, root, newest, damages[0], fault))
    trials.check()
