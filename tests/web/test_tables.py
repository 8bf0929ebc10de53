"""Lists of pages of our own: narrowed, sorted and saved like all other lists."""

import re
from datetime import UTC, datetime
from html import unescape
from urllib.parse import unquote

import pytest

from app.contracts.models import Contract
from app.contracts.states import DatasetKind
from app.runs.states import RunStatus
from app.web import tables
from app.web.format import cell
from tests import make
from tests.web.test_ledger_pages import form_of, make_ended, successors
from tests.web.test_saved_views import save, views

PAGES = ("runs", "quarantine", "sources", "contracts", "datasets")


def rows_of(client, address) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.headers.get("Location")
    return answer.get_data(True).partition("<tbody>")[2].partition("</tbody>")[0]


def test_runs_are_narrowed_by_groups_of_filters_and_by_words(log_in, people):
    client = log_in(people["TIM_TEKNIS"])
    word, _dead = make_ended(2)
    other, _failed = make_ended(2, RunStatus.FAILED)
    both = f"/runs/?where=label:has:{word}&where=status:is:dead&where=or&where=label:has:{other}"
    found = rows_of(client, both)
    assert (found.count(word), found.count(other)) == (4, 4)  # a box and a link for each
    assert "<td" not in rows_of(client, f"/runs/?search={word}&where=status:is:failed")
    nothing = client.get(f"/runs/?search={word}&where=status:is:zzz").get_data(True)
    assert "tidak berarti apa-apa" in nothing or "status:is:zzz" in nothing


@pytest.mark.parametrize("page", PAGES)
def test_each_keeps_its_views_columns_and_panel_of_filters(log_in, people, page):
    client = log_in(people["SEMUA"])
    name = make.word("pandangan")
    moved = client.get(f"/{page}/?do=or&search=abc")
    assert moved.status_code == 302  # without a script the panel is put in order here
    assert "search=abc" in moved.headers["Location"]
    assert client.get(moved.headers["Location"]).status_code == 200
    query = (
        "search=abc&where=created_at:from:2026-01-01"
        if page != "datasets"
        else "search=a"
    )
    answer = save(client, name, query, listed=page)
    assert unquote(answer.headers["Location"]) == f"/{page}/?{query}"
    assert unquote(views(client, f"/{page}/")[name]) == f"/{page}/?{query}"


def test_columns_are_chosen_and_sorted_by(log_in, people, estates):
    client = log_in(people["SEMUA"])
    assert "Rentang" not in client.get("/contracts/").get_data(True)
    page = client.get("/contracts/?cols=title&cols=created_at&sort=created_at&desc=1")
    text = page.get_data(True)
    assert 'aria-sort="descending"' in text
    assert text.count("<th scope") == 2
    titles = rows_of(client, "/datasets/?sort=title&desc=1&cols=title")
    assert titles.count("<td") >= len(estates)


def test_an_address_of_former_days_still_narrows(log_in, people):
    client = log_in(people["SEMUA"])
    for address, now in (
        ("/runs/?status=dead&search=x", "/runs/?search=x&where=status:is:dead"),
        ("/runs/?kind=pull", "/runs/?where=kind:is:pull"),
        ("/quarantine/?run=abc", "/quarantine/?where=run_id:is:abc"),
    ):
        assert unquote(client.get(address).headers["Location"]) == now
        assert client.get(now).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"search": "WORD"},
        {"where": ["status:is:succeeded"]},
        {"where": ["status:is:dead", "or", "kind:is:pull"]},
    ],
)
def test_all_are_never_tried_again_by_a_form_without_one_status(log_in, people, query):
    client = log_in(people["TIM_TEKNIS"])
    word, dead = make_ended(3)
    named = {k: word if v == "WORD" else v for k, v in query.items()}
    pairs = [
        (k, v) for k, vs in named.items() for v in (vs if isinstance(vs, list) else [vs])
    ]
    assert client.post("/runs/retry-all", data=form_of(pairs)).status_code == 302
    assert not successors(dead)


@pytest.mark.parametrize(
    "address",
    [
        "/quarantine/?where=run_id:empty:", "/quarantine/?where=run_id:is:x",
        "/quarantine/?where=run_id:not:00000000-0000-0000-0000-000000000000",
        "/quarantine/?where=source_id:is:x", "/quarantine/?where=record_key:empty:",
        "/runs/?where=agency_id:empty:", "/runs/?where=attempt:from:99999999999",
        "/runs/?where=finished_at:last:99999999", "/runs/?sort=kind", "/runs/?cols=zzz",
        "/datasets/?where=row_count:from:999999999999999999&sort=published_at",
        "/datasets/?sort=row_count&after=WyIyMDI2LTAxLTAxIiwieCJd",
        "/contracts/?sort=kind&after=WyJ4IiwieCJd", "/sources/?where=plain_until:empty:",
        "/contracts/?where=kind:is:zzz&where=or&where=or", "/sources/?where=%00:is:%00",
    ],
)  # fmt: skip
def test_nothing_in_an_address_breaks_a_list(log_in, people, estates, address):
    assert log_in(people["SEMUA"]).get(address).status_code == 200
    assert log_in(estates[0].operator).get(address).status_code == 200


@pytest.mark.parametrize("sort", ["kind", "title", "created_at"])
@pytest.mark.parametrize("down", ["", "1"])
def test_pages_of_a_sorted_list_have_every_row_once(
    log_in, people, monkeypatch, sort, down
):
    monkeypatch.setattr(tables, "PAGE_SIZE", 3)
    word = make.word("urut")
    made = [str(make.make_contract(active=False).id) for _ in range(9)]
    with make.session() as ours:
        for n, ident in enumerate(made):
            contract = ours.get_one(Contract, ident)
            contract.title = f"{word} {n}"
            contract.kind = list(DatasetKind)[n % 3]
    client = log_in(people["TIM_TEKNIS"])
    address, seen = f"/contracts/?search={word}&sort={sort}&desc={down}", []
    for _ in range(4):
        page = client.get(address).get_data(True)
        seen += re.findall(r'data-open href="/contracts/([0-9a-f-]+)"', page)
        later = re.search(r'href="([^"]*[?&;]after=[^"]*)"', page)
        if later is None:
            break
        address = unescape(later[1])
    assert sorted(seen) == sorted(made)


def test_the_end_of_all_time_is_written_as_it_came(app):
    with app.test_request_context():
        for_ever = cell(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        assert for_ever == "9999-12-31 23:59:59+00:00"
