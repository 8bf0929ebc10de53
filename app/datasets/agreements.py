"""Everything that changes agreements: the office proposes, whose data it is consents.

What is consented to never changes; another agreement takes its place. Whatever ends one
closes list, file and API at once, because all of them ask for it each time.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.core import clock, db
from app.core.policy import Permission, Principal, acting_principal
from app.core.scope import NotFoundError
from app.core.words import message_id
from app.datasets.errors import (
    AgreementChangedError,
    BadAgreementError,
    NoReasonGivenError,
    NotProposedError,
    NotYoursToEndError,
)
from app.datasets.models import Agreement
from app.datasets.reading import CHOOSABLE
from app.datasets.states import AgreementState
from app.notifications import notices
from app.notifications.states import NoticeKind

MAX_VALUES, MAX_VALUE, MAX_REASON = 1_000, 200, 1_000


def propose(session: Session, agreement: Agreement) -> None:
    """Put a proposal in order before it is written, and ask whose data it is.

    Raises ``NotProposedError`` for a decided one, ``BadAgreementError`` for one that names
    what is not there.
    """
    if agreement.ended_at is not None or agreement.consented_at is not None:
        raise NotProposedError
    dataset = agreement.dataset
    agreement.producer_id = dataset.agency_id
    agreement.agency_id = agreement.agency.id
    if agreement.agency_id == agreement.producer_id:
        raise BadAgreementError("An agency needs no agreement for its own data.")
    _check_fields(agreement, dataset.version.specs())
    _check_time(agreement.valid_until)
    agreement.proposed_by = acting_principal().label
    session.flush()
    notices.tell(
        session,
        NoticeKind.AGREEMENT_ASKS,
        message_id("%(agency)s asks to receive %(dataset)s: agree or decline."),
        {"agency": agreement.agency.name, "dataset": dataset.title},
        path=f"/agreements/details/?id={agreement.id}",
        agency_id=agreement.producer_id,
    )


def _check_fields(agreement: Agreement, specs: tuple[FieldSpec, ...]) -> None:
    by_name = {each.name: each for each in specs}
    named = [*agreement.fields, *filter(None, [agreement.row_field])]
    missing = [name for name in named if name not in by_name]
    if missing:
        raise BadAgreementError(
            "The dataset has no field %(name)s.", name=", ".join(missing)[:200]
        )
    agreement.fields = list(dict.fromkeys(agreement.fields))
    agreement.row_values = list(dict.fromkeys(agreement.row_values))
    if bool(agreement.row_field) != bool(agreement.row_values):
        raise BadAgreementError(
            "To open some rows alone, name a field and the values that it has in them; for all"
            " rows, leave both empty."
        )
    if not agreement.row_field:
        return
    if by_name[agreement.row_field].type not in CHOOSABLE:
        raise BadAgreementError(
            "Rows are chosen by a field of text or of whole numbers, such as a region code."
        )
    long = any(len(each) > MAX_VALUE or "\0" in each for each in agreement.row_values)
    if long or len(agreement.row_values) > MAX_VALUES:
        raise BadAgreementError(
            "At most %(n)s values, of at most %(length)s characters each.",
            n=MAX_VALUES,
            length=MAX_VALUE,
        )


def _check_time(ends: datetime | None) -> None:
    if ends is None:
        raise BadAgreementError("Say until when: no agreement is without an end.")
    if ends <= clock.utc_now():
        raise BadAgreementError("Its last day must not be past.")


def consent(session: Session, agreement: Agreement, seen: int) -> None:
    """Open the rows, as the agency whose data it is; what stood until now ends with it.

    ``seen`` is the row version that the person looked at. Raises ``NotFoundError`` for
    anybody else, ``NotProposedError``, ``AgreementChangedError``, ``BadAgreementError`` for
    one whose last day is past.
    """
    principal = acting_principal()
    if principal.agency_id != agreement.producer_id:
        raise NotFoundError
    _lock(session, agreement)
    if agreement.state is not AgreementState.PROPOSED:
        raise NotProposedError
    if agreement.row_version != seen:
        raise AgreementChangedError
    _check_time(agreement.valid_until)
    former = session.scalars(
        sa.select(Agreement)
        .where(
            Agreement.dataset_id == agreement.dataset_id,
            Agreement.agency_id == agreement.agency_id,
            Agreement.consented_at.is_not(None),
            Agreement.ended_at.is_(None),
        )
        .with_for_update(of=Agreement)
    ).all()
    now = db.now(session)
    for each in former:
        each.ended_at = now
        each.ended_because = f"Digantikan oleh {agreement.number}"
    session.flush()  # before the next one stands: one at a time
    agreement.consented_at, agreement.consented_by = now, principal.label
    session.flush()
    _tell(
        session, agreement, message_id("%(producer)s agreed: %(dataset)s is open to you.")
    )


def end(session: Session, agreement: Agreement, because: str) -> None:
    """Decline a proposal, or end what stands: nothing is read by it from now on.

    Raises ``NotYoursToEndError``, ``NoReasonGivenError``, ``NotProposedError`` for one that
    ended already.
    """
    if not may_end(agreement, acting_principal()):
        raise NotYoursToEndError
    _lock(session, agreement)
    if agreement.ended_at is not None:
        raise NotProposedError
    reason = because.replace("\0", "").strip()[:MAX_REASON]
    if not reason:
        raise NoReasonGivenError
    agreement.ended_at, agreement.ended_because = db.now(session), reason
    session.flush()
    _tell(
        session,
        agreement,
        message_id("%(dataset)s of %(producer)s is not open to you: %(reason)s"),
        reason=reason,
    )


def may_end(agreement: Agreement, principal: Principal) -> bool:
    """Tell whether somebody ends agreements: the office, and the head whose data it is."""
    if principal.is_office:
        return principal.may(Permission.AGREEMENT_WRITE)
    is_owner = principal.agency_id == agreement.producer_id
    return is_owner and principal.may(Permission.AGREEMENT_CONSENT)


def _lock(session: Session, agreement: Agreement) -> None:
    session.refresh(agreement, with_for_update={"of": Agreement})


def _tell(session: Session, agreement: Agreement, message: str, **more: str) -> None:
    """Tell the receiving agency."""
    params = {
        "producer": agreement.producer.name,
        "dataset": agreement.dataset.title,
        **more,
    }
    notices.tell(
        session,
        NoticeKind.AGREEMENT_TOLD,
        message,
        params,
        path=f"/agreements/details/?id={agreement.id}",
        agency_id=agreement.agency_id,
    )
