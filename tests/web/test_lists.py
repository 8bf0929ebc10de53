"""Lists as a person turns them: by links, narrowed and sorted, the address holds all of it."""

import re
from html import unescape

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.runs.models import JobRun
from tests import make

WORD = "Dinas Banyak"


@pytest.fixture(scope="module")
def many(app):
    """Agencies for three pages, and as many changes of them."""
    with app.app_context():
        return [make.make_agency(name=f"{WORD} {n:03}").id for n in range(55)]


def link(page: str, rel: str) -> str | None:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    return unescape(found[1]) if found else None


def names(page: str) -> list[str]:
    return re.findall(rf'data-label="Nama"[^>]*>({WORD} \d+)<', page)


def read(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_a_list_is_turned_by_links_and_stays_narrowed_and_sorted(log_in, people, many):
    client = log_in(people["SEMUA"])
    address = f"/agencies/?search={WORD}&sort=name&desc=1"
    pages = [read(client, address)]
    assert "Seluruhnya 55" in pages[0]
    while following := link(pages[-1], "next"):
        pages.append(read(client, following))
    told = [name for page in pages for name in names(page)]
    assert told == [f"{WORD} {n:03}" for n in reversed(range(55))]
    before = read(client, link(pages[-1], "prev"))
    assert names(before) == names(pages[1])
    assert len(many) == 55


def test_the_newest_change_comes_first_and_the_time_sorts(log_in, people, many):
    client = log_in(people["SEMUA"])
    newest = re.findall(
        r'data-label="Objek"[^>]*>(?:<a[^>]*>)?([^<]*)<', read(client, "/audit/")
    )
    with make.session() as s:
        wanted = s.scalars(
            sa.select(AuditEvent.object_label).order_by(AuditEvent.id.desc()).limit(25)
        ).all()
    assert [unescape(each).strip() for each in newest] == list(wanted)
    assert 'aria-sort="ascending"' in read(client, "/audit/?sort=at")


@pytest.mark.parametrize("page", ["/agencies/", "/runs/", "/quarantine/", "/audit/"])
def test_an_address_of_no_place_shows_the_beginning_and_says_so(log_in, people, page):
    client = log_in(people["SEMUA"])
    text = read(client, f"{page}?after=WyJ4Il0")
    assert "tidak menunjuk satu tempat pun" in text


def test_a_person_of_an_agency_turns_their_own_rows_alone(log_in, estates):
    own, other = estates
    with make.session() as s:
        mine = sa.select(sa.func.count()).where(JobRun.agency_id == own.agency)
        count = s.scalar(mine)
    text = read(log_in(own.operator), "/runs/")
    assert own.canary in text
    assert other.canary not in text
    assert f"Seluruhnya {count}" in text
