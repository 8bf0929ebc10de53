"""Views of lists that people save, alone or for their side."""

import re
from html import unescape
from urllib.parse import unquote

import sqlalchemy as sa

from app.core.policy import DbRole, Principal
from app.identity.models import User
from app.listings import services
from app.listings.models import SavedView
from tests import make


def save(client, name: str, query: str, *, share: bool = False, listed: str = "runs_of"):
    form = {"listed": listed, "name": name, "query": query}
    return client.post("/saved-views/", data=form | ({"is_shared": "1"} if share else {}))


def views(client, address: str) -> dict[str, str]:
    page = client.get(address).get_data(as_text=True)
    menu = re.search(r'<ul class="views">(.*?)</ul>', page, re.DOTALL)
    links = re.findall(r'<a href="([^"]+)"[^>]*>([^<]+)</a>', menu[1]) if menu else ()
    return {unescape(name): unescape(href) for href, name in links}


def ident_of(email: str, name: str):
    with make.session() as s:
        owner = s.scalars(sa.select(User).where(User.email == email)).one()
    with make.session(Principal("x", DbRole.OFFICE, user_id=owner.id)) as s:
        return s.scalars(sa.select(SavedView).where(SavedView.name == name)).one().id


def test_a_view_is_saved_found_again_replaced_and_deleted(log_in, people):
    client = log_in(people["SEMUA"])
    query = "search=dinas&sort=name&desc=1&where=active%3Ais%3A1&cols=name&after=WyJ4Il0&evil=1"
    answer = save(client, "  Yang   aktif ", query, listed="agencies")
    kept = query.split("&after", maxsplit=1)[0]
    assert unquote(answer.headers["Location"]) == unquote(f"/agencies/?{kept}")
    assert views(client, "/agencies/")["Yang aktif"] == f"/agencies/?{kept}"
    assert "Yang aktif" not in views(client, "/users/")
    save(client, "Yang aktif", "search=badan", listed="agencies")
    assert views(client, "/agencies/")["Yang aktif"] == "/agencies/?search=badan"
    client.post(f"/saved-views/{ident_of(people['SEMUA'], 'Yang aktif')}/delete")
    assert "Yang aktif" not in views(client, "/agencies/")


def test_a_shared_view_is_seen_by_ones_side_and_deleted_by_its_owner_alone(
    log_in, people, estates
):
    own, other = estates
    office = log_in(people["SEMUA"])
    save(office, "Milik kantor", "search=x", share=True, listed="exchange")
    save(office, "Hanya saya", "search=y", listed="exchange")
    save(log_in(own.operator), "Milik OPD", "search=z", share=True, listed="exchange")
    assert set(views(log_in(people["AUDITOR"]), "/exchange/")) == {"Milik kantor"}
    assert set(views(log_in(own.operator), "/exchange/")) == {"Milik OPD"}
    assert views(log_in(other.operator), "/exchange/") == {}
    ident = ident_of(people["SEMUA"], "Milik kantor")
    for stranger in (people["AUDITOR"], other.operator):
        assert log_in(stranger).post(f"/saved-views/{ident}/delete").status_code == 404
    # The second wall says the same.
    with make.session(make.agency_principal(other.agency, user_id=other.user)) as s:
        assert s.scalars(sa.select(SavedView)).all() == []


def test_what_cannot_be_a_view_is_refused_in_words(log_in, people):
    client = log_in(people["SEMUA"])
    for name in ("", "   ", "x" * 81):
        answer = save(client, name, "search=x", listed="agencies")
        page = client.get(answer.headers["Location"]).get_data(as_text=True)
        assert "Tampilan perlu nama sepanjang 1 sampai 80 karakter." in page
    for listed in ("", "home", "//evil.test", "security"):
        assert save(client, "x", "", listed=listed).status_code == 404
    for n in range(services.MOST_VIEWS):
        save(client, f"{n}", "search=x", listed="roles")
    answer = save(client, "satu lagi", "search=x", listed="roles")
    assert "hapus salah satu dahulu" in client.get(answer.headers["Location"]).get_data(
        as_text=True
    )
