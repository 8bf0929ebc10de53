"""Papers of cases: filled out of documents and events, numbered, set in type, kept for good."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core import db
from app.core.catalogue import said_in
from app.core.clock import in_zone
from app.core.policy import DbRole, Principal, acting_as, acting_principal
from app.files.services import store_of
from app.office.calendar import months_after
from app.office.models import Office
from app.papers.typesetting import Part, Rows, Sheet, Signer, set_in_type
from app.papers.words import day_in_words, long_date
from app.requests import receipts
from app.requests.clocks import clocks_of
from app.requests.documents import DOCUMENTS, DocumentKind
from app.requests.errors import (
    BadPaperNumberError,
    NoCaseYetError,
    NotYourMarkError,
    PaperNumberTakenError,
)
from app.requests.fields import Field, FieldKind, Values
from app.requests.findings import OUTCOMES, FindingState, findings_of
from app.requests.models import (
    IntegrationRequest,
    IssuedPaper,
    PaperWording,
    RequestEvent,
)
from app.requests.names import DEEDS, REASONS, ROLES, STEPS
from app.requests.queries import actor_in, documents_of, events_of, papers_of
from app.requests.signing import INITIALLING, Signing, signings
from app.requests.states import Action, PaperState, Role
from app.requests.wordings import PAPERS, PaperKind, filled
from app.requests.writing import lock

LANGUAGE = "id"  # of official papers, whatever language the pages have
SERIES = "paper"
_READER = Principal("sistem: nomor naskah", DbRole.SYSTEM)
_NUMBER = re.compile(r"[\w./ -]{1,80}", re.ASCII)
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # nothing that looks like another sign
_SIGNS = (Action.APPROVE, Action.RETURN, Action.REFUSE, Action.DISAGREE, Action.NOT_FIT)


@dataclass(frozen=True, slots=True)
class Press:
    """Where papers are made: files, the office's clock and name, where they are verified."""

    home: Path
    zone: str
    public_url: str
    office_name: str
    translations: Path

    def say(self, message: str) -> str:
        return said_in(LANGUAGE, message, self.translations)


def issue(
    session: Session,
    press: Press,
    case: IntegrationRequest,
    kind: PaperKind,
    deed: RequestEvent,
    number: str = "",
) -> IssuedPaper:
    """Make a paper that a deed brings, and keep it.

    ``number`` is of the office's own letter system, else the next one of our register is
    taken. Raises ``BadPaperNumberError`` or ``PaperNumberTakenError``.
    """
    office = session.scalars(sa.select(Office)).one()
    on = in_zone(deed.at, press.zone).date()
    number = _own_number(number) if number else _next(session, office, on)
    code = new_code()
    sheet = sheet_of(session, press, case, kind, deed, (number, code))
    content = set_in_type(sheet, deed.at, press.zone)
    stored = store_of(press.home).put(content)
    paper = IssuedPaper(
        case_id=case.id,
        kind=kind,
        step=deed.from_step,
        number=number,
        title=sheet.title,
        code=code,
        sha256=stored.sha256,
        byte_count=stored.byte_count,
        issued_at=deed.at,
        issued_by=deed.actor,
    )
    session.add(paper)
    session.flush()
    receipts.deliver(session, case, paper)
    return paper


def issue_anew(session: Session, press: Press, signing: Signing) -> IssuedPaper:
    """Issue a paper that was sent back once more, with a number and a code of its own.

    Raises ``NotYourMarkError`` unless it was sent back, nothing has taken its place yet, and
    somebody of the office acts.
    """
    former = signing.paper
    lock(session, session.get_one(IntegrationRequest, former.case_id))
    actor = actor_in(former.case, acting_principal())
    if signing.state is not PaperState.SENT_BACK or actor is None:
        raise NotYourMarkError
    if not actor.roles & INITIALLING:
        raise NotYourMarkError
    same = session.scalars(
        sa.select(IssuedPaper).where(
            IssuedPaper.case_id == former.case_id,
            IssuedPaper.kind == former.kind,
            IssuedPaper.issued_at == former.issued_at,
        )
    ).all()
    states = {each.state for each in signings(session, same).values()}
    if states != {PaperState.SENT_BACK}:
        raise NotYourMarkError
    deed = session.scalars(
        sa.select(RequestEvent).where(
            RequestEvent.case_id == former.case_id, RequestEvent.at == former.issued_at
        )
    ).one()
    return issue(session, press, former.case, former.kind, deed)


def _own_number(number: str) -> str:
    number = " ".join(number.replace("\0", "").split())
    if not _NUMBER.fullmatch(number):
        raise BadPaperNumberError
    if _is_taken(number):
        raise PaperNumberTakenError(number)
    return number


def _next(session: Session, office: Office, on: date) -> str:
    """Return the next number of the register; one that was typed in by hand is passed over."""
    while True:
        count = session.scalar(sa.select(sa.func.simpul_next_number(SERIES, on.year)))
        number = filled(
            office.number_format, {"nomor": f"{count:04d}", "tahun": str(on.year)}
        )
        if not _is_taken(number):
            return number


def _is_taken(number: str) -> bool:
    """Ask the whole office's papers: an agency's role sees those of its own cases alone."""
    with acting_as(_READER), db.unit_of_work() as session:
        taken = sa.exists().where(IssuedPaper.number == number)
        return bool(session.scalar(sa.select(taken)))


def new_code() -> str:
    """Return a code of ten signs that nobody guesses, in two groups."""
    signs = "".join(secrets.choice(_ALPHABET) for _ in range(10))
    return f"{signs[:5]}-{signs[5:]}"


def wording_of(session: Session, kind: PaperKind) -> tuple[str, str, str]:
    """Return title, opening and closing of a kind of paper, as the office wants them."""
    own = session.scalar(sa.select(PaperWording).where(PaperWording.kind == kind))
    if own is not None:
        return own.title, own.opening, own.closing
    paper = PAPERS[kind]
    return paper.title, paper.opening, paper.closing


def reword(
    session: Session, kind: PaperKind, title: str, opening: str, closing: str
) -> None:
    """Keep what a kind of paper says from now on."""
    own = session.scalar(sa.select(PaperWording).where(PaperWording.kind == kind))
    if own is None:
        own = PaperWording(kind=kind)
        session.add(own)
    own.title, own.opening, own.closing = title, opening, closing
    session.flush()


def sample(session: Session, press: Press, kind: PaperKind) -> bytes:
    """Return how a kind of paper would look now, for the newest case; it is no paper of ours."""
    case = session.scalar(
        sa.select(IntegrationRequest)
        .where(IntegrationRequest.number != "")
        .order_by(IntegrationRequest.handed_in_at.desc())
        .limit(1)
    )
    if case is None:
        raise NoCaseYetError
    last = events_of(session, case)[0]
    sheet = sheet_of(session, press, case, kind, last, ("CONTOH", "CONTO-H2345"))
    return set_in_type(sheet, last.at, press.zone)


def sheet_of(
    session: Session,
    press: Press,
    case: IntegrationRequest,
    kind: PaperKind,
    deed: RequestEvent,
    marks: tuple[str, str],
) -> Sheet:
    """Return all that stands on a paper; ``marks`` are its number and code."""
    office = session.scalars(sa.select(Office)).one()
    paper = PAPERS[kind]
    on = in_zone(deed.at, press.zone).date()
    title, opening, closing = wording_of(session, kind)
    places = _places(press, office, case, deed, on)
    documents, events = documents_of(session, case), events_of(session, case)
    return Sheet(
        government=office.government,
        office=office.name or press.office_name,
        address=office.address,
        contact=_contact(office),
        place=office.place,
        date=long_date(on),
        number=marks[0],
        code=marks[1],
        title=filled(title, places),
        is_letter=paper.is_letter,
        to=f"Kepala {case.agency.name}" if case.agency else "Pimpinan",
        opening=_paragraphs(opening, places),
        parts=tuple(
            part
            for each in paper.documents
            if each in documents
            for part in parts_of(press, each, documents[each].content)
        )
        + (_course(session, press, case, events) if kind is PaperKind.REPORT else ())
        + (_settled(session, press, case) if kind is PaperKind.CHECK_RESULT else ()),
        closing=_paragraphs(closing, places),
        signers=tuple(
            _signer(press, office, role, deed, events) for role in paper.signers
        ),
        verify=f"{press.public_url}/verify",
        footer=f"{case.number} · {office.name or press.office_name}",
    )


def _course(
    session: Session,
    press: Press,
    case: IntegrationRequest,
    events: Sequence[RequestEvent],
) -> tuple[Part, ...]:
    """Return how the case went, for the report: its clock, and every step by its deeds."""
    clock = clocks_of(session, [case], press.zone)[case.id]
    facts = [
        ("Putaran A (tidak sepakat)", str(case.loops_a)),
        ("Putaran B (tidak sesuai)", str(case.loops_b)),
    ]
    if clock.gross is not None and clock.limit is not None:
        facts = [
            ("Berkas lengkap", _day(press, case.accepted_at)),
            ("Batas waktu", long_date(clock.limit)),
            ("Lama (hari kalender)", str(clock.gross)),
            ("Tanpa menunggu perangkat daerah melebihi rencana", str(clock.net)),
            *facts,
        ]
    rows = tuple(
        (
            press.say(STEPS[event.from_step]),
            press.say(DEEDS[event.action].done),
            event.actor.partition(" <")[0],
            _day(press, event.at),
        )
        for event in reversed(events)
    )
    papers = tuple(
        (paper.title, paper.number, _day(press, paper.issued_at))
        for paper in reversed(papers_of(session, case))
    )
    return (
        Part("Waktu", tuple(facts)),
        Part(
            "Kronologi", (), (Rows(("Langkah", "Tindakan", "Pelaku", "Tanggal"), rows),)
        ),
        Part("Naskah", (), (Rows(("Naskah", "Nomor", "Tanggal"), papers),)),
    )


def _settled(
    session: Session, press: Press, case: IntegrationRequest
) -> tuple[Part, ...]:
    """Return what became of each finding, for the result of the check."""
    rows = tuple(
        (
            each.told.get("key", "–"),
            each.told.get("element") or "–",
            press.say(OUTCOMES[each.state]),
            _day(press, each.since) if each.state is FindingState.SETTLED else "–",
            each.told.get("given_up", ""),
        )
        for each in findings_of(session, case, press.zone)
    )
    if not rows:
        return ()
    heads = ("Kunci", "Elemen", "Keadaan", "Tanggal data", "Keterangan")
    return (Part("Penyelesaian temuan", (), (Rows(heads, rows),)),)


def _day(press: Press, at: datetime | None) -> str:
    return long_date(in_zone(at, press.zone).date()) if at else "–"


def _contact(office: Office) -> str:
    parts = (
        f"Telepon {office.phone}" if office.phone else "",
        f"Faksimile {office.fax}" if office.fax else "",
        office.email,
        office.website,
    )
    return " · ".join(filter(None, parts))


def _places(
    press: Press, office: Office, case: IntegrationRequest, deed: RequestEvent, on: date
) -> dict[str, str]:
    accepted = in_zone(case.accepted_at or deed.at, press.zone).date()
    return {
        "permohonan": f"permohonan “{case.title}”",
        "nomor_permohonan": case.number,
        "pemohon": case.agency.name if case.agency else "",
        "hari_tanggal": day_in_words(on),
        "tanggal": long_date(on),
        "alasan": press.say(REASONS[deed.reason]) if deed.reason else "",
        "penjelasan": deed.note,
        "langkah": press.say(STEPS[deed.from_step]),
        "batas_waktu": long_date(months_after(accepted, office.report_months)),
    }


def _paragraphs(text: str, places: Mapping[str, str]) -> tuple[str, ...]:
    lines = filled(text, places).splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _signer(
    press: Press,
    office: Office,
    role: Role,
    deed: RequestEvent,
    events: Sequence[RequestEvent],
) -> Signer:
    """Return who signs as a role: who did so in this step last; else who submitted it."""
    of_step = [e for e in events if e.from_step is deed.from_step]
    signed = [e for e in of_step if e.action in _SIGNS and e.role is role]
    proposed = [e for e in of_step if e.action is Action.PROPOSE and e.role is role]
    found = next(iter((*signed, *proposed)), None)
    title = found.title if found and found.title else press.say(ROLES[role])
    if role is Role.PIMPINAN and not (found and found.title):
        title = office.head_title or title
    name = found.actor.partition(" <")[0] if found else "……………………………"
    return Signer(title[:1].upper() + title[1:], name, found.nip if found else "")


def parts_of(press: Press, kind: DocumentKind, content: Values) -> list[Part]:
    """Return a filled-in document as parts of a paper; what is empty is left out."""
    found = []
    for part in DOCUMENTS[kind].parts:
        if part.is_many:
            rows = content.get(part.name, ())
            used = [f for f in part.fields if any(row.get(f.name) for row in rows)]
            table = Rows(
                tuple(press.say(f.label) for f in used),
                tuple(
                    tuple(_told(press, f, row.get(f.name, "")) for f in used)
                    for row in rows
                ),
            )
            if rows:
                found.append(Part(press.say(part.label), (), (table,)))
            continue
        facts = tuple(
            (press.say(f.label), _told(press, f, content[f.name]))
            for f in part.fields
            if content.get(f.name)
        )
        if facts:
            found.append(Part(press.say(part.label), facts))
    return found


def _told(press: Press, field: Field, value: str) -> str:
    if field.choices is not None:
        return press.say(field.choices.get(value, value))
    if field.kind is FieldKind.YES:
        return "ya" if value else "tidak"
    if field.kind is FieldKind.DATE and value:
        return long_date(date.fromisoformat(value))
    return value
