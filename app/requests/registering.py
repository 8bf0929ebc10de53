"""A case that closes enters what it has built into the register of integrations."""

from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.models import Contract
from app.integrations import services
from app.integrations.models import Integration
from app.office.calendar import months_after
from app.requests.documents import DocumentKind
from app.requests.fields import Values
from app.requests.models import Document, IntegrationRequest

REVIEW_MONTHS = 12  # until both sides look at it again


def enter(session: Session, case: IntegrationRequest, today: date) -> Integration | None:
    """Enter the integration of a closed case; None where no contract was made."""
    if case.contract_id is None:
        return None
    contract = session.get_one(Contract, case.contract_id)
    # The applicant describes its own system: of another agency's data it is no source.
    is_own = contract.agency_id == case.agency_id
    told = _told(session, case) if is_own else {}
    return services.register(
        session,
        contract,
        today,
        {"review_on": months_after(today, REVIEW_MONTHS), **told},
    )


def _told(session: Session, case: IntegrationRequest) -> dict[str, Any]:
    """Return what the applicant's documents say of its system, by the register's columns."""
    rows = session.scalars(sa.select(Document).where(Document.case_id == case.id))
    content: dict[DocumentKind, Values] = {row.kind: row.content or {} for row in rows}
    letter = content.get(DocumentKind.LETTER, {})
    servers = content.get(DocumentKind.SERVER, {}).get("servers") or []
    staff = content.get(DocumentKind.STAFF, {})
    design = content.get(DocumentKind.APPLICATION_DESIGN, {})
    certificates = [day for each in servers if (day := _day(each.get("tls_until")))]
    return {
        "system": letter.get("system") or design.get("name"),
        "server": ", ".join(each["host"] for each in servers if each.get("host")),
        "contact": letter.get("technician"),
        "contact_phone": letter.get("technician_phone"),
        "contact_email": letter.get("technician_email"),
        "tls_until": min(certificates, default=None),
        "staff_until": _day(staff.get("decree_until")),
    }


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if text else None
