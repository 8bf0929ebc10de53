"""The figures of the first screen, each within what the reader may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.core.policy import Principal
from app.core.scope import visible
from app.datasets.models import Dataset
from app.exports.models import ExportRun
from app.pulls.models import PullRun, QuarantinedRecord
from app.runs.models import JobRun, Schedule
from app.runs.states import RunStatus

RECENT = 8


@dataclass(frozen=True, slots=True)
class Overview:
    """Numbers and lists of the first screen."""

    dataset_count: int
    row_count: int
    attention_count: int
    quarantined_count: int
    datasets: Sequence[Dataset]
    runs: Sequence[JobRun]
    due: Sequence[Schedule]
    exports: Sequence[ExportRun]


def overview(session: Session, principal: Principal) -> Overview:
    """Return what the first screen shows to this principal."""
    datasets = session.scalars(
        sa.select(Dataset).where(visible(Dataset, principal)).order_by(Dataset.title)
    ).all()
    latest = (
        sa.select(PullRun.run_id)
        .where(visible(PullRun, principal))
        .ext(distinct_on(PullRun.source_id))
        .order_by(PullRun.source_id, PullRun.published_at.desc())
    )
    attention = session.scalar(
        sa.select(sa.func.count())
        .select_from(JobRun)
        .where(
            visible(JobRun, principal),
            JobRun.status.in_([RunStatus.HELD, RunStatus.FAILED, RunStatus.DEAD]),
            JobRun.created_at > sa.func.now() - sa.text("interval '7 days'"),
        )
    )
    quarantined = session.scalar(
        sa.select(sa.func.count())
        .select_from(QuarantinedRecord)
        .where(
            visible(QuarantinedRecord, principal),
            QuarantinedRecord.run_id.in_(latest),
        )
    )
    return Overview(
        dataset_count=len(datasets),
        row_count=sum(dataset.row_count for dataset in datasets),
        attention_count=attention or 0,
        quarantined_count=quarantined or 0,
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
