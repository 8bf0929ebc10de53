"""Roles as data: the office says how they are called and what they allow."""

import pytest
import sqlalchemy as sa

from app.identity.models import Role, User
from app.identity.passwords import hash_of
from tests import make
from tests.web.conftest import PASSWORD, seen_in


@pytest.fixture
def role():
    """A role of this test's own; the seeded ones belong to all tests."""
    return _role(make.word("peran"), for_agency=False)


def _role(name, *, for_agency, permissions=("agency.read",)) -> Role:
    made = Role(
        name=name, label=f"Jabatan {name}", for_agency=for_agency,
        permissions=list(permissions),
    )  # fmt: skip
    with make.session() as s:
        s.add(made)
    return made


def stored(role) -> Role:
    with make.session() as s:
        return s.get_one(Role, role.id)


def send(client, role, **values):
    address = f"/roles/edit/?id={role.id}"
    form = {"seen": seen_in(client, address), "label": role.label, "description": ""}
    return client.post(address, data=form | {"permissions": role.permissions} | values)


def test_a_role_is_renamed_and_allows_more_from_the_next_page_on(log_in, people, role):
    holder = log_in(make.make_user(role.name, password=hash_of(PASSWORD)).email)
    assert holder.get("/runs/").status_code == 403
    client = log_in(people["SEMUA"])
    page = client.get(f"/roles/edit/?id={role.id}").get_data(True)
    assert 'value="agency.read" id="permissions-1" checked' in page
    assert "melihat proses" in page

    answer = send(
        client, role, label="Kepala Bidang", description="SK 12/2026",
        permissions=["agency.read", "run.read"],
    )  # fmt: skip

    assert answer.status_code == 302, answer.get_data(True)
    after = stored(role)
    assert (after.label, after.description) == ("Kepala Bidang", "SK 12/2026")
    assert sorted(after.permissions) == ["agency.read", "run.read"]
    assert holder.get("/runs/").status_code == 200
    page = client.get(f"/roles/details/?id={role.id}").get_data(True)
    assert "SK 12/2026" in page
    assert "Kepala Bidang" in page


@pytest.mark.parametrize(
    "wrong", [["agency.write"], ["agency.read", "audit.read"], ["no.such"]]
)
def test_a_role_of_agencies_never_allows_work_of_the_office(log_in, people, wrong):
    role = _role(make.word("opd"), for_agency=True, permissions=["dataset.read"])
    answer = send(log_in(people["SEMUA"]), role, permissions=wrong)
    assert answer.status_code == 200
    assert stored(role).permissions == ["dataset.read"]


def test_nobody_takes_their_own_right_to_change_roles(log_in, role):
    with make.session() as s:
        s.get_one(Role, role.id).permissions = ["user.read", "user.write"]
    person = make.make_user(role.name, password=hash_of(PASSWORD))
    answer = send(log_in(person.email), stored(role), permissions=["user.read"])
    assert answer.status_code == 200
    assert "user.write" in stored(role).permissions
    with make.session() as s:  # one's own right by another role is enough
        admin = s.scalars(sa.select(Role).where(Role.name == "SYSADMIN")).one()
        holder = s.get_one(User, person.id)
        holder.roles.append(admin)
    answer = send(log_in(person.email), stored(role), permissions=["user.read"])
    assert answer.status_code == 302
    assert stored(role).permissions == ["user.read"]


def test_whoever_may_not_change_people_changes_no_role(log_in, people, role):
    client = log_in(people["AUDITOR"])
    assert client.get(f"/roles/edit/?id={role.id}").status_code == 403
    answer = client.post(f"/roles/edit/?id={role.id}", data={"label": "x"})
    assert answer.status_code == 403
    assert stored(role).label == role.label
