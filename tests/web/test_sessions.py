"""Log-ins that the server knows: a copied cookie lives no longer than its row."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from app.core import db
from app.identity.models import Agency, LoginSession, Role, User
from app.identity.passwords import hash_of
from app.identity.services import settle_user
from tests import make
from tests.web.conftest import PASSWORD


@pytest.fixture
def person(app):
    return make.make_user("AUDITOR", password=hash_of(PASSWORD))


def _copy(app, client):
    """A second browser with the first one's cookie."""
    cookie = client.get_cookie("simpul")
    thief = app.test_client()
    thief.set_cookie("simpul", cookie.value)
    return thief


def test_a_copied_cookie_is_dead_after_the_owner_logged_out(app, log_in, person):
    client = log_in(person.email)
    thief = _copy(app, client)
    assert thief.get("/").status_code == 200

    client.post("/logout")

    assert thief.get("/").status_code == 302


@pytest.mark.parametrize("change", ["off", "roles", "agency", "agency off"])
def test_a_cookie_is_dead_within_one_request_after(log_in, change):
    agency = make.make_agency()
    email = make.make_user(
        "OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD)
    ).email
    client = log_in(email)
    assert client.get("/").status_code == 200
    with make.session() as s:
        user = s.scalars(sa.select(User).where(User.email == email)).one()
        if change == "off":
            user.active = False
        if change == "roles":
            user.roles = list(
                s.scalars(sa.select(Role).where(Role.name == "OPD_PIMPINAN"))
            )
        if change == "agency":
            user.agency = s.get_one(Agency, make.make_agency().id)
        if change == "agency off":
            s.get_one(Agency, agency.id).active = False
        settle_user(s, user, new_password="", created=False)

    assert client.get("/").status_code == 302


def test_a_new_password_ends_the_other_sessions_and_keeps_this_one(app, log_in, person):
    client, other = log_in(person.email), log_in(person.email)
    thief = _copy(app, client)

    answer = client.post(
        "/change-password",
        data={
            "password": PASSWORD,
            "new_password": "Kuda-lumping-77",
            "new_password_confirm": "Kuda-lumping-77",
        },
    )

    assert answer.status_code == 302
    assert client.get("/").status_code == 200
    assert other.get("/").status_code == 302
    assert thief.get("/").status_code == 302


def test_logging_in_takes_a_new_token_and_forgets_a_planted_one(app, log_in, person):
    planted = log_in(make.make_user("AUDITOR", password=hash_of(PASSWORD)).email)
    victim = _copy(app, planted)
    victim.post("/logout")

    victim.post("/login", data={"email": person.email, "password": PASSWORD})

    assert person.name in victim.get("/").get_data(as_text=True)
    assert planted.get("/").status_code == 302


@pytest.mark.parametrize(
    ("column", "age"),
    [("last_seen_at", timedelta(minutes=61)), ("created_at", timedelta(hours=13))],
)
def test_a_session_ends_by_itself(app, log_in, person, column, age):
    client = log_in(person.email)
    with app.app_context(), db.owner_unit_of_work() as s:
        s.execute(
            sa.text(
                f"UPDATE login_session SET {column} = now() - :age WHERE user_id = :id"
            ),
            {"age": age, "id": person.id},
        )

    assert client.get("/").status_code == 302


def test_ones_own_sessions_are_listed_and_ended(app, log_in, person):
    client, other = log_in(person.email), log_in(person.email)
    page = client.get(
        "/account/", headers={"User-Agent": "Mozilla Firefox/140 (X11; Linux)"}
    ).get_data(as_text=True)
    assert page.count('class="row-actions"') == 2
    with make.session(make.agency_principal(None, user_id=person.id)) as s:
        rows = s.scalars(sa.select(LoginSession).order_by(LoginSession.created_at)).all()
    assert len(rows) == 2

    assert client.post(f"/account/sessions/{rows[1].id}/end").status_code == 302
    assert other.get("/").status_code == 302
    assert client.get("/").status_code == 200

    third = log_in(person.email)
    assert client.post("/account/sessions/end-others").status_code == 302
    assert third.get("/").status_code == 302
    assert client.get("/").status_code == 200


def test_nobody_ends_or_sees_anothers_session(log_in, people, person):
    log_in(person.email)
    with make.session(make.agency_principal(None, user_id=person.id)) as s:
        row = s.scalars(sa.select(LoginSession)).one()
    stranger = log_in(people["SEMUA"])

    assert stranger.post(f"/account/sessions/{row.id}/end").status_code == 404
    assert stranger.post("/account/sessions/x/end").status_code == 404
    with make.session() as s:  # the office's own role
        assert s.get(LoginSession, row.id) is None


def test_a_token_beside_the_cookie_opens_nothing(app, log_in, person):
    client = log_in("")
    answer = client.post(
        "/login?include_auth_token",
        json={"email": person.email, "password": PASSWORD},
    )
    token = answer.json["response"]["user"].get("authentication_token", "x")

    stranger = app.test_client()
    assert stranger.get("/", headers={"Authentication-Token": token}).status_code == 302
    assert stranger.get(f"/?auth_token={token}").status_code == 302


def test_a_request_asks_once_who_it_is(app, log_in, person):
    client = log_in(person.email)
    client.get("/runs/")
    asked = []
    with app.app_context():
        from app.web.extensions import db as pages

        event.listen(pages.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    client.get("/account/")

    assert sum("login_session" in each and "token_hash =" in each for each in asked) == 1
    # The roles, and the person once more for the page, in their own database role.
    assert sum('FROM "user"' in each and "token_hash" not in each for each in asked) <= 2


def test_a_session_row_holds_no_token(log_in, person):
    client = log_in(person.email)
    with make.session(make.agency_principal(None, user_id=person.id)) as s:
        row = s.scalars(sa.select(LoginSession)).one()
        assert row.token_hash not in client.get_cookie("simpul").value.encode()
