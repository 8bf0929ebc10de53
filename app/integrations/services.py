"""What writes the register of integrations: a case that closes, and a person who takes over."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.models import Contract
from app.integrations.errors import NoTakeoverReasonError
from app.integrations.models import Integration


def register(
    session: Session, contract: Contract, since: date, values: Mapping[str, Any]
) -> Integration:
    """Enter what a closed case has built, or bring the entry there is up to date.

    ``values`` are columns by name; an empty one leaves what is known as it is.
    """
    known = session.scalar(
        sa.select(Integration).where(Integration.contract_id == contract.id)
    )
    entry = known or Integration(
        contract=contract,
        agency_id=contract.agency_id,
        system=contract.title,
        document=contract.basis,
        running_since=since,
    )
    for name, value in values.items():
        if value:
            setattr(entry, name, value)
    session.add(entry)
    session.flush()
    return entry


def take_over(integration: Integration) -> None:
    """Look at what is taken over from before, and what becomes of its entry later.

    Raises ``NoTakeoverReasonError``; what a case has built never had a reason.
    """
    state = sa.inspect(integration)
    had_one = any(state.attrs.reason.history.deleted or ())
    if state.persistent and not had_one:
        return
    if not (integration.reason or "").strip():
        raise NoTakeoverReasonError
