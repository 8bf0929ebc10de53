"""What comes to an end by itself, from all rooms, by the day on which it does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.api.models import ApiClient, ApiGrant, ApiKey
from app.core.clock import in_zone
from app.core.policy import Permission, Principal
from app.core.scope import visible
from app.core.words import message_id as _
from app.datasets.models import Agreement
from app.identity.models import Duty
from app.integrations.models import Integration
from app.runs.models import Schedule
from app.sources.models import Source

# What ended longer ago, or ends later, is not shown.
PAST, AHEAD = timedelta(days=30), timedelta(days=366)
MOST = 200  # of each kind; the page says when there are more


@dataclass(frozen=True, slots=True)
class Ending:
    """One thing and its last day; ``kind`` is a message id, ``values`` those of its page."""

    day: date
    kind: str
    label: str
    endpoint: str
    values: Mapping[str, Any] = field(default_factory=dict)


class Endings(NamedTuple):
    """What ends, by day; ``is_cut``: of some kind there are more than are shown."""

    rows: list[Ending]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class _Kind:
    """How things of one kind are found: which of them, by which column."""

    permission: Permission
    kind: str
    query: sa.Select[Any]
    column: Any
    endpoint: str
    label: Any
    argument: str = "id"
    ident: Any = None


def _kinds() -> tuple[_Kind, ...]:
    dated = (
        (Integration.review_on, _("Review of an integration")),
        (Integration.tls_until, _("Certificate of a server")),
        (Integration.staff_until, _("List of staff")),
    )
    return (
        _Kind(
            Permission.AGREEMENT_READ,
            _("Agreement"),
            sa.select(Agreement).where(
                Agreement.consented_at.is_not(None), Agreement.ended_at.is_(None)
            ),
            Agreement.valid_until,
            "agreements.details_view",
            lambda row: f"{row.number}: {row.agency.name}",
        ),
        _Kind(
            Permission.API_READ,
            _("API key"),
            sa.select(ApiKey)
            .join(ApiClient, ApiClient.id == ApiKey.client_id)
            .where(ApiKey.revoked_at.is_(None)),
            ApiKey.expires_at,
            "api_clients.details_view",
            lambda row: row.prefix,
            ident=lambda row: row.client_id,
        ),
        _Kind(
            Permission.API_READ,
            _("API grant"),
            sa.select(ApiGrant).where(ApiGrant.revoked_at.is_(None)),
            ApiGrant.valid_until,
            "api_grants.details_view",
            str,
        ),
        *(
            _Kind(
                Permission.CONTRACT_READ,
                kind,
                sa.select(Integration),
                column,
                "integrations.details_view",
                lambda row: row.contract.title,
            )
            for column, kind in dated
        ),
        _Kind(
            Permission.USER_READ,
            _("Duty for somebody else"),
            sa.select(Duty),
            Duty.ends_at,
            "users.details_view",
            lambda row: f"{row.user.name}: {row.position}",
            ident=lambda row: row.user_id,
        ),
        _Kind(
            Permission.SOURCE_READ,
            _("Source without encryption"),
            sa.select(Source).where(Source.enabled),
            Source.plain_until,
            "pulls.source",
            str,
            argument="ident",
        ),
        _Kind(
            Permission.SCHEDULE_READ,
            _("Schedule"),
            sa.select(Schedule).where(Schedule.enabled),
            Schedule.until,
            "schedules.details_view",
            lambda row: row.name,
        ),
    )


def endings(session: Session, principal: Principal, now: datetime, zone: str) -> Endings:
    """Return what the principal may see of what ends, the first ``MOST`` of each kind."""
    found = [
        list(_of(session, principal, kind, now, zone))
        for kind in _kinds()
        if principal.may(kind.permission)
    ]
    rows = [ending for some in found for ending in some[:MOST]]
    rows.sort(key=lambda each: (each.day, each.kind, each.label))
    return Endings(rows, any(len(some) > MOST for some in found))


def _of(
    session: Session, principal: Principal, kind: _Kind, now: datetime, zone: str
) -> Iterator[Ending]:
    column, model = kind.column, kind.column.class_
    is_moment = isinstance(column.type, sa.DateTime)
    first, last = now - PAST, now + AHEAD
    between = (first, last) if is_moment else (first.date(), last.date())
    query = (
        kind.query.where(visible(model, principal), column.between(*between))
        .order_by(column)
        .limit(MOST + 1)
    )
    for row in session.scalars(query).unique():
        ends = getattr(row, column.key)
        # A moment at midnight is the end of the day before.
        day = in_zone(ends - timedelta(seconds=1), zone).date() if is_moment else ends
        ident = kind.ident(row) if kind.ident else row.id
        values = {kind.argument: ident}
        yield Ending(day, kind.kind, kind.label(row), kind.endpoint, values)
