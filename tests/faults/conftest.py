"""An office that may be shaken, for the storms and for single blows."""

from dataclasses import replace

import pytest

from tests.faults import office


@pytest.fixture(scope="module")
def servers():
    with office.own_servers() as made:
        yield made


@pytest.fixture
def shaken(request, servers, settings, tmp_path):
    """An office with real workers and a scheduler; see ``tests.faults.office``.

    Leases are short, unless the test's parameter names other settings.
    """
    mine = replace(settings, **getattr(request, "param", {}))
    with office.opened(mine, servers, tmp_path) as made:
        yield made
