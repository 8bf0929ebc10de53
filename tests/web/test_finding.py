"""Finding rows in a list: by words, by filters in groups, with the columns one wants."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from app.core import lists
from app.identity.models import User
from tests import make


def read(client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def names(page: str) -> list[str]:
    return [
        unescape(n)
        for n in re.findall(r'data-label="Nama"[^>]*>(?:<a [^>]*>)?([^<]*)<', page)
    ]


@pytest.fixture(scope="module")
def found(app):
    """Three agencies whose names and codes are like identifiers."""
    word = make.word("cari")
    made = {
        "long": make.make_agency(code=f"PMH/2026/0236994-{word}", name=f"Dinas {word} Satu"),
        "joined": make.make_agency(code=f"TRX00771{word}", name=f"Badan {word} Dua"),
        "off": make.make_agency(
            code=f"{word}.lain", name=f"Badan {word} Tiga", short_name="Tiga-ri", active=False
        ),
    }  # fmt: skip
    return word, made


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("236994", {"long"}),
        ("0236994", {"long"}),
        ("2369", {"long"}),
        ("pmh/2026", {"long"}),
        ("trx00771", {"joined"}),
        ("771", {"joined"}),
        ("BADAN", {"joined", "off"}),
        ("tiga ri", {"off"}),
        ("36994", set()),  # the middle of a number
        ("///", set()),
    ],
)
def test_words_numbers_and_parts_of_identifiers_are_found(
    log_in, people, found, typed, wanted
):
    word, made = found
    page = read(log_in(people["SEMUA"]), f"/agencies/?search={word} {typed}")
    if typed == "///":  # signs beside a word say nothing
        wanted = set(made)
    assert set(names(page)) == {made[each].name for each in wanted}


def test_signs_alone_find_nothing_instead_of_everything(log_in, people, found):
    assert names(read(log_in(people["SEMUA"]), "/agencies/?search=///")) == []


@pytest.mark.parametrize(
    ("clauses", "wanted"),
    [
        (["active:is:1"], {"long", "joined"}),
        (["active:not:1"], {"off"}),
        (["name:has:badan", "active:is:1"], {"joined"}),
        (["name:has:satu", "or", "name:has:badan", "active:is:0"], {"long", "off"}),
        (["code:is:TRX00771{word}"], {"joined"}),
        (["name:filled:"], {"long", "joined", "off"}),
        (["name:empty:"], set()),
        (["name:has:"], {"long", "joined", "off"}),  # a value is still to come
    ],
)
def test_filters_join_by_and_within_a_group_and_by_or_between(
    log_in, people, found, clauses, wanted
):
    word, made = found
    address = f"/agencies/?search={word}" + "".join(
        f"&where={each.format(word=word)}" for each in clauses
    )
    assert set(names(read(log_in(people["SEMUA"]), address))) == {
        made[each].name for each in wanted
    }


@pytest.mark.parametrize(
    "clause",
    ["password:is:x", "name:like:x", "active:is:perhaps", "nothing", "name:has:///"],
)
def test_a_filter_that_says_nothing_is_named_and_left_out(log_in, people, found, clause):
    page = read(log_in(people["SEMUA"]), f"/agencies/?where={clause}")
    assert "Saringan ini tidak bermakna di sini" in page
    assert names(page)


@pytest.mark.parametrize("value", ["--5", "-", "99999999999999999999", "٣", "1_0", "0"])
def test_a_number_of_days_that_is_none_is_named_and_left_out(log_in, people, value):
    page = read(log_in(people["SEMUA"]), f"/users/?where=created_at:last:{value}")
    assert "Saringan ini tidak bermakna di sini" in page


def test_days_are_those_of_the_office_first_and_last_included(log_in, people, app):
    name = make.word("hari")
    for hour, tag in (("2026-03-01T16:59:59Z", "before"), ("2026-03-01T17:00:00Z", "first"),
                      ("2026-03-02T16:59:59Z", "last"), ("2026-03-02T17:00:00Z", "after")):  # fmt: skip
        make.make_user("AUDITOR", name=f"{name} {tag}", last_login_at=hour)
    make.make_user("AUDITOR", name=f"{name} never")
    client = log_in(people["SEMUA"])

    def tags(clause: str) -> set[str]:
        page = read(client, f"/users/?search={name}&where={clause}")
        return {each.split()[-1] for each in names(page)}

    assert tags("last_login_at:is:2026-03-02") == {"first", "last"}
    assert tags("last_login_at:from:2026-03-02") == {"first", "last", "after"}
    assert tags("last_login_at:to:2026-03-02") == {"before", "first", "last"}
    assert tags("last_login_at:empty:") == {"never"}
    assert tags("last_login_at:last:1") == set()
    assert tags("last_login_at:last:3660") == {"before", "first", "last", "after"}


def clauses(answer) -> list[str]:
    assert answer.status_code == 302
    return parse_qs(urlsplit(answer.headers["Location"]).query).get("where", [])


def test_the_panel_works_without_a_script(log_in, people):
    client = log_in(people["SEMUA"])
    asked = {"g": ["0", "0", "1"], "f": ["active", "name", "code"], "was": ["active", "name", "name"],
             "o": ["is", "has", "is"], "v": ["1", "dinas", "was a name"]}  # fmt: skip
    get = lambda do: clauses(client.get("/agencies/", query_string={**asked, "do": do}))  # noqa: E731
    # The third row's column was changed: its former value is not taken over.
    assert get("apply") == ["active:is:1", "name:has:dinas", "or", "code:has:"]
    assert get("drop:1") == ["active:is:1", "or", "code:has:"]
    assert get("drop:2") == ["active:is:1", "name:has:dinas"]
    assert get("and:0") == [
        "active:is:1",
        "name:has:dinas",
        "active:is:",
        "or",
        "code:has:",
    ]
    assert get("or") == [
        "active:is:1",
        "name:has:dinas",
        "or",
        "code:has:",
        "or",
        "active:is:",
    ]
    answer = client.get(
        "/users/?g=0&f=last_login_at&was=last_login_at&o=from&v=kemarin&do=apply"
    )
    assert clauses(answer) == ["last_login_at:from:"]
    assert "kemarin tidak cocok untuk Terakhir masuk" in read(
        client, answer.headers["Location"]
    )


def test_columns_are_chosen_and_the_address_holds_them(log_in, people, found):
    word, _made = found
    client = log_in(people["SEMUA"])
    page = read(client, f"/agencies/?search={word}&cols=phone&cols=code&cols=password")
    heads = re.findall(r'<th scope="col"[^>]*>\s*(?:<a[^>]*>)?([^<\n]+?)\s*<', page)
    assert [unescape(each) for each in heads][:2] == ["Kode", "Telepon"]
    assert 'data-label="Nama"' not in page
    sort = unescape(re.search(r'href="([^"]+sort=code[^"]*)"', page)[1])
    assert parse_qs(urlsplit(sort).query)["cols"] == ["code", "phone"]


def test_the_next_page_is_narrowed_by_all_filters_and_has_all_columns(log_in, people):
    word = make.word("lanjut")
    for n in range(30):
        make.make_agency(code=f"{word} {n:02}", name=f"{word} {n:02}", active=n % 10 > 0)
    address = f"/agencies/?where=name:has:{word}&where=active:is:1&cols=code&cols=name&sort=name"
    client = log_in(people["SEMUA"])
    page = read(client, address)
    following = unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])
    told = names(page) + names(read(client, following))
    assert told == [f"{word} {n:02}" for n in range(30) if n % 10]


def test_a_word_that_many_have_is_walked_to_and_one_that_few_have_is_sorted(
    bound, monkeypatch
):
    """Both ways give what sorting by Python gives, over all pages, forth."""
    del bound
    word = make.word("banyak")
    wanted = []
    for n in range(23):
        user = make.make_user(
            "AUDITOR", name=f"{word} {n % 5}", job_title="ganjil" if n % 2 else ""
        )
        if n % 2:
            wanted.append((user.name, user.id))
    from app.core.search import found_by

    order = lists.Order(User.name, User.id, down=False)
    for counted, walked in ((10_000, 20_000), (3, 20_000), (3, 2)):
        monkeypatch.setattr(lists, "HITS", counted)
        monkeypatch.setattr(lists, "WALKED", walked)
        told, turn = [], lists.FIRST
        with make.session() as s:
            while True:
                page = lists.read_slice(
                    s, sa.select(User), order, 4, turn, found_by(User, f"{word} ganjil")
                )
                told += [(row.name, row.id) for row in page.rows]
                if not page.later:
                    break
                turn = lists.Turn(after=page.later)
        assert told == sorted(wanted)
        assert page.total == (
            lists.Total(11) if counted > 11 else lists.Total(3, lists.Told.MORE)
        )
