"""The bell: how many, which, read by their own person alone; and what one wants to hear."""

import sqlalchemy as sa

from app.core.policy import DISPATCHER
from app.identity.passwords import hash_of
from app.notifications.models import Notice, Notification
from app.sources.models import Source
from tests import make
from tests.web.conftest import PASSWORD


def _person(role="AUDITOR"):
    return make.make_user(role, password=hash_of(PASSWORD))


def _told(user, n=1, path="/account/"):
    with make.session(DISPATCHER) as s:
        rows = [
            Notification(
                user_id=user.id, kind="account", path=path, at=sa.func.now(), shown=True,
                params={"message": "The source %(name)s waits for the approval of its address.", "name": f"No {i} <b>"},
                for_digest=False,
            )
            for i in range(n)
        ]  # fmt: skip
        s.add_all(rows)
        s.flush()
        return [row.id for row in rows]


def test_the_bell_counts_and_a_notice_leads_where_it_is_about(log_in):
    user = _person()
    client = log_in(user.email)
    assert "bell-count" not in client.get("/").get_data(as_text=True)
    first, _second = _told(user, 2, path="/runs/")
    page = client.get("/").get_data(as_text=True)
    assert 'class="bell-count">2<' in page
    listed = client.get("/notifications/").get_data(as_text=True)
    assert "Sumber No 1 &lt;b&gt; menunggu persetujuan" in listed

    answer = client.post(f"/notifications/{first}/open")

    assert answer.headers["Location"] == "/runs/"
    assert 'class="bell-count">1<' in client.get("/").get_data(as_text=True)
    client.post("/notifications/read")
    assert "bell-count" not in client.get("/").get_data(as_text=True)


def test_a_notice_is_its_persons_alone(log_in, people):
    user = _person()
    [number] = _told(user)
    stranger = log_in(people["SEMUA"])

    assert stranger.post(f"/notifications/{number}/open").status_code == 404
    stranger.post("/notifications/read")
    assert "No 0" not in stranger.get("/notifications/").get_data(as_text=True)
    for wrong in ("x", "-1", "99999999999999999999", "%00"):
        assert stranger.post(f"/notifications/{wrong}/open").status_code == 404
    with make.session(DISPATCHER) as s:
        assert s.get_one(Notification, number).read_at is None


def test_many_go_on_from_page_to_page(log_in):
    user = _person()
    numbers = _told(user, 60)
    client = log_in(user.email)

    page = client.get("/notifications/").get_data(as_text=True)
    older = client.get(f"/notifications/?before={numbers[10]}").get_data(as_text=True)

    assert page.count('class="linklike') == 50
    assert older.count('class="linklike') == 10
    for nasty in ("x", "-1", "9" * 30, "%00"):
        assert client.get(f"/notifications/?before={nasty}").status_code == 200


def test_wishes_are_remembered_and_nonsense_is_not(log_in):
    client = log_in(_person().email)
    wishes = {
        "pull_held-in_app": "never", "pull_held-mail": "daily_digest",
        "account-in_app": "never", "account-mail": "never",
    }  # fmt: skip
    nonsense = {"export_ready-in_app": "daily_digest", "export_ready-mail": "sometimes"}

    said = client.post(
        "/notifications/wishes", data=wishes | nonsense, follow_redirects=True
    ).get_data(as_text=True)
    assert "Tidak ada yang diubah" in said
    assert 'value="never" selected' not in said.split('"pull_held-mail"')[0]
    assert client.post("/notifications/wishes", data=wishes).status_code == 302

    page = client.get("/notifications/wishes").get_data(as_text=True)
    # Held, run, approval, two each of requests, agreements, complaints.
    assert page.count('value="daily_digest" selected') == 9
    # Held under the bell; files and what happened to requests by mail.
    assert page.count('value="never" selected') == 3


def test_a_source_that_waits_for_approval_is_told_once(log_in, people):
    own = make.make_source(make.make_contract(), "http://127.0.0.1:9")
    client = log_in(people["SEMUA"])
    with make.session(DISPATCHER) as s:
        s.execute(sa.delete(Notice))
    with make.session() as s:
        source = s.get_one(Source, own.id)
        before, name = source.settings, source.name
        form = {
            "name": name,
            "contract": str(source.contract_id),
            "enabled": "y",
            "max_failures": "0",
        }
    page = client.get(f"/sources/{own.id}/edit").get_data(as_text=True)
    form |= _fields_of(page)
    form["base_url"] = before["base_url"].replace("127.0.0.1:9", "10.9.8.7:9")
    for _ in range(2):
        answer = client.post(f"/sources/{own.id}/edit", data=form)
        assert answer.status_code == 302, answer.get_data(as_text=True)

    with make.session(DISPATCHER) as s:
        told = s.scalars(sa.select(Notice).where(Notice.kind == "approval_asked")).all()
    assert [each.path for each in told] == [f"/pulls/source/{own.id}"]


def _fields_of(page):
    """What a browser would send back of a form as it came."""
    import re
    from html import unescape

    fields = {}
    for tag in re.findall(r"<input[^>]+>", page):
        name = re.search(r'name="([^"]+)"', tag)
        value = re.search(r'value="([^"]*)"', tag)
        kind = re.search(r'type="([^"]+)"', tag)
        if name is None or (
            kind and kind[1] in {"checkbox", "radio"} and "checked" not in tag
        ):
            continue
        fields[name[1]] = unescape(value[1]) if value else ""
    for name, body in re.findall(
        r'<select[^>]+name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL
    ):
        chosen = re.search(r'<option[^>]*selected[^>]*value="([^"]*)"', body)
        fields[name] = unescape(chosen[1]) if chosen else ""
    for name, body in re.findall(
        r'<textarea[^>]+name="([^"]+)"[^>]*>(.*?)</textarea>', page, re.DOTALL
    ):
        fields[name] = unescape(body).strip("\r\n")
    return {k: v for k, v in fields.items() if k not in {"csrf_token", "language"}}
