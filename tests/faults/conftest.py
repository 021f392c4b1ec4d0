from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed.experiments import method

from faults.small import LENGTH
from faults.survival import Case, Whole, whole
from faults.table import Outcome, Trials, markdown

_PROPERTY = "fault"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults-table", type=Path, metavar="DIR", help="folder for the table of faults, as faults.md"
    )


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder of this session, the same for all of pytest's processes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "faults"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def reference(experiment: Path, shared: Path) -> Whole:
    """The run of an experiment that nothing hits; others go beside it."""
    return whole(Case(experiment, LENGTH, shared / method(experiment)))


@pytest.fixture
def trials(experiment: Path, record_property: Callable[[str, object], None]) -> Trials:
    """Puts outcomes into the table at the end of the session."""
    return Trials(method(experiment), lambda outcome: record_property(_PROPERTY, list(outcome)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = list(_outcomes(terminalreporter))
    if not outcomes:
        return
    table = markdown(outcomes)
    terminalreporter.section("faults")
    terminalreporter.write(table)
    folder: Path | None = config.getoption("--faults-table", default=None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faults.md").write_text(table)


def _outcomes(terminalreporter: pytest.TerminalReporter) -> Iterator[Outcome]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                yield from (Outcome(*value) for key, value in report.user_properties if key == _PROPERTY)
