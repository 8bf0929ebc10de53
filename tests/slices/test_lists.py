"""Pages of a list, walked forth and back, beside the same rows sorted by Python."""

import base64
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.core import db, lists
from app.core.lists import Order, Turn
from app.core.search import Found
from app.identity.models import User

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Base(DeclarativeBase):
    pass


class Thing(Base):
    """A table of this test's own, with equal and with empty values."""

    __tablename__ = "thing_of_a_list"
    __table_args__ = {"prefixes": ["TEMPORARY"]}

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))


@pytest.fixture
def session(bound):
    del bound
    with db.owner_unit_of_work() as made:
        Base.metadata.create_all(made.connection())
        yield made
        made.rollback()


def put(session, *things):
    """Have these rows and no others."""
    session.execute(sa.delete(Thing))
    rows = [{"id": each.id, "name": each.name, "at": each.at} for each in things]
    if rows:
        session.execute(sa.insert(Thing), rows)


def in_order(things, column, *, down):
    """Sort by the column and then the key; empty values last both ways."""
    filled = [each for each in things if getattr(each, column) is not None]
    empty = [each for each in things if getattr(each, column) is None]
    filled.sort(key=lambda each: (getattr(each, column), each.id), reverse=down)
    empty.sort(key=lambda each: each.id, reverse=down)
    return [each.id for each in filled + empty]


def walk(session, order, size, places, words=None):
    """Return the rows of all pages in the direction of ``places``, from the far end."""
    query, pages = sa.select(Thing), []
    turn = Turn()
    while True:
        page = lists.read_slice(session, query, order, size, turn, words)
        pages.append(page)
        if not page.later:
            break
        turn = Turn(after=page.later)
    back = [pages[-1]]
    while back[-1].earlier:
        turn = Turn(before=back[-1].earlier)
        back.append(lists.read_slice(session, query, order, size, turn, words))
    places += [len(pages), len(back)]
    return (
        [row.id for page in pages for row in page.rows],
        [row.id for page in reversed(back) for row in page.rows],
    )


def thing(name, day):
    at = None if day is None else EPOCH + timedelta(days=day)
    return Thing(id=uuid.uuid4(), name=name, at=at)


any_list = {
    "values": st.lists(
        st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 3)), max_size=25
    ),
    "size": st.integers(1, 7),
    "column": st.sampled_from(["name", "at", "id"]),
    "down": st.booleans(),
}
many_lists = settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # emptied by each example
)  # fmt: skip


@given(**any_list)
@many_lists
def test_a_list_is_walked_forth_and_back_without_a_gap_or_a_repeat(
    session, values, size, column, down
):
    things = [thing(*value) for value in values]
    put(session, *things)
    order = Order(getattr(Thing, column), Thing.id, down)
    wanted, places = in_order(things, column, down=down), []
    forth, back = walk(session, order, size, places)
    assert forth == wanted
    # Backwards the first page may be a short one; no row is missing or told twice.
    assert back == wanted
    assert places[0] == max(1, -(-len(things) // size))


@given(walked=st.integers(1, 30), **any_list)
@many_lists
def test_so_is_a_list_of_what_was_found_whether_it_is_soon_met_or_not(
    session, values, size, column, down, walked
):
    things = [thing(*value) for value in values]
    put(session, *things)
    order = Order(getattr(Thing, column), Thing.id, down)
    met = [each for each in things if each.name == "a"]
    wanted = in_order(met, column, down=down)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "WALKED", walked)
        words = Found(Thing.name == "a", Thing.name == "a")
        forth, back = walk(session, order, size, [], words)
        page = lists.read_slice(session, sa.select(Thing), order, size, words=words)
    assert (forth, back) == (wanted, wanted)
    assert page.total == lists.Total(len(met))


@pytest.mark.parametrize(
    "text", ["x", "%00", "W10", "WzEsMl0", "W251bGwsbnVsbF0", "bnVsbA", "a" * 5000, "é"]
)
def test_a_place_that_is_none_is_told_and_the_beginning_shown(session, text):
    put(session, Thing(id=uuid.uuid4(), name="a", at=None))
    for column in (Thing.at, Thing.id):
        for turn in (Turn(after=text), Turn(before=text)):
            order = Order(column, Thing.id, down=False)
            page = lists.read_slice(session, sa.select(Thing), order, 5, turn)
            assert (page.is_lost, len(page.rows)) == (True, 1)


def test_many_rows_are_told_about_and_few_to_the_row(session, monkeypatch):
    monkeypatch.setattr(lists, "COUNTED", 20)
    things = [Thing(id=uuid.uuid4(), name=f"{n}'%", at=None) for n in range(21)]
    put(session, *things[:20])
    named = sa.select(Thing).where(Thing.name.icontains("'%", autoescape=True))
    for query in (named, sa.select(Thing), sa.select(Thing).where(sa.true())):
        put(session, *things[:20])
        assert lists.count(session, query) == lists.Total(20)
        put(session, *things)
        about = lists.count(session, query)
        assert about.told is lists.Told.ABOUT
        assert about.rows >= 21
    assert lists.count(session, named.where(sa.false())) == lists.Total(0)


@pytest.mark.parametrize("nested", ["[" * 1400, "[" * 700 + "]" * 700, "{" * 900])
def test_a_place_nested_without_end_is_no_place(nested):
    order = lists.Order(User.name, User.id, False)
    place = base64.urlsafe_b64encode(nested.encode()).decode().rstrip("=")
    assert order.read(place) is None
