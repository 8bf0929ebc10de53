"""Everything that happens to complaints."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

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
    ComplaintSender,
)
from app.complaints.states import ARROWS, OPEN, Arrow, Channel, Deed, Kind
from app.core import clock, db
from app.core.policy import Permission, Principal, acting_principal
from app.core.words import message_id
from app.identity.models import Agency, User
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.office.models import ANSWER_DAYS, Office
from app.office.queries import calendar_of
from app.requests.models import IntegrationRequest
from app.requests.queries import cases
from app.requests.services import next_number

SERIES = "ADU"  # aduan
MAX_SUBJECT, MAX_TEXT, MAX_CONTACT = 200, 10_000, 300
# Without letters and digits that are taken for each other.
CODE_SIGNS, CODE_LENGTH = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 10
LAPOR_NUMBER = re.compile(r"[A-Za-z0-9./-]{3,40}")


@dataclass(frozen=True, slots=True)
class Said:
    """What came in. ``sender`` and ``contact`` are empty for a person of an agency."""

    kind: Kind
    channel: Channel
    subject: str
    text: str
    sender: str = ""
    contact: str = ""
    lapor_number: str = ""
    case_number: str = ""
    received_on: date | None = None  # today


def receive(session: Session, said: Said, zone: str) -> Complaint:
    """Enter what came in under the next number; raises ``BadComplaintError``.

    What an agency's person sends is their agency's own.
    """
    principal = acting_principal()
    now = db.now(session)
    today = clock.in_zone(now, zone).date()
    received_on = said.received_on or today
    _check(said, received_on, today)
    complaint = Complaint(
        number=next_number(session, SERIES, today.year),
        code="".join(secrets.choice(CODE_SIGNS) for _ in range(CODE_LENGTH)),
        kind=said.kind,
        channel=said.channel,
        lapor_number=said.lapor_number.strip(),
        agency_id=principal.agency_id,
        case_id=_case_of(session, principal, said.case_number),
        subject=_plain(said.subject)[:MAX_SUBJECT],
        text=_plain(said.text)[:MAX_TEXT],
        received_on=received_on,
        due_on=calendar_of(session).after(received_on, answer_days(session)),
    )
    session.add(complaint)
    session.flush()
    if said.sender or said.contact:
        session.add(
            ComplaintSender(
                complaint_id=complaint.id,
                name=_plain(said.sender)[:MAX_CONTACT],
                contact=_plain(said.contact)[:MAX_CONTACT],
            )
        )
    _write_down(session, complaint, Deed.RECEIVE, "")
    _tell(session, complaint, message_id("%(name)s came in: somebody is to answer it."))
    session.flush()
    return complaint


def _check(said: Said, received_on: date, today: date) -> None:
    if not _plain(said.subject) or not _plain(said.text):
        raise BadComplaintError("Say in a few words what it is about, and what is meant.")
    if received_on > today or (today - received_on).days > 366:
        raise BadComplaintError("The day of its coming in is within the last year.")
    number = said.lapor_number.strip()
    if (said.channel is Channel.LAPOR) != bool(number):
        raise BadComplaintError(
            "What came through LAPOR! has its tracking number, and nothing else has one."
        )
    if number and LAPOR_NUMBER.fullmatch(number) is None:
        raise BadComplaintError(
            "A tracking number of LAPOR! has 3 to 40 letters, digits, points, dashes or /."
        )


def _case_of(session: Session, principal: Principal, number: str) -> UUID | None:
    if not number.strip():
        return None
    found: UUID | None = session.scalar(
        cases(principal)
        .where(IntegrationRequest.number == _plain(number))
        .with_only_columns(IntegrationRequest.id)
    )
    if found is None:
        raise BadComplaintError("There is no request with this number.")
    return found


def answer_days(session: Session) -> int:
    """Return within how many working days the office answers."""
    days = session.scalar(sa.select(Office.answer_days))
    return ANSWER_DAYS if days is None else days


def may_do(complaint: Complaint, deed: Deed, principal: Principal) -> bool:
    """Tell whether somebody may do it as it stands: the office, or whom it was forwarded to."""
    if (complaint.state, deed) not in ARROWS or principal.read_only:
        return False
    if deed is Deed.REPLY:
        concerned = principal.agency_id == complaint.producer_id
        is_theirs = principal.agency_id is not None and concerned
        return is_theirs and principal.may(Permission.COMPLAINT_SEND)
    return _may_write(principal)


def _may_write(principal: Principal) -> bool:
    return principal.is_office and principal.may(Permission.COMPLAINT_WRITE)


def may_answer(person: User) -> bool:
    """Tell whether somebody can be asked to answer: of the office, and with the right to."""
    may = any(Permission.COMPLAINT_WRITE in role.permissions for role in person.roles)
    return person.agency_id is None and person.active and may


def reply(session: Session, complaint: Complaint, words: str) -> None:
    """Tell the office what the agency concerned says to it."""
    _require(session, complaint, Deed.REPLY, words)
    _write_down(session, complaint, Deed.REPLY, words)
    _tell(session, complaint, message_id("The agency concerned replied to %(name)s."))


def assign(session: Session, complaint: Complaint, person: User) -> None:
    """Name who of the office answers it; raises ``BadComplaintError`` for anybody else."""
    arrow = _require(session, complaint, Deed.ASSIGN)
    if not may_answer(person):
        raise BadComplaintError("Somebody of the office answers it.")
    complaint.assigned_id, complaint.state = person.id, arrow.target
    _write_down(session, complaint, Deed.ASSIGN, person.name)
    _tell(session, complaint, message_id("%(name)s is yours to answer."))


def forward(session: Session, complaint: Complaint, agency: Agency) -> None:
    """Pass it on to the agency that it is about: it sees it from now on, without its sender."""
    arrow = _require(session, complaint, Deed.FORWARD)
    if not agency.active:
        raise BadComplaintError("Nobody of this agency works here any more.")
    complaint.producer_id, complaint.state = agency.id, arrow.target
    session.flush()
    _write_down(session, complaint, Deed.FORWARD, agency.name)
    notices.tell(
        session,
        NoticeKind.COMPLAINT_TOLD,
        message_id("%(name)s was passed on to you: tell the office what you say to it."),
        {"name": str(complaint)},
        path=f"/complaints/{complaint.id}",
        agency_id=agency.id,
    )


def answer(session: Session, complaint: Complaint, words: str) -> None:
    """Answer it: who sent it reads this."""
    _decide(session, complaint, Deed.ANSWER, words)


def refuse(session: Session, complaint: Complaint, words: str) -> None:
    """Say why it is none of the office's matters, or cannot be answered."""
    _decide(session, complaint, Deed.REFUSE, words)


def close(session: Session, complaint: Complaint) -> None:
    """Put an answered one away: nothing more is to be done."""
    arrow = _require(session, complaint, Deed.CLOSE)
    complaint.state = arrow.target
    _write_down(session, complaint, Deed.CLOSE, "")


def reopen(session: Session, complaint: Complaint, words: str, zone: str) -> None:
    """Take it up once more with a new last day; the former answer stays in its course."""
    arrow = _require(session, complaint, Deed.REOPEN, words)
    today = clock.in_zone(db.now(session), zone).date()
    complaint.state, complaint.answered_at, complaint.answer = arrow.target, None, ""
    complaint.due_on = calendar_of(session).after(today, answer_days(session))
    _write_down(session, complaint, Deed.REOPEN, words)
    again = message_id("%(name)s is taken up once more.")
    _tell(session, complaint, again)
    _tell_sender(session, complaint, again)


def note(session: Session, complaint: Complaint, text: str) -> None:
    """Note something of the office's own; raises ``NotNowError``, ``TooManyWordsError``."""
    principal = acting_principal()
    if not _may_write(principal):
        raise NotNowError
    if not _worded(text):
        raise BadComplaintError("There is nothing written here yet.")
    session.add(
        ComplaintNote(
            complaint_id=complaint.id, author=principal.label, text=_worded(text)
        )
    )


def _decide(session: Session, complaint: Complaint, deed: Deed, words: str) -> None:
    arrow = _require(session, complaint, deed, words)
    complaint.state, complaint.answered_at = arrow.target, db.now(session)
    complaint.answer = _plain(words)
    _write_down(session, complaint, deed, words)
    _tell_sender(session, complaint, message_id("%(name)s has its answer."))


def _tell_sender(session: Session, complaint: Complaint, message: str) -> None:
    """Tell the sender's agency; who sent it without a log-in looks by number and code."""
    if complaint.agency_id is not None:
        notices.tell(
            session,
            NoticeKind.COMPLAINT_TOLD,
            message,
            {"name": str(complaint)},
            path=f"/complaints/{complaint.id}",
            agency_id=complaint.agency_id,
        )


def _require(
    session: Session, complaint: Complaint, deed: Deed, words: str | None = None
) -> Arrow:
    """Lock it and return its arrow.

    Raises ``NotNowError``, ``NoWordsError``, ``TooManyWordsError``.
    """
    if acting_principal().is_office:  # an agency may not lock what it may not change
        session.execute(
            sa.select(Complaint.id).where(Complaint.id == complaint.id).with_for_update()
        )
        session.refresh(complaint)
    if not may_do(complaint, deed, acting_principal()):
        raise NotNowError
    arrow = ARROWS[complaint.state, deed]
    if not _worded(words or "") and arrow.needs_words:
        raise NoWordsError
    return arrow


def _write_down(session: Session, complaint: Complaint, deed: Deed, words: str) -> None:
    session.add(
        ComplaintEvent(
            complaint_id=complaint.id,
            actor=acting_principal().label,
            deed=deed,
            words=_plain(words),
        )
    )
    session.flush()


def _tell(session: Session, complaint: Complaint, message: str) -> None:
    """Tell who answers it, or all of the office who may, that something is to be done."""
    notices.tell(
        session,
        NoticeKind.COMPLAINT_ASKS,
        message,
        {"name": str(complaint)},
        path=f"/complaints/{complaint.id}",
        user_id=complaint.assigned_id,
    )


def remind(session: Session, today: date) -> int:
    """Tell once of each that is due within two days, and once when it is late."""
    waiting = session.scalars(
        sa.select(Complaint).where(
            Complaint.state.in_(OPEN),
            Complaint.due_on <= today + SOON,
        )
    ).all()
    return sum(_warned(session, each, today) for each in waiting)


SOON = timedelta(days=2)
_DUE: Mapping[bool, str] = {
    False: message_id("%(name)s is to be answered by %(day)s."),
    True: message_id("%(name)s was to be answered by %(day)s."),
}


def _warned(session: Session, complaint: Complaint, today: date) -> bool:
    is_late = complaint.due_on < today
    mark = f"{'late' if is_late else 'soon'} {complaint.due_on}"
    if not notices.is_first_to_warn(session, Complaint, complaint.id, mark):
        return False
    notices.tell(
        session,
        NoticeKind.COMPLAINT_ASKS,
        _DUE[is_late],
        {"name": str(complaint), "day": f"{complaint.due_on:%d-%m-%Y}"},
        path=f"/complaints/{complaint.id}",
        user_id=_answerer(complaint),
    )
    return True


def _answerer(complaint: Complaint) -> UUID | None:
    """Return who was named to answer, None once they cannot any more: then all are told."""
    person = complaint.assigned
    return person.id if person is not None and may_answer(person) else None


def _worded(text: str) -> str:
    """Return ``text`` without what cannot be kept; raises ``TooManyWordsError``."""
    plain = _plain(text)
    if len(plain) > MAX_TEXT:
        raise TooManyWordsError(MAX_TEXT)
    return plain


def _plain(text: str) -> str:
    return text.replace("\0", "").strip()
