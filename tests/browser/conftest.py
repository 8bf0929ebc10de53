"""A demo office that runs, for tests that look at pages as people do."""

import os
from pathlib import Path

import pytest

from ops.browser import accounts_in
from ops.shots import demo_office


@pytest.fixture(scope="session")
def office():
    """A demo office: its address and its accounts by e-mail."""
    running = os.environ.get("SIMPUL_OFFICE", "")  # ADDRESS,FILE of one that runs already
    if running:
        address, _, file = running.partition(",")
        yield address, {each.email: each for each in accounts_in(Path(file))}
        return
    with demo_office() as (address, home):
        accounts = accounts_in(home / "demo-accounts.txt")
        yield address, {each.email: each for each in accounts}
