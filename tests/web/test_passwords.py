"""Passwords at every door: the person's own form, the office's form, commands."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.core.clock import utc_now
from app.identity import passwords
from app.identity.errors import WeakPasswordError
from app.identity.models import User
from app.identity.passwords import hash_of
from app.identity.services import settle_user
from config import Mode, PasswordProfile
from tests import make
from tests.web.conftest import PASSWORD

NEW = "Kuda-lumping-77"


@pytest.fixture
def person(app):
    return make.make_user("AUDITOR", password=hash_of(PASSWORD))


@pytest.fixture
def asvs(settings):
    passwords.bind(replace(settings, password_profile=PasswordProfile.ASVS))
    yield
    passwords.bind(settings)


def test_outside_of_tests_a_hash_costs_what_it_should(settings):
    """Argon2id with 64 MiB, three passes: at least what RFC 9106 asks of a small server."""
    passwords.bind(replace(settings, mode=Mode.PRODUCTION))
    try:
        assert hash_of(NEW).startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert list(passwords.hash_options().values()) == [3, 65536, 4]
    finally:
        passwords.bind(settings)


def _change(client, new, old=PASSWORD):
    return client.post(
        "/change-password",
        data={"password": old, "new_password": new, "new_password_confirm": new},
    )


def _age(person, days):
    with make.session() as s:
        s.execute(
            sa.update(User)
            .where(User.id == person.id)
            .values(password_changed_at=utc_now() - timedelta(days=days))
            .execution_options(audited=True)
        )


def test_a_weak_new_password_is_refused_in_words(log_in, person):
    page = _change(log_in(person.email), "semuanya huruf kecil").get_data(as_text=True)

    assert "tiga dari" in page


def test_one_of_the_last_five_is_refused(log_in, person):
    client = log_in(person.email)
    assert _change(client, NEW).status_code == 302

    page = _change(client, PASSWORD, old=NEW).get_data(as_text=True)

    assert "pernah Anda pakai" in page


def test_the_memory_is_five_long(app):
    user = make.make_user("AUDITOR", password=hash_of(PASSWORD))
    with make.session() as s:
        user = s.get_one(User, user.id)
        for n in range(5):
            settle_user(s, user, new_password=f"{NEW}{n}", created=False)
        with pytest.raises(WeakPasswordError):
            settle_user(s, user, new_password=f"{NEW}0", created=False)
        settle_user(s, user, new_password=PASSWORD, created=False)


def test_after_six_months_nothing_goes_before_a_new_password(log_in, person):
    _age(person, 184)
    client = log_in(person.email)

    assert client.get("/runs/").headers["Location"] == "/change-password"
    assert client.post("/account/sessions/end-others").status_code == 302
    assert "harus diganti" in client.get("/change-password").get_data(as_text=True)
    assert client.post("/language", data={"language": "id"}).status_code == 302

    assert _change(client, NEW).status_code == 302
    assert client.get("/runs/").status_code == 200


def test_asvs_lets_an_old_password_be(log_in, person, asvs):
    _age(person, 3000)

    assert log_in(person.email).get("/").status_code == 200


def test_asvs_takes_one_kind_of_letters_and_former_ones(log_in, person, asvs):
    client = log_in(person.email)

    assert _change(client, "semuanya huruf kecil").status_code == 302
    assert _change(client, PASSWORD, old="semuanya huruf kecil").status_code == 302


def test_the_offices_form_obeys_and_the_person_chooses_an_own_one(log_in, people, person):
    office = log_in(people["SEMUA"])
    form = {"name": person.name, "email": person.email, "active": "y", "roles": []}
    with make.session() as s:
        form["roles"] = [str(role.id) for role in s.get_one(User, person.id).roles]
    address = f"/users/edit/?id={person.id}"

    weak = office.post(address, data=form | {"new_password": "pendek"})
    assert "paling sedikit 12" in weak.get_data(as_text=True)
    assert office.post(address, data=form | {"new_password": NEW}).status_code == 302

    client = log_in("")
    client.post("/login", data={"email": person.email, "password": NEW})
    assert client.get("/").headers["Location"] == "/change-password"


def test_hashes_of_former_passwords_are_nowhere_to_be_seen(log_in, people, person):
    client = log_in(person.email)
    _change(client, NEW)
    from app.audit.models import AuditEvent

    with make.session() as s:
        rows = s.scalars(
            sa.select(AuditEvent.after).where(AuditEvent.object_id == str(person.id))
        ).all()
    assert not any("argon2" in str(row) for row in rows)
    page = log_in(people["SEMUA"]).get(f"/users/details/?id={person.id}")
    assert "argon2" not in page.get_data(as_text=True)


def test_a_person_who_is_not_stored_yet_gets_a_password(app):
    from app.identity.services import create_user

    email = f"{make.word()}@contoh.test"
    with make.session() as s:
        create_user(s, email=email, name="Baru", password=NEW, roles=["AUDITOR"])
    with make.session() as s:
        made = s.scalars(sa.select(User).where(User.email == email)).one()
        assert made.former_passwords == []
        assert made.must_change_password
