"""A new person's one-time code, a forgotten password, and the outbox between them."""

import html
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask_security import recoverable

from app.audit.models import AuditEvent
from app.core.clock import utc_now
from app.core.policy import ANONYMOUS
from app.identity import services, session
from app.identity.models import Invitation, User
from app.identity.passwords import hash_of
from app.notifications.models import Mail, Notice
from app.web.extensions import limiter
from tests import make
from tests.web.conftest import PASSWORD

NEW = "Kuda-lumping-77"


@pytest.fixture(autouse=True)
def fresh_limits(app):
    limiter.reset()


@pytest.fixture
def person(app):
    return make.make_user("AUDITOR", password=hash_of(PASSWORD))


@pytest.fixture
def newcomer(app):
    return make.make_user("AUDITOR", password=None)


def _sheet(client, person):
    page = client.post(f"/users/{person.id}/invite/sheet").get_data(as_text=True)
    return re.search(r'class="one-time-code">([^<]+)<', page)[1]


def _accept(client, code, password=NEW, again=None):
    return client.post(
        f"/welcome/{code}",
        data={"password": password, "password_again": again or password},
    )


def _mails(person):
    with make.session() as s:
        return s.scalars(
            sa.select(Mail).where(Mail.user_id == person.id).order_by(Mail.created_at)
        ).all()


def _logs_in(app, person, password):
    answer = app.test_client().post(
        "/login", data={"email": person.email, "password": password}
    )
    return answer.status_code == 302


def test_a_new_person_without_a_password_is_invited(app, log_in, people):
    office = log_in(people["SEMUA"])
    email = f"{make.word()}@contoh.test"
    answer = office.post(
        "/users/new/", data={"name": "Orang Baru", "email": email, "active": "y"}
    )
    assert answer.headers["Location"].startswith("/users/details/")
    with make.session() as s:
        person = s.scalars(sa.select(User).where(User.email == email)).one()
        assert person.password is None
    page = office.get(answer.headers["Location"]).get_data(as_text=True)
    assert "belum memiliki kata sandi" in page


def test_a_sheet_opens_the_account_once(app, log_in, people, newcomer):
    code = _sheet(log_in(people["SYSADMIN"]), newcomer)
    client = app.test_client()
    assert newcomer.email in client.get(f"/welcome/{code}").get_data(as_text=True)
    typed = client.post("/welcome/", data={"code": code.lower().replace("-", " ")})
    assert client.get(typed.headers["Location"]).status_code == 200

    assert _accept(client, code, "pendek").status_code == 200
    assert _accept(client, code, NEW, "lain").status_code == 200
    assert _accept(client, code).status_code == 302

    assert _logs_in(app, newcomer, NEW)
    assert client.get(f"/welcome/{code}").status_code == 410
    assert _accept(client, code, "Kuda-lumping-78").status_code == 410
    assert not _logs_in(app, newcomer, "Kuda-lumping-78")


def test_a_code_is_dead_when_too_old_replaced_or_made_up(app, log_in, people, newcomer):
    office, client = log_in(people["SYSADMIN"]), app.test_client()
    first = _sheet(office, newcomer)
    second = _sheet(office, newcomer)
    assert client.get(f"/welcome/{first}").status_code == 410
    assert client.get(f"/welcome/{second}").status_code == 200
    with make.session() as s:
        for each in s.scalars(
            sa.select(Invitation).where(Invitation.user_id == newcomer.id)
        ):
            each.expires_at = utc_now() - timedelta(seconds=1)
    assert client.get(f"/welcome/{second}").status_code == 410
    for code in ("x", "%00", "AAAA-AAAA", "a" * 300, "-"):
        assert client.get(f"/welcome/{code}").status_code == 410, code


def test_a_code_of_somebody_who_was_switched_off_is_dead(app, log_in, people, newcomer):
    code = _sheet(log_in(people["SYSADMIN"]), newcomer)
    with make.session() as s:
        s.get_one(User, newcomer.id).active = False

    assert app.test_client().get(f"/welcome/{code}").status_code == 410


def test_the_code_stands_nowhere_and_the_trail_tells_who(app, log_in, people, newcomer):
    code = _sheet(log_in(people["SYSADMIN"]), newcomer)
    _accept(app.test_client(), code)

    with make.session() as s:
        rows = s.scalars(
            sa.select(AuditEvent)
            .where(AuditEvent.object_label.contains(newcomer.email))
            .order_by(AuditEvent.id)
        ).all()
    assert {"invitation", "user"} <= {row.object_type for row in rows}
    assert not any(code in str((row.before, row.after)) for row in rows)
    chosen = [
        row
        for row in rows
        if row.object_type == "user" and "password" in (row.after or {})
    ]
    assert chosen[-1].actor.endswith(f"<{newcomer.email}>")


def test_an_invitation_by_mail_leads_to_the_same_door(app, log_in, people, newcomer):
    log_in(people["SYSADMIN"]).post(f"/users/{newcomer.id}/invite/mail")

    [mail] = _mails(newcomer)
    assert mail.subject == "Akun Anda"
    assert f"Yth. {newcomer.name}" in mail.text
    assert "http" not in mail.html.replace("http://localhost", "")
    link = re.search(r"http://localhost(/welcome/\S+)", mail.text)[1]
    client = app.test_client()
    assert client.get(link).status_code == 200
    assert _accept(client, link.rpartition("/")[2]).status_code == 302
    with make.session() as s:
        stored = s.execute(
            sa.text("SELECT text FROM mail WHERE id = :id"), {"id": mail.id}
        ).scalar_one()
    assert "/welcome/" not in stored


def test_nobody_invites_themselves_nor_without_the_right(log_in, people, person):
    client = log_in(people["SYSADMIN"])
    with make.session() as s:
        own = s.scalars(sa.select(User.id).where(User.email == people["SYSADMIN"])).one()
    assert client.post(f"/users/{own}/invite/sheet").status_code == 404
    assert client.post(f"/users/{person.id}/invite/pigeon").status_code == 404
    assert client.get(f"/users/{person.id}/invite/sheet").status_code == 405
    auditor = log_in(people["AUDITOR"])
    assert auditor.post(f"/users/{person.id}/invite/sheet").status_code == 403


# A forgotten password -------------------------------------------------------------------


def _ask(client, email):
    return client.post("/reset-password", data={"email": email})


def test_a_forgotten_password_is_replaced_by_a_link_that_works_once(app, log_in, person):
    inside = log_in(person.email)
    client = app.test_client()
    assert _ask(client, person.email.upper()).status_code == 200
    [mail] = _mails(person)
    link = re.search(r"http://localhost(/reset-password/\S+)", mail.text)[1]
    assert client.get(link).status_code == 200

    weak = client.post(link, data={"password": "pendek", "password_confirm": "pendek"})
    assert "paling sedikit" in weak.get_data(as_text=True)
    done = client.post(link, data={"password": NEW, "password_confirm": NEW})

    assert done.status_code == 302
    assert client.get("/").status_code == 302  # the link does not log in
    assert inside.get("/").status_code == 302
    assert _logs_in(app, person, NEW)
    again = client.post(
        link, data={"password": "Kuda-lumping-78", "password_confirm": "Kuda-lumping-78"}
    )
    assert again.headers["Location"].startswith("/reset-password")
    assert not _logs_in(app, person, "Kuda-lumping-78")
    with make.session(ANONYMOUS) as s:
        told = s.scalars(sa.select(Notice).where(Notice.user_id == person.id)).all()
    assert any("mailed to you" in each.params["message"] for each in told)


def test_a_stranger_and_a_known_address_get_the_same_answer(app, person):
    known = _ask(app.test_client(), person.email)
    stranger = _ask(app.test_client(), "tidak.ada@contoh.test")
    off = make.make_user("AUDITOR", password=hash_of(PASSWORD), active=False)
    switched_off = _ask(app.test_client(), off.email)

    pages = {
        re.sub(r"[\w.]+@contoh\.test", "X", each.get_data(as_text=True))
        for each in (known, stranger, switched_off)
    }
    assert len(pages) == 1
    assert not _mails(off)


def test_a_mailbox_cannot_be_filled_with_links(app, person):
    statuses = [_ask(app.test_client(), person.email).status_code for _ in range(5)]

    assert statuses == [200, 200, 200, 429, 429]
    assert len(_mails(person)) == 3


def test_a_link_begins_with_the_set_address_whatever_the_request_says(
    app, person, monkeypatch
):
    from dataclasses import replace

    settings = app.extensions["simpul_settings"]
    monkeypatch.setitem(
        app.extensions,
        "simpul_settings",
        replace(settings, public_url="https://simpul.test"),
    )
    app.test_client().post(
        "/reset-password", data={"email": person.email}, headers={"Host": "evil.test"}
    )

    [mail] = _mails(person)
    assert "https://simpul.test/reset-password/" in mail.text
    assert "evil" not in mail.text + mail.html


# The outbox -----------------------------------------------------------------------------


def test_mails_are_in_the_persons_language(app, log_in, person):
    log_in(person.email).post("/language", data={"language": "en"})
    _ask(app.test_client(), person.email)

    assert _mails(person)[-1].subject == "Choosing a new password"


def test_the_outbox_is_for_administrators_and_shows_that_nothing_leaves(
    app, log_in, people, person, monkeypatch
):
    _ask(app.test_client(), person.email)
    [mail] = _mails(person)
    client = log_in(people["SYSADMIN"])
    page = client.get("/outbox/").get_data(as_text=True)
    assert "tidak ada yang terkirim" in page
    address = f"/outbox/details/?id={mail.id}"
    assert "/reset-password/" in client.get(address).get_data(
        as_text=True
    )  # no server: a demo

    from dataclasses import replace

    from config import Mode

    settings = app.extensions["simpul_settings"]
    live = replace(settings, mode=Mode.PRODUCTION)
    monkeypatch.setitem(app.extensions, "simpul_settings", live)
    page = html.unescape(client.get(address).get_data(as_text=True))
    assert "/reset-password/" not in page
    assert "Hanya penerimanya" in page
    for role in ("AUDITOR", "PIMPINAN"):
        assert log_in(people[role]).get("/outbox/").status_code == 403
        assert log_in(people[role]).get(address).status_code == 403


def test_codes_cannot_be_guessed_at_length(app, log_in, people, newcomer):
    client = app.test_client()

    statuses = [client.get(f"/welcome/{n:04d}").status_code for n in range(22)]

    assert statuses[:20] == [410] * 20
    assert statuses[-1] == 429


@pytest.mark.parametrize("who", ["known", "without a password", "stranger"])
def test_how_long_it_takes_does_not_tell_who_has_an_account(
    app, person, monkeypatch, who
):
    """The slow part, hashing for the link's token, is done once for whomever it is asked."""
    hashed = []
    for module in (recoverable, session):
        real = module.hash_data
        monkeypatch.setattr(
            module, "hash_data", lambda text, real=real: hashed.append(1) or real(text)
        )
    email = {
        "known": person.email,
        "without a password": make.make_user("AUDITOR", password=None).email,
        "stranger": f"{make.word('asing')}@contoh.test",
    }[who]
    assert _ask(app.test_client(), email).status_code == 200
    assert hashed == [1]


@pytest.mark.parametrize("change", ["own password", "password", "roles", "address"])
def test_an_invitation_ends_with_whatever_ends_the_sessions(
    app, log_in, people, person, change
):
    office = log_in(people["SYSADMIN"])
    code = _sheet(office, person)
    assert app.test_client().get(f"/welcome/{code}").status_code == 200
    if change == "own password":
        log_in(person.email).post(
            "/change-password",
            data={"password": PASSWORD, "new_password": NEW, "new_password_confirm": NEW},
        )
    else:
        with make.session() as s:
            user = s.get_one(User, person.id)
            if change == "address":
                user.email = f"{make.word()}@contoh.test"
            if change == "roles":
                user.roles = []
            services.settle_user(
                s,
                user,
                new_password=NEW if change == "password" else "",
                created=False,
            )

    assert app.test_client().get(f"/welcome/{code}").status_code == 410
    assert _accept(app.test_client(), code, "Lain-sekali-99").status_code == 410
