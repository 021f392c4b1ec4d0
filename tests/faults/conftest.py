from collections.abc import Callable
from pathlib import Path

import pytest

from faults.table import Outcome, markdown

_PROPERTY = "fault"
Report = Callable[[Outcome], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults-table", type=Path, metavar="DIR", help="folder for the table of faults, as faults.md"
    )


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Puts an outcome into the table at the end of the session."""
    return lambda outcome: record_property(_PROPERTY, list(outcome))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder of this session, the same for all of pytest's processes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if worker_id == "master" else own.parent) / "faults"
    folder.mkdir(exist_ok=True)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = [
        Outcome(*value)
        for reports in terminalreporter.stats.values()
        for each in reports
        for name, value in getattr(each, "user_properties", ())
        if name == _PROPERTY and each.when == "call"
    ]
    if not outcomes:
        return
    table = markdown(outcomes)
    terminalreporter.section("faults")
    terminalreporter.write(table)
    folder: Path | None = config.getoption("--faults-table", default=None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faults.md").write_text(table)
