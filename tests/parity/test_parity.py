from pathlib import Path

import numpy as np

from . import fixtures


def test_fixture(fixture: fixtures.Fixture, case: Path) -> None:
    """Run one .npz of one fixture folder through the check of its component."""
    with np.load(case) as arrays:
        check = fixtures.components()[fixture.component]
        check(fixture.folder, fixture.config, dict(arrays))
