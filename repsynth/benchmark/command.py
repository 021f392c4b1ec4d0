"""From the words of `repsynth benchmark nvs` to its report."""

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from repsynth.benchmark.entrants import check_names, data_set, entrant
from repsynth.benchmark.nvs import Comparison, compare
from repsynth.benchmark.protocol import read_protocol
from repsynth.benchmark.tables import markdown
from repsynth.cli.quiet import drop_advertising, speak_plainly
from repsynth.errors import UserError


def run_nvs(
    models: Sequence[str], data: Sequence[str], protocol: Path, out: Path | None, device: str
) -> None:
    """Compare models, print the table, and leave everything in `out` if it is given.

    Args:
        models: words as `entrants.entrant` reads them.
        data: words as `entrants.data_set` reads them.
        protocol: file with the conditions.
        out: new folder for tables, figures per image and configurations; None keeps nothing.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        UserError: any mistake, before anything is computed.
    """
    speak_plainly()
    drop_advertising()
    conditions = read_protocol(protocol)
    entrants = [entrant(word) for word in models]
    sets = [data_set(word) for word in data]
    check_names("--models", [model.name for model in entrants])
    check_names("--data", [each.name for each in sets])
    with _folder(out) as root:
        comparison = Comparison(entrants, sets, conditions, protocol, read_device(device), Path(root))
        report = compare(comparison)
        print(markdown(report.table()))
        if out is not None:
            report.write(out)
            print(f"\nwritten to {out}")


def read_device(word: str) -> torch.device:
    """The device of a word.

    Raises:
        UserError: an unknown word, or a device that is not there.
    """
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = word.partition(":")
    if kind not in ("cpu", "cuda") or (index and (kind == "cpu" or not index.isdigit())):
        raise UserError(f"--device is '{word}'; expected auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count()
    if kind == "cuda" and int(index or 0) >= count:
        raise UserError(f"--device is '{word}', but {count} CUDA devices are there; use another, or cpu")
    return torch.device(word)


def _folder(out: Path | None) -> AbstractContextManager[str | Path]:
    return tempfile.TemporaryDirectory() if out is None else nullcontext(out)
