"""Codes, recovery codes, roles that ask for them, and how a lost one is mended."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import sqlalchemy as sa
from flask import current_app

from app.audit.models import AuditEvent
from app.core import db
from app.core.policy import ANONYMOUS, acting_as
from app.identity.models import FactorReset, Passkey, Role, User
from app.identity.passwords import hash_of
from app.identity.second_factor import Codes, RecoveryCodes
from app.web.extensions import limiter
from tests import make
from tests.web.conftest import PASSWORD, seen_in


@pytest.fixture
def person(app):
    limiter.reset()
    return make.make_user("AUDITOR", password=hash_of(PASSWORD))


@pytest.fixture
def strict(app):
    """The auditors' role asks for a second factor."""
    _ask_for("AUDITOR", wanted=True)
    yield
    _ask_for("AUDITOR", wanted=False)


def _ask_for(role, *, wanted):
    with make.session() as s:
        s.scalars(sa.select(Role).where(Role.name == role)).one().second_factor = wanted


def _user(person):
    with make.session() as s:
        user = s.get_one(User, person.id)
        s.expunge_all()
        return user


def _code(app, person, later=0):
    """The six digits of a person's app, ``later`` time steps from now."""
    with app.app_context():
        factory = current_app.extensions["security"].totp_factory
        secret = factory._totp.from_source(_user(person).tf_totp_secret)
        return secret.generate(time.time() + 30 * later).token


def _key_on(page):
    return re.search(r'<code class="d-block[^>]*>([^<]+)</code>', page)[1]


def _code_of_key(app, key, later=0):
    with app.app_context():
        factory = current_app.extensions["security"].totp_factory
        secret = factory._totp(key=key.replace("-", ""))
        return secret.generate(time.time() + 30 * later).token


def _set_up(app, client):
    page = client.post("/tf-setup", data={"setup": "authenticator"}).get_data(
        as_text=True
    )
    target = re.search(r'action="(/tf-[^"]+)"', page)[1]
    answer = client.post(target, data={"code": _code_of_key(app, _key_on(page), -1)})
    assert answer.status_code == 302, answer.get_data(as_text=True)
    return answer


def _password(client, person):
    return client.post("/login", data={"email": person.email, "password": PASSWORD})


def test_a_code_is_asked_for_once_it_is_set_up(app, log_in, person):
    client = log_in(person.email)
    page = client.post("/tf-setup", data={"setup": "authenticator"}).get_data(
        as_text=True
    )
    assert "data:image/svg+xml" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    _set_up(app, client)
    client.post("/logout")

    answer = _password(client, person)

    assert answer.headers["Location"].startswith("/tf-validate")
    assert client.get("/").status_code == 302
    assert client.post("/tf-validate", data={"code": "000000"}).status_code == 200
    assert client.get("/").status_code == 302
    assert (
        client.post("/tf-validate", data={"code": _code(app, person)}).status_code == 302
    )
    assert client.get("/").status_code == 200


def test_a_code_is_good_for_one_use(app, log_in, person):
    _set_up(app, log_in(person.email))
    code = _code(app, person)
    first, second = app.test_client(), app.test_client()
    for client in (first, second):
        _password(client, person)

    assert first.post("/tf-validate", data={"code": code}).status_code == 302
    assert second.post("/tf-validate", data={"code": code}).status_code == 200


@pytest.mark.parametrize("way", ["tf-validate", "mf-recovery"])
def test_a_code_is_good_for_one_of_two_log_ins_at_the_same_moment(
    app, log_in, person, monkeypatch, way
):
    client = log_in(person.email)
    _set_up(app, client)
    page = client.post("/mf-recovery-codes", data={"generate_new_codes": "1"})
    recovery = re.search(r"<li><code>([^<]+)</code>", page.get_data(as_text=True))[1]
    code = _code(app, person) if way == "tf-validate" else recovery
    both = Barrier(2, timeout=10)  # both have looked before one of them writes
    for kind, name in (
        (Codes, "get_last_counter"),
        (RecoveryCodes, "check_recovery_code"),
    ):
        look = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *a, look=look: (look(*a), both.wait())[0])
    clients = [app.test_client(), app.test_client()]
    for each in clients:
        _password(each, person)

    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda c: c.post(f"/{way}", data={"code": code}), clients)
        )

    assert [each.get("/").status_code for each in clients].count(200) == 1
    assert max(each.status_code for each in answers) < 500


def test_who_mistypes_the_first_code_types_it_again_for_the_same_key(app, log_in, person):
    client = log_in(person.email)
    page = client.post("/tf-setup", data={"setup": "authenticator"}).get_data(True)
    key, target = _key_on(page), re.search(r'action="(/tf-[^"]+)"', page)[1]
    answer = client.post(target, data={"code": "000000"})
    again = client.get(answer.headers["Location"]).get_data(True)
    assert "Kode tidak benar" in again
    assert _key_on(again) == key, "the phone has this one by now"
    target = re.search(r'action="(/tf-[^"]+)"', again)[1]
    answer = client.post(target, data={"code": _code_of_key(app, key)})
    assert answer.headers["Location"] == "/mf-recovery-codes"
    assert _user(person).tf_primary_method == "authenticator"
    assert "data:image" not in client.get("/tf-setup?again=1").get_data(True)


def test_a_password_waits_for_its_second_factor_for_ten_minutes(app, log_in, person):
    _set_up(app, log_in(person.email))
    client = app.test_client()
    _password(client, person)
    with client.session_transaction() as cookie:
        cookie["tf_since"] -= 601

    answer = client.post("/tf-validate", data={"code": _code(app, person)})

    assert answer.headers["Location"].startswith("/login")
    assert client.get("/").status_code == 302


def test_codes_cannot_be_guessed_at_length(app, log_in, person):
    _set_up(app, log_in(person.email))
    client = app.test_client()
    _password(client, person)

    statuses = [
        client.post("/tf-validate", data={"code": f"{n:06d}"}).status_code
        for n in range(7)
    ]
    assert statuses[-1] == 429
    other = app.test_client()  # another browser guesses for the same person
    _password(other, person)
    assert other.post("/tf-validate", data={"code": "1"}).status_code == 429
    assert other.post("/mf-recovery", data={"code": "1"}).status_code == 200


def test_recovery_codes_are_shown_once_and_work_once(app, log_in, person):
    client = log_in(person.email)
    _set_up(app, client)
    page = client.post("/mf-recovery-codes", data={"generate_new_codes": "1"})
    codes = re.findall(r"<li><code>([^<]+)</code>", page.get_data(as_text=True))
    assert len(codes) == 8
    again = client.get("/mf-recovery-codes?show_codes=1").get_data(as_text=True)
    assert not any(code in again for code in codes)
    stored = _user(person).mf_recovery_codes
    assert not set(codes) & set(stored)

    for typed, wanted in ((codes[0].upper().replace("-", " "), 302), (codes[0], 200)):
        fresh = app.test_client()
        _password(fresh, person)
        assert fresh.post("/mf-recovery", data={"code": typed}).status_code == wanted
    assert len(_user(person).mf_recovery_codes) == 7
    with make.session() as s:
        of_person = AuditEvent.object_id == str(person.id)
        changes = sa.select(AuditEvent).where(of_person, AuditEvent.action == "update")
        used = s.scalars(changes.order_by(AuditEvent.id.desc())).first()
    assert "mf_recovery_codes" in used.after
    assert person.email in used.actor


def test_recovery_codes_cannot_be_guessed_at_length(app, log_in, person):
    _set_up(app, log_in(person.email))
    client = app.test_client()
    _password(client, person)

    statuses = [
        client.post("/mf-recovery", data={"code": str(n)}).status_code for n in range(7)
    ]

    assert statuses[-1] == 429


def test_a_role_asks_for_it_at_log_in(app, log_in, person, strict):
    client = app.test_client()
    answer = _password(client, person)
    assert answer.headers["Location"].startswith("/tf-setup")
    assert client.get("/").status_code == 302
    assert "Peran Anda" in client.get("/tf-setup").get_data(as_text=True)

    _set_up(app, client)

    assert client.get("/").status_code == 200
    page = client.get("/tf-setup").get_data(as_text=True)
    assert 'value="disable"' not in page
    client.post("/tf-setup", data={"setup": "disable"})
    assert _user(person).tf_primary_method == "authenticator"


def test_a_role_that_begins_to_ask_asks_who_is_in_already(app, log_in, person):
    client = log_in(person.email)
    assert client.get("/").status_code == 200
    _ask_for("AUDITOR", wanted=True)
    try:
        assert client.get("/runs/").headers["Location"] == "/tf-setup"
        _set_up(app, client)
        assert client.get("/runs/").status_code == 200
    finally:
        _ask_for("AUDITOR", wanted=False)


def test_the_office_says_which_roles_ask(log_in, people):
    client = log_in(people["SEMUA"])
    with make.session() as s:
        role = s.scalars(sa.select(Role).where(Role.name == "WALIDATA")).one()
    address = f"/roles/edit/?id={role.id}"
    assert client.get("/roles/new/").status_code == 302
    try:
        assert (
            client.post(
                address,
                data={
                    "seen": seen_in(client, address),
                    "label": role.label,
                    "permissions": role.permissions,
                    "second_factor": "y",
                },
            ).status_code
            == 302
        )
        with make.session() as s:
            after = s.get_one(Role, role.id)
            assert (after.second_factor, after.permissions) == (True, role.permissions)
    finally:
        _ask_for("WALIDATA", wanted=False)
    assert log_in(people["TIM_TEKNIS"]).post(address).status_code == 403


def test_what_opens_doors_is_changed_only_soon_after_a_password(app, log_in, person):
    client = log_in(person.email)
    with client.session_transaction() as cookie:
        cookie["fs_paa"] = time.time() - 3600

    for address in ("/tf-setup", "/mf-recovery-codes", "/wan-register"):
        answer = client.get(address)
        assert answer.status_code == 302, address
        assert answer.headers["Location"].startswith("/fresh"), address
    assert client.post("/fresh", data={"password": "salah"}).status_code == 200
    assert client.post("/fresh", data={"password": PASSWORD}).status_code == 302
    assert client.get("/tf-setup").status_code == 200


def test_secrets_of_the_second_factor_are_ciphertext_and_not_in_the_trail(
    app, log_in, person
):
    client = log_in(person.email)
    page = client.post("/tf-setup", data={"setup": "authenticator"}).get_data(
        as_text=True
    )
    key = _key_on(page).replace("-", "")
    target = re.search(r'action="(/tf-[^"]+)"', page)[1]
    client.post(target, data={"code": _code_of_key(app, key)})

    stored = _user(person)
    assert key not in stored.tf_totp_secret
    with make.session() as s:
        trail = s.scalars(
            sa.select(AuditEvent.after).where(AuditEvent.object_id == str(person.id))
        ).all()
    assert any("•••" in str(each) for each in trail)
    assert not any(stored.tf_totp_secret in str(each) for each in trail)


# A lost second factor ------------------------------------------------------------------


@pytest.fixture
def lost(app, log_in, person):
    """A person with a second factor, logged in."""
    client = log_in(person.email)
    _set_up(app, client)
    return client


def _wish(person):
    with make.session() as s:
        return s.scalars(
            sa.select(FactorReset)
            .where(FactorReset.user_id == person.id)
            .order_by(FactorReset.asked_at.desc())
        ).first()


def test_a_lost_one_is_mended_by_two_persons(log_in, people, person, lost):
    first, second = log_in(people["SYSADMIN"]), log_in(people["SEMUA"])
    assert first.post(f"/users/{person.id}/factor-reset").status_code == 302
    assert _wish(person) is None  # a reason is asked for
    first.post(f"/users/{person.id}/factor-reset", data={"reason": "ponsel hilang"})
    wish = _wish(person)
    details = f"/users/details/?id={person.id}"
    assert "ponsel hilang" in second.get(details).get_data(as_text=True)

    first.post(f"/users/factor-reset/{wish.id}/confirm")
    assert "Dua orang lain" in first.get(details).get_data(as_text=True)
    assert _user(person).tf_primary_method == "authenticator"

    second.post(f"/users/factor-reset/{wish.id}/confirm")

    after = _user(person)
    assert (after.tf_primary_method, after.tf_totp_secret, after.mf_recovery_codes) == (
        None,
        None,
        None,
    )
    assert lost.get("/").status_code == 302
    with make.session() as s:
        event = s.scalars(
            sa.select(AuditEvent)
            .where(AuditEvent.object_id == str(person.id), AuditEvent.action == "update")
            .order_by(AuditEvent.id.desc())
        ).first()
    assert event.reason == "ponsel hilang"
    assert event.actor.endswith(f"<{people['SEMUA']}>")
    second.post(f"/users/factor-reset/{wish.id}/confirm")
    assert "sudah selesai" in second.get(details).get_data(as_text=True)


def test_a_wish_can_be_withdrawn_and_asked_again(log_in, people, person, lost):
    first = log_in(people["SYSADMIN"])
    first.post(f"/users/{person.id}/factor-reset", data={"reason": "satu"})
    first.post(f"/users/factor-reset/{_wish(person).id}/withdraw")
    assert _user(person).tf_primary_method == "authenticator"

    first.post(f"/users/{person.id}/factor-reset", data={"reason": "dua"})

    assert _wish(person).settled_at is None


def test_nobody_mends_their_own_and_not_without_the_right(log_in, people, app):
    holder = make.make_user("SYSADMIN", password=hash_of(PASSWORD))
    client = log_in(holder.email)
    _set_up(app, client)
    client.post(f"/users/{holder.id}/factor-reset", data={"reason": "x"})
    assert _wish(holder) is None
    other = log_in(people["TIM_TEKNIS"])
    assert (
        other.post(f"/users/{holder.id}/factor-reset", data={"reason": "x"}).status_code
        == 403
    )
    for ident in ("x", "1", str(holder.id)):
        assert (
            log_in(people["SEMUA"])
            .post(f"/users/factor-reset/{ident}/confirm")
            .status_code
            == 404
        )


def _give_passkey(person):
    with acting_as(ANONYMOUS), db.unit_of_work() as s:
        s.add(
            Passkey(
                user_id=person.id, name="k", credential_id=make.word().encode(), public_key=b"x",
                backup_state=False, device_type="single_device", usage="first",
                lastuse_datetime=sa.func.now(),
            )
        )  # fmt: skip


def test_the_database_itself_hides_passkeys_from_all_but_their_owner(app, person):
    _give_passkey(person)
    query = (
        sa.select(sa.func.count())
        .select_from(Passkey)
        .where(Passkey.user_id == person.id)
    )
    with make.session() as s:
        assert s.scalar(query) == 0
    with make.session(make.agency_principal(None, user_id=person.id)) as s:
        assert s.scalar(query) == 1


def test_a_password_alone_brings_no_factor_of_its_own_to_who_has_a_passkey(
    app, person, strict
):
    _give_passkey(person)
    stranger = app.test_client()
    _password(stranger, person)
    for method in (stranger.get, stranger.post):
        answer = method("/tf-setup", data={"setup": "authenticator"})
        assert answer.status_code == 302
        assert "/tf-setup" not in answer.headers["Location"]
        _password(stranger, person)
    assert "otpauth" not in stranger.get("/tf-setup", follow_redirects=True).text
    assert stranger.get("/account/").status_code == 302
    assert _user(person).tf_totp_secret is None
