"""Words find the same rows whether the index is asked or one row after another."""

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st

from app.core.policy import DbRole, Principal, acting_as
from app.core.search import found_by
from app.identity.models import Agency
from tests import make

OFFICE = Principal("kantor", DbRole.OFFICE)
AGENCY = Principal("opd", DbRole.AGENCY)
SIGNS = "/-._ ,²ßİKéĞ"
TEXTS = st.text(st.sampled_from("abAB019" + SIGNS), max_size=12)


@pytest.fixture
def session(bound):
    del bound
    with make.session() as made:
        yield made


def told(session, found, name):
    """Return what both conditions say of a row with this text."""
    row = sa.text(
        "WITH agency(code, name, short_name) AS (VALUES ('', :name, '')) SELECT"
    )
    conditions = sa.select(found.by_index, found.by_row).compile(
        dialect=session.bind.dialect, compile_kwargs={"literal_binds": True}
    )
    whole = sa.text(f"{row} {str(conditions).removeprefix('SELECT')} FROM agency")
    return tuple(session.execute(whole, {"name": name}).one())


@given(name=TEXTS, typed=TEXTS)
@settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_both_ways_find_the_same(session, name, typed):
    with acting_as(OFFICE):
        found = found_by(Agency, typed)
    if found is not None:
        by_index, by_row = told(session, found, name)
        assert by_index == by_row


def test_the_index_is_not_asked_for_whom_row_level_security_keeps_it_from(bound):
    del bound
    with acting_as(OFFICE):
        office = found_by(Agency, "dinas")
    with acting_as(AGENCY):
        agency = found_by(Agency, "dinas")
    assert "lower" not in str(office.by_index)
    assert "lower" in str(agency.by_index)
    assert str(agency.by_row) == str(office.by_row)
