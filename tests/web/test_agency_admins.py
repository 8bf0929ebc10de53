"""An agency's own administrator: its people and nobody else's, its roles and no more."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from app.core.policy import DbRole, Permission, Principal
from app.identity.models import Role, User, user_role
from app.identity.passwords import hash_of
from app.identity.services import FOR_AGENCIES
from tests import make
from tests.web.conftest import PASSWORD, seen_in


@pytest.fixture
def agency(app):
    return make.make_agency()


@pytest.fixture
def admin(agency):
    return make.make_user("OPD_ADMIN", agency=agency, password=hash_of(PASSWORD))


@pytest.fixture
def worker(agency):
    return make.make_user("OPD_OPERATOR", agency=agency, password=hash_of(PASSWORD))


def _role_id(name):
    with make.session() as s:
        return str(s.scalars(sa.select(Role.id).where(Role.name == name)).one())


def _form(user, **more):
    return {"name": user.name, "email": user.email, "active": "y"} | more


def _read(user):
    with make.session() as s:
        return s.get_one(User, user.id)


def test_they_see_their_own_people_alone(log_in, admin, worker, people):
    stranger = make.make_user("OPD_OPERATOR", agency=make.make_agency())
    client = log_in(admin.email)

    page = client.get("/users/").get_data(as_text=True)

    assert worker.email in page
    assert stranger.email not in page
    assert people["SYSADMIN"] not in page
    for foreign in (stranger, make.make_user("AUDITOR")):
        for address in (
            f"/users/details/?id={foreign.id}",
            f"/users/edit/?id={foreign.id}",
        ):
            assert client.get(address).status_code == 404
        assert (
            client.post(f"/users/edit/?id={foreign.id}", data=_form(foreign)).status_code
            == 404
        )
        assert client.post(f"/users/{foreign.id}/invite/sheet").status_code == 404
        assert (
            client.post(
                f"/users/{foreign.id}/factor-reset", data={"reason": "x"}
            ).status_code
            == 404
        )


def test_they_add_invite_and_change_their_people(app, log_in, admin, agency):
    client = log_in(admin.email)
    email = f"{make.word()}@contoh.test"
    other = make.make_agency()
    answer = client.post(
        "/users/new/",
        data={
            "name": "Orang Kita", "email": email, "active": "y", "agency": str(other.id),
            "roles": [_role_id("OPD_OPERATOR")],
        },
    )  # fmt: skip
    assert answer.status_code == 302, answer.get_data(as_text=True)
    with make.session() as s:
        made = s.scalars(sa.select(User).where(User.email == email)).one()
    assert made.agency_id == agency.id
    assert [role.name for role in made.roles] == ["OPD_OPERATOR"]
    sheet = client.post(f"/users/{made.id}/invite/sheet")
    assert "one-time-code" in sheet.get_data(as_text=True)
    assert client.post(f"/users/{made.id}/invite/mail").status_code == 302

    address = f"/users/edit/?id={made.id}"
    seen = seen_in(client, address)
    changed = _form(made, seen=seen, name="Nama Lain", roles=[_role_id("OPD_PIMPINAN")])
    assert client.post(address, data=changed).status_code == 302

    after = _read(made)
    assert (after.name, after.agency_id) == ("Nama Lain", agency.id)
    assert [role.name for role in after.roles] == ["OPD_PIMPINAN"]


def test_they_give_no_role_of_the_office(log_in, admin, worker):
    client = log_in(admin.email)
    page = client.get(f"/users/edit/?id={worker.id}").get_data(as_text=True)
    assert "Administrator Sistem" not in page
    assert 'name="agency"' not in page

    address = f"/users/edit/?id={worker.id}"
    seen = seen_in(client, address)
    client.post(address, data=_form(worker, seen=seen, roles=[_role_id("SYSADMIN")]))

    assert "SYSADMIN" not in [role.name for role in _read(worker).roles]
    assert client.post(
        f"/roles/edit/?id={_role_id('OPD_ADMIN')}", data={"second_factor": "y"}
    )
    with make.session() as s:
        assert not s.scalars(
            sa.select(Role.second_factor).where(Role.name == "OPD_ADMIN")
        ).one()


def test_the_database_itself_refuses_it(admin, agency, worker):
    """The second wall: an agency's role, whatever the application lets through."""
    own = Principal(
        "x",
        DbRole.AGENCY,
        user_id=admin.id,
        agency_id=agency.id,
        permissions=frozenset(Permission),
    )
    office = make.make_user("AUDITOR")
    audited = {"audited": True}
    sysadmin = sa.select(Role.id).where(Role.name == "SYSADMIN").scalar_subquery()
    forbidden = (
        sa.update(User).where(User.id == worker.id).values(agency_id=None),
        sa.update(User)
        .where(User.id == worker.id)
        .values(agency_id=make.make_agency().id),
        sa.insert(user_role).values(user_id=worker.id, role_id=sysadmin),
        sa.insert(user_role).values(user_id=office.id, role_id=sysadmin),
    )
    for statement in forbidden:
        with pytest.raises(ProgrammingError), make.session(own) as s:
            s.execute(statement.execution_options(**audited))
    with make.session(own) as s:
        for statement in (
            sa.update(User).where(User.id == office.id).values(name="diambil"),
            sa.delete(user_role).where(user_role.c.user_id == office.id),
        ):
            assert s.execute(statement.execution_options(**audited)).rowcount == 0


def test_an_operator_keeps_nobody(log_in, worker):
    client = log_in(worker.email)

    assert client.get("/users/").status_code == 403
    assert client.post("/users/new/").status_code == 403


def test_they_do_not_lock_themselves_out(log_in, admin):
    client = log_in(admin.email)

    address = f"/users/edit/?id={admin.id}"
    seen = seen_in(client, address)
    answer = client.post(
        address, data=_form(admin, seen=seen, roles=[_role_id("OPD_OPERATOR")])
    )

    assert answer.status_code == 200
    assert [role.name for role in _read(admin).roles] == ["OPD_ADMIN"]


def test_nobody_of_an_agency_gives_a_role_to_themself(log_in, agency, admin, worker):
    client = log_in(admin.email)
    both = [_role_id("OPD_ADMIN"), _role_id("OPD_PIMPINAN")]
    for user, is_taken in ((admin, False), (worker, True)):
        address = f"/users/edit/?id={user.id}"
        data = _form(user, roles=both, seen=seen_in(client, address))
        answer = client.post(address, data=data)
        assert (answer.status_code == 302) is is_taken
        names = {role.name for role in _read(user).roles}
        assert ("OPD_PIMPINAN" in names) is is_taken
    assert "kepada dirinya sendiri" in client.post(
        f"/users/edit/?id={admin.id}",
        data=_form(
            admin, roles=both, seen=seen_in(client, f"/users/edit/?id={admin.id}")
        ),
    ).get_data(as_text=True)


def test_every_role_of_agencies_that_is_shipped_can_be_saved(app):
    names = {"OPD_OPERATOR", "OPD_PIMPINAN", "OPD_ADMIN"}
    with make.session() as s:
        shipped = s.scalars(sa.select(Role).where(Role.name.in_(names))).all()
    assert {role.name for role in shipped} == names
    for role in shipped:
        assert set(role.permissions) <= FOR_AGENCIES, role.name
