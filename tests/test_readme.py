"""Every command of the README and of docs/*.md is known to work: checked here, or marked with the reason why not.

Commands stand in blocks fenced as ```bash, one a line; a block after `<!-- not run: reason -->` is passed
over. `repsynth fit --config ...` and the like are parsed against the code, and so is what `repsynth benchmark` names;
the other verbs of `repsynth` are executed, a target of `make` has to be there, and so has a file given to `python`,
`pytest` or `bash`.
"""

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from repsynth.cli import TRAINING_VERBS, main
from repsynth.cli.configuration import merge
from repsynth.cli.parsing import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?P<mark><!-- not run: (?P<reason>[^>]*)-->\s*\n)?^```bash\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL
)
_OURS = ("--dry-run", "--debug", "--resume", "--ckpt_path", "--init_from")


def commands(text: str) -> Iterator[str]:
    """The commands of all blocks that are not marked, continuation lines joined, comments gone."""
    for block in _BLOCK.finditer(text):
        if block["mark"]:
            assert block["reason"].strip(), "a marker needs a reason"
            continue
        for line in block["body"].replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield shlex.join(words)


def without_own_flags(words: list[str]) -> list[str]:
    """What is left for the configuration when the flags of the command line itself are taken out."""
    rest, position = [], 0
    while position < len(words):
        name, equals, _ = words[position].partition("=")
        if name not in _OURS:
            rest.append(words[position])
        elif name in ("--ckpt_path", "--init_from") and not equals:
            position += 1
        position += 1
    return rest


def check_repsynth(words: list[str]) -> None:
    verb, *rest = words
    if verb in TRAINING_VERBS and Path(rest[rest.index("--config") + 1]).parts[0] != "runs":
        arguments = without_own_flags(rest)
        parse(arguments, merge(arguments))
    elif verb == "benchmark":
        check_benchmark(rest)
    elif verb not in TRAINING_VERBS:
        assert main(words) == 0


def check_benchmark(words: list[str]) -> None:
    from repsynth.benchmark.entrants import data_set, entrant
    from repsynth.benchmark.protocol import read_protocol, settled
    from repsynth.cli.benchmark import add_options

    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser)
    options = parser.parse_args(words)
    for word in options.models:
        entrant(word)
    for word in options.data:
        settled(read_protocol(options.protocol), options.protocol, data_set(word))


def check_make(words: list[str]) -> None:
    for target in (word for word in words if "=" not in word):
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        assert (ROOT / words[1].replace(".", "/")).with_suffix(".py").is_file() or words[1] in (
            "pip",
            "pytest",
            "venv",
        )
    else:
        assert (ROOT / words[0]).is_file()


def check_pytest(words: list[str]) -> None:
    assert all((ROOT / word).exists() for word in words if word.startswith("tests/"))


CHECKS = {
    "repsynth": check_repsynth,
    "make": check_make,
    "python": check_python,
    "pytest": check_pytest,
    "bash": check_python,
}


@pytest.mark.parametrize("command", [each for page in PAGES for each in commands(page.read_text())])
def test_a_command_of_the_documentation(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    assert words[0] in CHECKS, f"'{command}' is neither checked nor marked <!-- not run: reason -->"
    CHECKS[words[0]](words[1:])


EXAMPLE = """\
```bash
make test   # all of them
repsynth fit --config a.yaml \\
    --trainer.max_epochs 5
```
<!-- not run: needs a GPU -->
```bash
nvidia-smi
```
```python
no = "command"
```
"""


def test_commands_are_found_in_a_text() -> None:
    assert list(commands(EXAMPLE)) == ["make test", "repsynth fit --config a.yaml --trainer.max_epochs 5"]


def test_own_flags_are_taken_out() -> None:
    words = ["--config", "a.yaml", "--ckpt_path", "best", "--dry-run", "--init_from=b.ckpt", "--model.x", "1"]
    assert without_own_flags(words) == ["--config", "a.yaml", "--model.x", "1"]


def test_a_command_that_is_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(AssertionError):
        check_make(["no-such-target"])
    with pytest.raises(AssertionError):
        check_python(["benchmarks/no_such_file.py"])
    with pytest.raises(Exception, match="no such configuration file"):
        check_repsynth(["fit", "--config", "experiments/no.yaml"])
    with pytest.raises(Exception, match="no such configuration file"):
        words = "nvs --models p=PlaneWarp --data experiments/no.yaml --protocol experiments/protocols/synthetic.yaml"
        check_repsynth(["benchmark", *words.split()])
