"""Complaints: what may happen to them, in which time, and who sees what of it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.audit.models import AuditEvent
from app.complaints import queries, services
from app.complaints.errors import (
    BadComplaintError,
    NotNowError,
    NoWordsError,
    TooManyWordsError,
)
from app.complaints.models import (
    Complaint,
    ComplaintEvent,
    ComplaintNote,
)
from app.complaints.services import Said
from app.complaints.states import ARROWS, OPEN, Channel, Deed, Kind, State
from app.core import clock
from app.core.policy import DbRole, Permission, Principal
from app.identity.models import Agency, User
from app.notifications.models import Notice
from tests import make

pytestmark = pytest.mark.usefixtures("bound")

ZONE = "Asia/Jakarta"
MAY = frozenset({Permission.COMPLAINT_READ, Permission.COMPLAINT_WRITE})
OFFICER = Principal("Petugas", DbRole.OFFICE, permissions=MAY)
SYSTEM = Principal("sistem", DbRole.SYSTEM)
SAID = Said(
    Kind.COMPLAINT, Channel.PHONE, "Data terlambat", "Sudah tiga hari", "Budi", "0812"
)


def today():
    return clock.in_zone(clock.utc_now(), ZONE).date()


def received(principal=OFFICER, **more):
    with make.session(principal) as s:
        return services.receive(s, replace(SAID, **more), ZONE).id


def sent(agency):
    person = make.agency_principal(
        agency.id,
        permissions=frozenset({Permission.COMPLAINT_READ, Permission.COMPLAINT_SEND}),
    )
    ident = received(person, channel=Channel.PORTAL, sender="", contact="")
    return person, ident


def done(deed, ident, *rest, principal=OFFICER):
    with make.session(principal) as s:
        complaint = s.get_one(Complaint, ident)
        getattr(services, deed)(s, complaint, *rest)
        return complaint


def course(session, complaint, principal):
    return [e.deed for e in queries.events_of(session, complaint, principal)]


def passed_on():
    """Return one that an agency sent, who sent it and who it was passed on to."""
    sender, ident = sent(make.make_agency())
    other = make.make_agency()
    concerned = make.agency_principal(other.id, permissions=sender.permissions)
    with make.session() as s:
        agency = s.get_one(Agency, other.id)
    done("forward", ident, agency)
    return ident, sender, concerned


def read(ident):
    with make.session() as s:
        return s.get_one(Complaint, ident)


def test_every_state_is_reached_and_what_ended_is_taken_up_again():
    assert {arrow.target for arrow in ARROWS.values()} | {State.RECEIVED} == set(State)
    for state in set(State) - OPEN:
        on = {deed for at, deed in ARROWS if at is state}
        assert on - {Deed.REOPEN} == ({Deed.CLOSE} if state is State.ANSWERED else set())
        assert Deed.REOPEN in on


def test_what_comes_in_has_a_number_a_last_day_and_its_sender_apart():
    ident = received()
    complaint = read(ident)
    assert complaint.number.startswith(f"ADU/{today().year}/")
    assert complaint.due_on > today() + timedelta(days=11)  # ten working days
    with make.session(OFFICER) as s:
        sender = queries.sender_of(s, ident)
        assert (sender.name, sender.contact) == ("Budi", "0812")
        assert course(s, complaint, OFFICER) == [Deed.RECEIVE]


def test_no_number_is_given_twice_at_once():
    with ThreadPoolExecutor(4) as pool:
        idents = list(pool.map(lambda _: received(), range(12)))
    assert len({read(ident).number for ident in idents}) == 12


def test_it_is_given_to_somebody_answered_and_taken_up_again():
    ident = received()
    person = make.make_user("TIM_TEKNIS")
    done("assign", ident, person)
    assert (read(ident).state, read(ident).assigned_id) == (State.IN_HAND, person.id)
    done("answer", ident, " Sudah diperbaiki \0")
    assert (read(ident).state, read(ident).answer) == (State.ANSWERED, "Sudah diperbaiki")
    for deed in ("answer", "refuse"):
        with pytest.raises(NotNowError):
            done(deed, ident, "lagi")
    done("reopen", ident, "Belum benar", ZONE)
    assert (read(ident).state, read(ident).answered_at) == (State.IN_HAND, None)
    done("refuse", ident, "Bukan urusan kantor")
    assert read(ident).state is State.REFUSED
    with make.session(OFFICER) as s:
        found = course(s, read(ident), OFFICER)
    assert found == [
        Deed.RECEIVE, Deed.ASSIGN, Deed.ANSWER, Deed.REOPEN, Deed.REFUSE,
    ]  # fmt: skip


@pytest.mark.parametrize("deed", ["answer", "refuse"])
def test_an_answer_has_words(deed):
    ident = received()
    with pytest.raises(NoWordsError):
        done(deed, ident, " \0 ")
    assert read(ident).is_open


def test_somebody_of_an_agency_does_not_answer_for_the_office():
    ident = received()
    outsider = make.make_user("OPD_OPERATOR", agency=make.make_agency())
    with pytest.raises(BadComplaintError):
        done("assign", ident, outsider)


def test_an_agency_sees_what_it_sent_and_what_was_passed_on_without_the_sender():
    own, other = make.make_agency(), make.make_agency()
    sender, ident = sent(own)
    concerned = make.agency_principal(other.id, permissions=sender.permissions)
    with make.session(sender) as s:
        assert s.get(Complaint, ident) is not None
    with make.session(concerned) as s:
        assert s.get(Complaint, ident) is None
    with make.session() as s:
        agency = s.get_one(Agency, other.id)
    done("forward", ident, agency)
    with make.session(concerned) as s:
        complaint = s.get_one(Complaint, ident)
        assert course(s, complaint, concerned) == [Deed.FORWARD]
        services.reply(s, complaint, "Kami perbaiki")
        with pytest.raises(NotNowError):
            services.answer(s, complaint, "selesai")
    with make.session(sender) as s, pytest.raises(NotNowError):
        services.reply(s, s.get_one(Complaint, ident), "bukan kami")
    with make.session(SYSTEM) as s:
        paths = s.scalars(
            sa.select(Notice.agency_id).where(Notice.path == f"/complaints/{ident}")
        ).all()
    assert set(paths) == {None, other.id}
    done("answer", ident, "Sudah")
    with make.session(SYSTEM) as s:
        told = sa.select(Notice.id).where(
            Notice.path == f"/complaints/{ident}", Notice.agency_id == own.id
        )
        assert s.scalar(told) is not None


def test_the_second_wall_keeps_senders_and_answers_from_agencies():
    own = make.make_agency()
    sender, ident = sent(own)
    received()
    for statement in (
        "SELECT * FROM complaint_sender",
        f"UPDATE complaint SET answer = 'x' WHERE id = '{ident}'",
    ):
        with pytest.raises(DBAPIError, match="denied"), make.session(sender) as s:
            s.execute(sa.text(statement))
    for deed in ("answer", "forward"):
        event = ComplaintEvent(complaint_id=ident, actor="x", deed=Deed(deed))
        with pytest.raises(DBAPIError, match="row-level"), make.session(sender) as s:
            s.add(event)
    with make.session(sender) as s:
        assert len(s.scalars(sa.select(Complaint)).all()) == 1


def test_an_agency_sends_by_the_portal_and_in_its_own_name_alone():
    agency = make.make_agency()
    person = make.agency_principal(agency.id, permissions=MAY)
    with pytest.raises(DBAPIError, match="row-level"):
        received(person, channel=Channel.LETTER, sender="", contact="")


@pytest.mark.parametrize(
    "more",
    [
        {"subject": " \0"},
        {"text": ""},
        {"channel": Channel.LAPOR},
        {"lapor_number": "12345"},
        {"channel": Channel.LAPOR, "lapor_number": "a b"},
        {"channel": Channel.LAPOR, "lapor_number": "x" * 41},
        {"case_number": "PMH/1999/0001"},
        {"received_on": "tomorrow"},
        {"received_on": "long ago"},
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_kept(more):
    days = {"tomorrow": 1, "long ago": -400}
    if "received_on" in more:
        more = {"received_on": today() + timedelta(days=days[more["received_on"]])}
    with make.session() as s:
        before = s.scalar(sa.select(sa.func.count()).select_from(Complaint))
    with pytest.raises(BadComplaintError):
        received(**more)
    with make.session() as s:
        assert s.scalar(sa.select(sa.func.count()).select_from(Complaint)) == before


def test_a_tracking_number_of_lapor_stands_once():
    number = make.word("")[:30] or "1"
    received(channel=Channel.LAPOR, lapor_number=number)
    with pytest.raises(IntegrityError):
        received(channel=Channel.LAPOR, lapor_number=number)


def test_it_is_told_once_that_one_is_due_and_once_that_it_is_late():
    ident = received()
    due = read(ident).due_on

    def told(day):
        with make.session(SYSTEM) as s:
            services.remind(s, day)
            mine = sa.select(Notice.params).where(Notice.path == f"/complaints/{ident}")
            return len(s.scalars(mine).all()) - 1  # that it came in

    assert told(due - timedelta(days=3)) == 0
    assert told(due - timedelta(days=2)) == 1
    assert told(due) == 1
    assert told(due + timedelta(days=1)) == 2
    assert told(due + timedelta(days=9)) == 2
    done("answer", ident, "Sudah")
    assert told(due + timedelta(days=30)) == 2


def test_they_are_counted_by_kind_and_by_whether_it_was_in_time():
    year = today().year

    def counted():
        with make.session() as s:
            found = queries.counts(s, OFFICER, year, today(), ZONE, queries.By.KIND)
            return next(c for c in found if c.of is Kind.ASPIRATION)

    before = counted()
    kind = {"kind": Kind.ASPIRATION}
    waiting, late, well, refused = (received(**kind) for _ in range(4))
    with make.session() as s:
        s.get_one(Complaint, late).due_on = today() - timedelta(days=1)
    done("answer", well, "Ya")
    done("refuse", refused, "Tidak")
    after = counted()
    assert waiting
    assert after.total - before.total == 4
    assert after.waiting - before.waiting == 2
    assert after.in_time - before.in_time == 2
    assert after.late - before.late == 1
    assert after.refused - before.refused == 1


def test_number_and_code_together_find_one():
    ident = received()
    complaint = read(ident)
    with make.session() as s:
        assert queries.by_marks(s, complaint.number.lower(), complaint.code.lower())
        assert queries.by_marks(s, complaint.number, "ABC") is None
        assert queries.by_marks(s, "", complaint.code) is None


def test_neither_agency_reads_what_the_other_one_is_kept_from():
    ident, sender, concerned = passed_on()
    with make.session(concerned) as s:
        services.reply(s, s.get_one(Complaint, ident), "Kami perbaiki")
    everything = sa.select(ComplaintEvent.deed).where(
        ComplaintEvent.complaint_id == ident
    )
    for principal, deeds in (
        (OFFICER, {Deed.RECEIVE, Deed.FORWARD, Deed.REPLY}),
        (sender, {Deed.RECEIVE, Deed.FORWARD}),
        (concerned, {Deed.FORWARD, Deed.REPLY}),
    ):
        with make.session(principal) as s:
            complaint = s.get_one(Complaint, ident)
            assert set(course(s, complaint, principal)) == deeds
            assert set(s.scalars(everything)) == deeds  # the second wall by itself


@pytest.mark.parametrize("is_sender", [True, False])
def test_an_agency_adds_no_line_that_is_the_other_ones(is_sender):
    ident, sender, concerned = passed_on()
    deed, principal = (Deed.REPLY, sender) if is_sender else (Deed.RECEIVE, concerned)
    line = {"complaint_id": ident, "actor": "x", "deed": deed, "words": "x"}
    with pytest.raises(DBAPIError, match="row-level"), make.session(principal) as s:
        s.execute(sa.insert(ComplaintEvent), [line])


def test_notes_are_the_offices_alone():
    ident, sender, concerned = passed_on()
    done("note", ident, " Telepon pagi \0")
    with make.session(OFFICER) as s:
        assert [n.text for n in queries.notes_of(s, ident)] == ["Telepon pagi"]
    for principal in (sender, concerned):
        with pytest.raises(DBAPIError, match="denied"), make.session(principal) as s:
            s.execute(sa.select(ComplaintNote.id))
        with pytest.raises(NotNowError):
            done("note", ident, "x", principal=principal)
    with pytest.raises(BadComplaintError):
        done("note", ident, " \0")


def test_a_note_is_never_changed():
    ident = received()
    done("note", ident, "Telepon pagi")
    for statement in (
        "UPDATE complaint_note SET text = 'x'",
        "DELETE FROM complaint_note",
    ):
        with pytest.raises(DBAPIError, match="denied"), make.session(OFFICER) as s:
            s.execute(sa.text(statement))


def test_what_was_answered_is_closed_and_stays_answered():
    ident = received()
    with pytest.raises(NotNowError):
        done("close", ident)
    done("answer", ident, "Sudah")
    done("close", ident)
    closed = read(ident)
    assert (closed.state, closed.answer) == (State.CLOSED, "Sudah")
    assert closed.answered_at is not None
    for deed, *rest in (("answer", "lagi"), ("close",)):
        with pytest.raises(NotNowError):
            done(deed, ident, *rest)


def test_what_is_taken_up_once_more_has_a_new_last_day_and_is_told():
    sender, ident = sent(make.make_agency())
    done("answer", ident, "Sudah")
    done("close", ident)
    with make.session() as s:
        s.get_one(Complaint, ident).due_on = today() - timedelta(days=30)
    done("reopen", ident, "Belum benar", ZONE)
    assert read(ident).due_on > today() + timedelta(days=11)
    with make.session(SYSTEM) as s:
        told = s.scalars(
            sa.select(Notice.agency_id).where(
                Notice.path == f"/complaints/{ident}",
                Notice.params["message"].astext == "%(name)s is taken up once more.",
            )
        ).all()
    assert set(told) == {None, sender.agency_id}


def test_who_reads_alone_is_not_asked_to_answer():
    with pytest.raises(BadComplaintError):
        done("assign", received(), make.make_user("AUDITOR"))


def test_nothing_is_passed_on_to_an_agency_that_is_no_more():
    agency = make.make_agency()
    with make.session() as s:
        s.get_one(Agency, agency.id).active = False
    with make.session() as s:
        gone = s.get_one(Agency, agency.id)
    with pytest.raises(BadComplaintError):
        done("forward", received(), gone)


@pytest.mark.parametrize("is_gone", [True, False])
def test_all_are_told_of_a_late_one_once_who_answers_it_is_gone(is_gone):
    ident, person = received(), make.make_user("TIM_TEKNIS")
    done("assign", ident, person)
    if is_gone:
        with make.session() as s:
            s.get_one(User, person.id).active = False
    with make.session(SYSTEM) as s:
        services.remind(s, read(ident).due_on)
        told = s.scalars(
            sa.select(Notice.user_id)
            .where(Notice.path == f"/complaints/{ident}")
            .order_by(Notice.id.desc())
        ).first()
    assert told == (None if is_gone else person.id)


@pytest.mark.parametrize("deed", ["answer", "refuse", "note"])
def test_too_many_words_are_refused_and_not_cut(deed):
    ident = received()
    with pytest.raises(TooManyWordsError):
        done(deed, ident, "x" * 10_001)
    assert read(ident).is_open


def test_the_trail_tells_that_it_came_in_and_not_who_sent_it():
    ident = received(sender="Siti Rahasia", contact="0812-9999")
    with make.session() as s:
        written = s.scalars(
            sa.select(AuditEvent.object_type).where(AuditEvent.object_id == str(ident))
        ).all()
        told = sa.select(AuditEvent.id).where(
            sa.cast(AuditEvent.after, sa.Text).contains("Siti Rahasia")
        )
        assert s.scalars(told).all() == []
    assert written == ["complaint"]


@pytest.mark.parametrize("by", list(queries.By))
def test_each_way_to_count_counts_each_one_once(by):
    def total():
        with make.session(OFFICER) as s:
            found = queries.counts(s, OFFICER, today().year, today(), ZONE, by)
            states = queries.by_state(s, OFFICER, today().year)
            assert sum(c.total for c in found) == sum(states.values())
            return sum(c.total for c in found), states["received"]

    before = total()
    received()
    assert total() == (before[0] + 1, before[1] + 1)


def test_a_month_is_that_of_its_coming_in():
    day = today() - timedelta(days=40)

    def of_month():
        with make.session(OFFICER) as s:
            found = queries.counts(s, OFFICER, day.year, today(), ZONE, queries.By.MONTH)
            return [c.total for c in found]

    before = of_month()
    received(received_on=day)
    after = of_month()
    assert [a - b for a, b in zip(after, before, strict=True)] == [
        int(month == day.month) for month in range(1, 13)
    ]
