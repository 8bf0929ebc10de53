"""Acting for somebody else: more roles for some days, ended by date, by a person, and told."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from threading import Barrier, BrokenBarrierError

import pytest
import sqlalchemy as sa

from app.audit.models import AuditEvent
from app.core.clock import utc_now
from app.core.policy import ANONYMOUS
from app.identity import duties
from app.identity.models import Duty, User
from app.identity.passwords import hash_of
from app.identity.principals import principal_of
from app.notifications.models import Notice
from tests import make
from tests.web.conftest import PASSWORD

TODAY = datetime.now(tz=UTC).date()


@pytest.fixture
def chief(app):
    return make.make_user(
        "PENGAWAS_TI", job_title="Kepala Bidang TI", password=hash_of(PASSWORD)
    )


@pytest.fixture
def deputy(app):
    return make.make_user("AUDITOR", password=hash_of(PASSWORD))


def _form(deputy, first=0, last=7, **more):
    return {
        "successor": str(deputy.id), "kind": "plh", "position": "Kepala Bidang TI",
        "basis": "SK 800/12/2026", "first_day": str(TODAY + timedelta(days=first)),
        "last_day": str(TODAY + timedelta(days=last)),
    } | more  # fmt: skip


def _duties(chief):
    with make.session() as s:
        return s.scalars(sa.select(Duty).where(Duty.for_user_id == chief.id)).all()


def _permissions(user):
    with make.session() as s:
        return principal_of(s.get_one(User, user.id)).permissions


def test_all_duties_go_over_in_one_action_and_come_back_by_date(
    log_in, people, chief, deputy
):
    office, client = log_in(people["SYSADMIN"]), log_in(deputy.email)
    assert "source.approve" not in _permissions(deputy)

    answer = office.post(f"/users/{chief.id}/hand-over", data=_form(deputy))

    assert answer.status_code == 302
    assert "source.approve" in _permissions(deputy)
    assert "audit.read" in _permissions(deputy)  # what was theirs stays
    assert "source.approve" in _permissions(chief)
    for page in (
        office.get(f"/users/details/?id={deputy.id}"),
        office.get(f"/users/details/?id={chief.id}"),
        client.get("/account/"),
    ):
        text = page.get_data(as_text=True)
        assert "SK 800/12/2026" in text
        assert "sedang berlaku" in text
    with make.session() as s:
        s.scalars(
            sa.select(Duty).where(Duty.for_user_id == chief.id)
        ).one().ends_at = utc_now()
    assert "source.approve" not in _permissions(deputy)


def test_it_begins_on_its_first_day_alone(log_in, people, chief, deputy):
    log_in(people["SYSADMIN"]).post(
        f"/users/{chief.id}/hand-over", data=_form(deputy, first=2)
    )

    assert len(_duties(chief)) == 1
    assert "source.approve" not in _permissions(deputy)


def test_the_days_are_the_offices_days(log_in, people, chief, deputy):
    log_in(people["SYSADMIN"]).post(f"/users/{chief.id}/hand-over", data=_form(deputy))

    [duty] = _duties(chief)
    assert duty.starts_at.astimezone(UTC).hour == 17  # midnight in Jakarta
    assert duty.ends_at - duty.starts_at == timedelta(days=8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_day": str(TODAY), "last_day": str(TODAY - timedelta(days=1))},
        {"first_day": "2020-01-01", "last_day": "2020-01-02"},
        {"last_day": str(TODAY + timedelta(days=500))},
        {"first_day": "x"}, {"last_day": ""}, {"basis": ""}, {"position": ""}, {"kind": "raja"},
        {"successor": ""}, {"successor": "x"}, {"basis": "\0"},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(log_in, people, chief, deputy, wrong):
    client = log_in(people["SYSADMIN"])
    answer = client.post(f"/users/{chief.id}/hand-over", data=_form(deputy) | wrong)

    assert answer.status_code in {302, 400}
    assert _duties(chief) == []


def test_duties_stay_within_the_office_or_the_agency(log_in, people, chief):
    stranger = make.make_user("OPD_OPERATOR", agency=make.make_agency())
    off = make.make_user("AUDITOR", active=False)
    client = log_in(people["SYSADMIN"])

    for other in (stranger, off, chief):
        client.post(f"/users/{chief.id}/hand-over", data=_form(other))

    assert _duties(chief) == []


def test_it_is_ended_early_by_the_office_or_by_whom_it_is_for(
    log_in, people, chief, deputy
):
    office = log_in(people["SYSADMIN"])
    for client, way in (
        (office, "/users/duty/{}/end"),
        (log_in(chief.email), "/account/duties/{}/end"),
    ):
        office.post(f"/users/{chief.id}/hand-over", data=_form(deputy))
        duty = max(_duties(chief), key=lambda each: each.ends_at)
        assert (
            log_in(deputy.email).post(f"/account/duties/{duty.id}/end").status_code == 404
        )
        assert client.post(way.format(duty.id)).status_code == 302
        assert "source.approve" not in _permissions(deputy)
        assert client.post(way.format(duty.id)).status_code == 302  # over: told in words


def test_one_delegates_ones_own_and_no_more(log_in, chief, deputy):
    client = log_in(chief.email)

    client.post("/account/delegate", data=_form(deputy, kind="plt"))

    [duty] = _duties(chief)
    assert duty.kind == "delegation"
    assert {role.name for role in duty.roles} == {"PENGAWAS_TI"}
    # What one only acts in is not handed on.
    third = make.make_user("AUDITOR")
    log_in(deputy.email).post("/account/delegate", data=_form(third))
    assert "source.approve" not in _permissions(third)


def test_it_stands_in_the_trail_and_both_are_told(log_in, people, chief, deputy):
    log_in(people["SYSADMIN"]).post(f"/users/{chief.id}/hand-over", data=_form(deputy))

    [duty] = _duties(chief)
    with make.session() as s:
        event = s.scalars(
            sa.select(AuditEvent).where(AuditEvent.object_id == str(duty.id))
        ).one()
    assert event.after["basis"] == "SK 800/12/2026"
    assert event.after["roles"] == ["Pejabat Pengawas Pengelola Teknologi Informasi"]
    with make.session(ANONYMOUS) as s:
        told = {each.user_id for each in s.scalars(sa.select(Notice))}
    assert {chief.id, deputy.id} <= told


def test_an_agencys_administrator_hands_over_within_the_agency(log_in):
    agency = make.make_agency()
    admin, worker, head = (
        make.make_user(role, agency=agency, password=hash_of(PASSWORD))
        for role in ("OPD_ADMIN", "OPD_OPERATOR", "OPD_PIMPINAN")
    )
    client = log_in(admin.email)

    client.post(f"/users/{worker.id}/hand-over", data=_form(head))

    assert "source.read" in _permissions(head)
    foreign = make.make_user("AUDITOR")
    assert (
        client.post(f"/users/{foreign.id}/hand-over", data=_form(head)).status_code == 404
    )


def test_an_acting_official_opens_the_officials_pages_at_once(log_in, people, deputy):
    holder = make.make_user("SYSADMIN")
    client = log_in(deputy.email)
    assert client.get("/outbox/").status_code == 403

    log_in(people["SYSADMIN"]).post(f"/users/{holder.id}/hand-over", data=_form(deputy))

    assert client.get("/outbox/").status_code == 200


def test_pressing_twice_gives_one_duty(log_in, people, chief, deputy):
    client = log_in(people["SYSADMIN"])
    for _ in range(2):
        client.post(f"/users/{chief.id}/hand-over", data=_form(deputy))

    assert len(_duties(chief)) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"position": "x" * 201}, "Isian maksimal 200 karakter"),
        ({"first_day": "9999-12-31", "last_day": "9999-12-31"}, "Tanggal"),
        ({"first_day": "0001-01-01", "last_day": "0001-01-02"}, "Tanggal"),
    ],
)
def test_what_no_duty_can_be_is_refused_in_words(
    log_in, people, chief, deputy, more, said
):
    office = log_in(people["SYSADMIN"])
    answer = office.post(
        f"/users/{chief.id}/hand-over", data=_form(deputy) | more, follow_redirects=True
    )
    assert answer.status_code == 200
    assert said in answer.get_data(as_text=True)
    assert _duties(chief) == []


def test_who_presses_twice_hands_over_once(log_in, people, chief, deputy, monkeypatch):
    clients = [log_in(people["SYSADMIN"]) for _ in range(2)]
    looked, both = duties._acts_already, Barrier(2)

    def slowly(*args):
        found = looked(*args)
        with suppress(
            BrokenBarrierError
        ):  # the other one waits its turn: as it should be
            both.wait(timeout=1)
        return found

    monkeypatch.setattr(duties, "_acts_already", slowly)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(
            lambda c: c.post(f"/users/{chief.id}/hand-over", data=_form(deputy)), clients
        ))  # fmt: skip
    assert len(_duties(chief)) == 1


def _delegate(lender, holder, kind="delegation", agency=None):
    now = utc_now()
    with make.session() as s:
        lent = s.get_one(User, lender.id)
        duty = Duty(
            user=s.get_one(User, holder.id), for_user=lent, agency_id=agency, kind=kind,
            position="Kepala", basis="SK", roles=list(lent.roles),
            starts_at=now - timedelta(hours=1), ends_at=now + timedelta(days=9),
        )  # fmt: skip
        s.add(duty)


def test_who_moves_to_another_side_holds_no_more_what_was_given_on_the_former(app):
    agency, other = make.make_agency(), make.make_agency()
    head = make.make_user("OPD_PIMPINAN", agency=agency)
    holder = make.make_user("OPD_OPERATOR", agency=agency)
    _delegate(head, holder, agency=agency.id)
    assert "agreement.consent" in _permissions(holder)
    for side in (other.id, None):
        with make.session() as s:
            s.get_one(User, holder.id).agency_id = side
        assert "agreement.consent" not in _permissions(holder)


@pytest.mark.parametrize("kind", ["delegation", "plh"])
def test_what_is_delegated_ends_with_what_the_delegating_person_has(chief, deputy, kind):
    _delegate(chief, deputy, kind)
    assert "source.approve" in _permissions(deputy)
    stays = (
        kind == "plh"
    )  # an acting official was appointed to the post, not to the person
    with make.session() as s:
        s.get_one(User, chief.id).active = False
    assert ("source.approve" in _permissions(deputy)) is stays
    with make.session() as s:
        s.get_one(User, chief.id).active = True
        s.get_one(User, chief.id).roles = []
    assert ("source.approve" in _permissions(deputy)) is stays
