"""Finding anything by its words, and nothing that is not one's own."""

import re
from html import unescape

import pytest

from tests import make


def found(client, text: str) -> list[tuple[str, str]]:
    """Return the label and the address of each hit."""
    answer = client.get("/find/part", query_string={"q": text})
    assert answer.status_code == 200
    page = answer.get_data(as_text=True)
    links = re.findall(r'<a href="([^"]+)">([^<]*)</a>', page)
    return [(unescape(label), unescape(href)) for href, label in links]


def test_objects_of_all_kinds_are_found_and_their_pages_open(log_in, people, estates):
    own = estates[0]
    client = log_in(people["SEMUA"])
    hits = found(client, own.canary)
    prefixes = {href.split("/")[1] for _label, href in hits}
    assert prefixes >= {"agencies", "users", "contracts", "datasets", "pulls"}
    for _label, href in hits:
        assert client.get(href).status_code == 200, href
    assert ("Jadwal", "/schedules/") in found(client, "jad")
    whole = client.get("/find/", query_string={"q": own.canary}).get_data(as_text=True)
    assert f"Dinas {own.canary}" in whole


def test_a_person_finds_only_what_they_may_see(log_in, people, estates):
    own, other = estates
    hits = found(log_in(own.operator), own.canary)
    assert hits
    assert found(log_in(own.operator), other.canary) == []
    assert not [h for _, h in hits if h.startswith(("/users", "/agencies", "/audit"))]
    assert found(log_in(own.operator), "jejak") == []


@pytest.mark.parametrize("text", ["///", "'&|!:*", "x" * 5000, "zzyzx"])
def test_what_finds_nothing_says_so(log_in, people, text):
    answer = log_in(people["AUDITOR"]).get("/find/part", query_string={"q": text})
    assert "Tidak ada yang ditemukan" in answer.get_data(as_text=True)


@pytest.mark.parametrize("text", ["", "   ", "\0"])
def test_without_a_word_the_pages_of_the_menu_are_offered(log_in, people, text):
    hits = found(log_in(people["AUDITOR"]), text)
    assert ("Jejak audit", "/audit/") in hits
    assert not [href for _, href in hits if href.count("/") > 2]


def test_of_many_the_first_are_shown_and_that_there_are_more(log_in, people):
    word = make.word("ramai")
    for n in range(8):
        make.make_agency(name=f"{word} {n}")
    hits = found(log_in(people["SEMUA"]), word)
    assert [label for label, _ in hits] == [f"{word} {n}" for n in range(6)]
