"""An office that may be shaken, for the storms and for single blows."""

import pytest

from tests.faults import office


@pytest.fixture(scope="module")
def servers():
    with office.own_servers() as made:
        yield made


@pytest.fixture
def shaken(servers, settings, tmp_path):
    """An office with real workers and a scheduler; see ``tests.faults.office``."""
    with office.opened(settings, servers, tmp_path) as made:
        yield made
