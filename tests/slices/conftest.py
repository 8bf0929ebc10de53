"""What the tests of several slices stand on."""

import pytest

from tests.town import Town, make_town


@pytest.fixture
def town(bound) -> Town:
    return make_town(bound.home)
