"""`pytest tests/parity --fixtures DIR` runs every fixture below DIR whose component the project knows."""

from pathlib import Path

import pytest

from . import fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    # pytest has a flag of the same name (it lists fixture functions); that one stays reachable as --funcargs.
    group = parser.optparser.add_argument_group("repsynth", conflict_handler="resolve")
    group.add_argument(
        "--fixtures",
        metavar="DIR",
        dest="parity_fixtures",
        help="folder of parity fixtures (default: ../shared/parity beside the repository, when it is there)",
    )


def fixtures_root(config: pytest.Config) -> Path | None:
    given = config.getoption("parity_fixtures", default=None)
    if given is None:
        return fixtures.default_root()
    if not Path(given).is_dir():
        raise pytest.UsageError(f"--fixtures {given} is not a folder: name the one with the parity fixtures")
    return Path(given)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not {"fixture", "case"} <= set(metafunc.fixturenames):
        return
    root = fixtures_root(metafunc.config)
    known = fixtures.components()
    found = [] if root is None else [f for f in fixtures.find(root) if f.component in known]
    pairs = [(fixture, case) for fixture in found for case in fixture.cases]
    names = [case.relative_to(root).with_suffix("").as_posix() for _, case in pairs if root]
    metafunc.parametrize(("fixture", "case"), pairs, ids=names)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    root = fixtures_root(config)
    if root is None:
        return
    known = fixtures.components()
    found = fixtures.find(root)
    unknown = [fixture for fixture in found if fixture.component not in known]
    empty = [fixture for fixture in found if fixture.component in known and not fixture.cases]
    for title, folders in {"of unknown component": unknown, "without .npz": empty}.items():
        if folders:
            terminalreporter.section(f"parity fixtures {title}: {len(folders)}, not run")
        for fixture in folders:
            terminalreporter.line(f"{fixture.component:32} {fixture.folder.relative_to(root)}")
