"""Reads the clocks of cases: their events, the office's plan and its calendar."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.clock import in_zone, utc_now
from app.office.models import Office
from app.office.queries import calendar_of
from app.requests.deadlines import Clock, Moment, Plan, read_clock, stretches
from app.requests.models import IntegrationRequest, RequestEvent


def plan_of(session: Session) -> Plan:
    """Return what the office plans now."""
    office = session.scalars(sa.select(Office)).one()
    return Plan(tuple(office.step_days), office.report_months, calendar_of(session))


def clocks_of(
    session: Session,
    cases: Sequence[IntegrationRequest],
    zone: str,
    at: datetime | None = None,
) -> Mapping[UUID, Clock]:
    """Return the clock of each case, by its id; ``zone`` is the office's (IANA)."""
    plan, today = plan_of(session), in_zone(at or utc_now(), zone).date()
    events = session.scalars(
        sa.select(RequestEvent)
        .where(RequestEvent.case_id.in_([case.id for case in cases]))
        .order_by(RequestEvent.case_id, RequestEvent.id)
    )
    moments = {
        case_id: [
            Moment(in_zone(e.at, zone).date(), e.action, e.role, e.to_step) for e in some
        ]
        for case_id, some in groupby(events, key=lambda event: event.case_id)
    }
    return {
        case.id: read_clock(
            stretches(
                moments.get(case.id, ()),
                has_producer=case.producer_id is not None,
                is_amendment=case.is_amendment,
            ),
            plan,
            today,
        )
        for case in cases
    }
