"""A case told whole, as plain values: what its report and its archive are made of."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.models import Contract, ContractVersion
from app.contracts.states import VersionStatus
from app.core import db
from app.core.clock import in_zone
from app.core.policy import DbRole, Principal, acting_as
from app.papers.words import long_date
from app.requests.clocks import clocks_of
from app.requests.documents import DOCUMENTS
from app.requests.findings import OUTCOMES, findings_of
from app.requests.models import IntegrationRequest
from app.requests.names import DEEDS, REASONS, ROLES, STEPS
from app.requests.papers import Press
from app.requests.queries import (
    documents_of,
    events_of,
    messages_of,
    papers_of,
    versions_of,
)
from app.requests.signing import Signing, signings

# A contract may be another agency's; who sees the case sees what it came to.
_READER = Principal("sistem: laporan permohonan", DbRole.SYSTEM)
Story = dict[str, Any]


def story_of(session: Session, press: Press, case: IntegrationRequest) -> Story:
    """Return a case: what was asked, its course, clock, papers, documents and contract.

    Times are ISO 8601 on the office's clock, names those of the office's papers. The
    office's notes are not in it.
    """
    return {
        "number": case.number,
        "title": case.title,
        "purpose": case.purpose,
        "applicant": case.agency.name if case.agency else "",
        "data_owner": case.producer.name if case.producer else "",
        "ended_as": press.say(STEPS[case.step]),
        "handed_in_at": _moment(press, case.handed_in_at),
        "accepted_at": _moment(press, case.accepted_at),
        "ended_at": _moment(press, case.ended_at),
        "loops": {"a": case.loops_a, "b": case.loops_b},
        "clock": _clock(session, press, case),
        "events": _events(session, press, case),
        "papers": _papers(session, press, case),
        "documents": _documents(session, press, case),
        "messages": [
            {
                "at": _moment(press, each.at),
                "by": _name(each.author),
                "of_office": each.of_office,
                "text": each.text,
            }
            for each in messages_of(session, case)
        ],
        "findings": [
            {
                **each.told,
                "state": press.say(OUTCOMES[each.state]),
                "since": _moment(press, each.since),
            }
            for each in findings_of(session, case, press.zone)
        ],
        "contract": _contract(press, case),
    }


def _moment(press: Press, at: datetime | None) -> str | None:
    return in_zone(at, press.zone).isoformat(timespec="seconds") if at else None


def _name(label: str) -> str:
    """Return who acted, without their address."""
    return label.partition(" <")[0]


def _clock(session: Session, press: Press, case: IntegrationRequest) -> Story:
    clock = clocks_of(session, [case], press.zone)[case.id]
    return {
        "calendar_days": clock.gross,
        "without_waiting_for_the_agency_beyond_the_plan": clock.net,
        "limit": clock.limit.isoformat() if clock.limit else None,
        "waited_for": {str(party): days for party, days in clock.waits.items()},
    }


def _events(session: Session, press: Press, case: IntegrationRequest) -> list[Story]:
    return [
        {
            "at": _moment(press, event.at),
            "step": press.say(STEPS[event.from_step]),
            "deed": press.say(DEEDS[event.action].done),
            "by": _name(event.actor),
            "as": press.say(ROLES[event.role]),
            "led_to": press.say(STEPS[event.to_step]),
            "reason": press.say(REASONS[event.reason]) if event.reason else "",
            "note": event.note,
            "alone": event.is_alone,
            "sha256_of_documents": event.digest,
        }
        for event in reversed(events_of(session, case))
    ]


def _papers(session: Session, press: Press, case: IntegrationRequest) -> list[Story]:
    issued = list(reversed(papers_of(session, case)))
    found = signings(session, issued)
    return [
        {
            "title": paper.title,
            "number": paper.number,
            "code": paper.code,
            "issued_at": _moment(press, paper.issued_at),
            "sha256": paper.sha256,
            "state": str(found[paper.id].state),
            "marks": _marks(press, found[paper.id]),
        }
        for paper in issued
    ]


def _marks(press: Press, signing: Signing) -> list[Story]:
    return [
        {
            "at": _moment(press, mark.at),
            "kind": str(mark.kind),
            "by": _name(mark.by),
            "certificate_of": mark.signer,
            "certificate_from": mark.issuer,
            "is_trusted": mark.is_trusted,
            "sha256": mark.sha256,
            "note": mark.note,
        }
        for mark in signing.marks
    ]


def _documents(session: Session, press: Press, case: IntegrationRequest) -> list[Story]:
    return [
        {
            "kind": str(kind),
            "title": press.say(DOCUMENTS[kind].label),
            "versions": [
                {
                    "number": version.number,
                    "at": _moment(press, version.at),
                    "by": _name(version.by),
                    "sha256": version.sha256,
                    "content": version.content,
                    "files": version.files,
                }
                for version in reversed(versions_of(session, document))
            ],
        }
        for kind, document in documents_of(session, case).items()
    ]


def _contract(press: Press, case: IntegrationRequest) -> Story | None:
    if case.contract_id is None:
        return None
    with acting_as(_READER), db.unit_of_work() as session:
        contract = session.get_one(Contract, case.contract_id)
        versions = session.scalars(
            sa.select(ContractVersion)
            .where(
                ContractVersion.contract_id == contract.id,
                ContractVersion.status != VersionStatus.DRAFT,
            )
            .order_by(ContractVersion.number)
        ).all()
        return {
            "title": contract.title,
            "name": contract.slug,
            "agency": contract.agency.name,
            "versions": [
                {
                    "number": version.number,
                    "activated_at": _moment(press, version.activated_at),
                    "fields": [_field(each) for each in version.specs()],
                }
                for version in versions
            ],
        }


def _field(spec: Any) -> Mapping[str, Any]:
    return {
        "name": spec.name,
        "label": spec.label,
        "type": str(spec.type),
        "is_key": spec.is_key,
        "required": spec.required,
        "classification": str(spec.classification),
        "definition": spec.definition,
        "unit": spec.unit,
    }


_ZONES = {7: "WIB", 8: "WITA", 9: "WIT"}  # by the hours ahead of UTC


def read_out(moment: str | None) -> str:
    """Return a moment of a story for people, such as 23 November 2026 09.15 WIB."""
    if not moment:
        return "–"
    at = datetime.fromisoformat(moment)
    if "T" not in moment:
        return long_date(at.date())
    ahead = at.utcoffset() or timedelta(0)
    zone = _ZONES.get(ahead // timedelta(hours=1), "")
    return f"{long_date(at.date())} {at:%H.%M} {zone}".strip()


def lines_of(story: Story) -> Sequence[tuple[str, str]]:
    """Return the facts of a case as labels and values, for people."""
    clock = story["clock"]
    facts = (
        ("Nomor permohonan", story["number"]),
        ("Nama permohonan", story["title"]),
        ("Tujuan", story["purpose"]),
        ("Pemohon", story["applicant"]),
        ("Pemilik data", story["data_owner"] or story["applicant"]),
        ("Berakhir sebagai", story["ended_as"]),
        ("Diajukan", read_out(story["handed_in_at"])),
        ("Berkas lengkap", read_out(story["accepted_at"])),
        ("Berakhir", read_out(story["ended_at"])),
        ("Batas waktu", read_out(clock["limit"])),
        ("Lama (hari kalender)", clock["calendar_days"]),
        (
            "Tanpa menunggu perangkat daerah melebihi rencana",
            clock["without_waiting_for_the_agency_beyond_the_plan"],
        ),
        ("Putaran A (tidak sepakat)", story["loops"]["a"]),
        ("Putaran B (tidak sesuai)", story["loops"]["b"]),
    )
    return [(label, "–" if value is None else str(value)) for label, value in facts]
