"""The figures of the first screen, each within what the reader may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.core.policy import Permission, Principal
from app.core.scope import visible
from app.datasets.models import Dataset
from app.exports.models import ExportRun
from app.pulls.models import PullRun, QuarantinedRecord
from app.requests.models import IntegrationRequest
from app.requests.queries import asked_of
from app.runs.models import JobRun, Schedule
from app.runs.states import TROUBLED
from app.sources.models import Source

RECENT = 8
MOST = 1_000


@dataclass(frozen=True, slots=True)
class Overview:
    """Numbers and lists of the first screen."""

    dataset_count: int
    row_count: int
    reader: UUID | None  # whose rows are counted; None: all
    attention_count: int
    quarantined_count: int
    datasets: Sequence[Dataset]
    runs: Sequence[JobRun]
    due: Sequence[Schedule]
    exports: Sequence[ExportRun]


def menu_counts(session: Session, principal: Principal) -> dict[str, int]:
    """Return how much waits for somebody behind a link of the menu, by its name.

    Counted up to a bound: what has a thousand needs no exact number.
    """
    counts = {}
    if principal.may(Permission.RUN_RETRY):
        counts["runs"] = _count(session, *_needs_somebody(principal), most=MOST)
    if principal.may(Permission.QUARANTINE_READ):
        counts["quarantine"] = _count(session, *_set_aside_lately(principal), most=MOST)
    if principal.may(Permission.REQUEST_ACT) and not principal.read_only:
        counts["requests"] = _count(
            session,
            visible(IntegrationRequest, principal),
            asked_of(principal),
            most=MOST,
        )
    if principal.may(Permission.SOURCE_APPROVE):
        waits = sa.and_(Source.enabled, Source.approved_host == "")
        counts["sources"] = _count(session, visible(Source, principal), waits, most=MOST)
    return counts


def _count(
    session: Session, *conditions: sa.ColumnElement[bool], most: int | None = None
) -> int:
    some = sa.select(sa.literal(1)).where(*conditions).limit(most).subquery()
    return session.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _needs_somebody(principal: Principal) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions of runs of the last days that ended without their effect."""
    return (
        visible(JobRun, principal),
        JobRun.status.in_(TROUBLED),
        JobRun.created_at > sa.func.now() - sa.text("interval '7 days'"),
    )


def _set_aside_lately(principal: Principal) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions of records that the latest pull of each source set aside."""
    latest = (
        sa.select(PullRun.run_id)
        .where(visible(PullRun, principal))
        .ext(distinct_on(PullRun.source_id))
        .order_by(PullRun.source_id, PullRun.published_at.desc())
    )
    return visible(QuarantinedRecord, principal), QuarantinedRecord.run_id.in_(latest)


def overview(session: Session, principal: Principal) -> Overview:
    """Return what the first screen shows to this principal."""
    datasets = session.scalars(
        sa.select(Dataset).where(visible(Dataset, principal)).order_by(Dataset.title)
    ).all()
    attention = _count(session, *_needs_somebody(principal))
    quarantined = _count(session, *_set_aside_lately(principal))
    return Overview(
        dataset_count=len(datasets),
        row_count=sum(
            dataset.row_count
            for dataset in datasets
            if principal.agency_id in {None, dataset.agency_id}
        ),
        reader=principal.agency_id,
        attention_count=attention,
        quarantined_count=quarantined,
        datasets=datasets,
        runs=_latest(session, principal, JobRun, JobRun.created_at.desc()),
        due=session.scalars(
            sa.select(Schedule)
            .where(visible(Schedule, principal), Schedule.enabled)
            .order_by(Schedule.next_due_at)
            .limit(5)
        ).all(),
        exports=_latest(session, principal, ExportRun, ExportRun.created_at.desc()),
    )


def _latest(
    session: Session, principal: Principal, model: Any, order: Any
) -> Sequence[Any]:
    return session.scalars(
        sa.select(model).where(visible(model, principal)).order_by(order).limit(RECENT)
    ).all()
