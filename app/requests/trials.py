"""The trial call of step 3: the agency's service is asked for a sample, for the minutes.

Values are masked before anybody sees them; what came of it is written down as it was.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.connectors.looking import Look
from app.core import clock, db
from app.core.errors import RejectedError
from app.core.policy import Principal
from app.core.scope import NotFoundError
from app.papers.words import long_date
from app.requests import queries, writing
from app.requests.documents import DocumentKind
from app.requests.errors import NotEditableError
from app.requests.fields import MAX_LONG
from app.requests.models import IntegrationRequest
from app.requests.papers import Press
from app.requests.states import Step
from app.sources import looks
from app.sources.models import Source

NAMED = 20  # elements that are told one by one


def may_try(case: IntegrationRequest, principal: Principal) -> bool:
    """Tell whether somebody may call the service for the minutes of step 3 now."""
    actor = queries.actor_in(case, principal)
    is_open = case.step is Step.SCENARIO and case.contract_id is not None
    return (
        is_open
        and actor is not None
        and writing.may_write(case, DocumentKind.SCENARIO, actor.roles)
    )


def try_call(
    ident: str | UUID,
    source_id: UUID,
    principal: Principal,
    press: Press,
    office_list: Sequence[str],
) -> str:
    """Ask a case's service for a sample, and write into the minutes what came; return it.

    No transaction is open while the service answers. Raises ``NotEditableError`` when it is
    not the time, ``NotFoundError`` for another's source, ``RejectedError`` when the minutes
    cannot take more; what ``looks.try_out`` raises.
    """
    with db.unit_of_work() as session:
        case = queries.get_case(session, ident, principal)
        if not may_try(case, principal):
            raise NotEditableError
        source = session.get(Source, source_id)
        if source is None or source.contract_id != case.contract_id:
            raise NotFoundError
        looks.record_look(session, source, source.settings)
    look = looks.try_out(source, source.settings, {}, office_list)
    told = outcome(press, source.name, look, clock.utc_now())
    with db.unit_of_work() as session:
        case = queries.get_case(session, ident, principal)
        _add(session, case, told)
    return told


def _add(session: Session, case: IntegrationRequest, told: str) -> None:
    writing.lock(session, case)  # what somebody saved while the service answered stays
    document = queries.documents_of(session, case).get(DocumentKind.SCENARIO)
    content = dict(document.content) if document else {}
    content["trial"] = "\n\n".join(filter(None, (content.get("trial"), told)))
    if len(content["trial"]) > MAX_LONG:
        raise RejectedError("This is too long: at most %(n)s letters.", n=MAX_LONG)
    writing.write_document(session, case, DocumentKind.SCENARIO, content)


def outcome(press: Press, name: str, look: Look, at: datetime) -> str:
    """Return what a call brought, in the words of official papers."""
    on = clock.in_zone(at, press.zone)
    answers = [f"HTTP {each.status}" for each in look.shown if each.status]
    came = answers[-1] if answers else "tidak ada jawaban"
    lines = [f"Uji panggil {long_date(on.date())} {on:%H.%M} ke {name}: {came}."]
    if look.sample is not None:
        fields = look.sample.fields
        more = f"; dan {len(fields) - NAMED} elemen lain" if len(fields) > NAMED else ""
        told = "; ".join(
            f"{each.path} ({each.values[0] if each.values else 'kosong'})"
            for each in fields[:NAMED]
        )
        lines.append(
            f"{look.sample.row_count} rekaman contoh, {len(fields)} elemen,"
            f" nilai disamarkan: {told}{more}."
        )
    lines += [f"- {press.say(each.message) % each.params}" for each in look.findings]
    return "\n".join(lines)
