"""The audit: every change of our own tables, in the change's own transaction."""

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.audit.recorder import CENSORED, UnauditedWriteError
from app.core import db
from app.core.policy import set_request_id
from app.identity.models import Agency, Role, User
from tests import make

pytestmark = pytest.mark.usefixtures("bound")


def trail_of(object_id):
    with make.session() as s:
        return s.scalars(
            sa.select(AuditEvent)
            .where(AuditEvent.object_id == str(object_id))
            .order_by(AuditEvent.id)
        ).all()


def test_a_change_is_kept_with_before_after_actor_reason_and_request():
    agency = make.make_agency()
    set_request_id("permintaan-7")
    with make.session() as s:
        db.because(s, "ganti nama resmi")
        s.get_one(Agency, agency.id).name = f"Baru {agency.code}"
    set_request_id("")

    created, changed = trail_of(agency.id)
    assert created.action == "create"
    assert created.before is None
    assert created.after["code"] == agency.code
    assert changed.before == {"name": agency.name}
    assert changed.after == {"name": f"Baru {agency.code}"}
    assert (changed.actor, changed.reason, changed.request_id) == (
        "penguji", "ganti nama resmi", "permintaan-7",
    )  # fmt: skip
    assert changed.agency_id == agency.id


def test_what_is_rolled_back_leaves_no_trail():
    agency = make.make_agency()

    def fail_after_writing():
        with make.session() as s:
            s.get_one(Agency, agency.id).name = "x"
            s.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_writing()

    assert len(trail_of(agency.id)) == 1


def test_secrets_are_censored_and_roles_are_named():
    user = make.make_user("AUDITOR", password="$argon2id$x")
    with make.session() as s:
        person = s.get_one(User, user.id)
        person.password = "$argon2id$y"
        person.roles = list(s.scalars(sa.select(Role).where(Role.name == "WALIDATA")))

    created, *changes = trail_of(user.id)
    assert created.after["password"] == CENSORED
    before = {key: value for each in changes for key, value in each.before.items()}
    after = {key: value for each in changes for key, value in each.after.items()}
    assert after["password"] == CENSORED
    assert before["roles"] == ["Auditor (Inspektorat)"]
    assert after["roles"] == ["Walidata"]


def test_a_deletion_keeps_what_was():
    agency = make.make_agency()
    with make.session() as s:
        s.delete(s.get_one(Agency, agency.id))

    gone = trail_of(agency.id)[-1]
    assert gone.action == "delete"
    assert gone.before["name"] == agency.name
    assert gone.after is None


def test_a_bulk_write_without_an_event_is_refused():
    with pytest.raises(UnauditedWriteError), make.session() as s:
        s.execute(sa.update(Agency).values(phone="1"))
    with pytest.raises(UnauditedWriteError), make.session() as s:
        s.execute(sa.delete(User).where(User.name == "nobody"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET actor = 'x'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
    ],
)
def test_no_role_of_the_application_can_change_the_trail(statement):
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        make.session() as s,
    ):
        s.execute(sa.text(statement))
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        make.session(make.WORKER_PRINCIPAL) as s,
    ):
        s.execute(sa.text(statement))
