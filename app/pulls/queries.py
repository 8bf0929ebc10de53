"""Questions about what pulls set aside."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.models import ContractVersion
from app.contracts.states import VersionStatus
from app.core.policy import Principal
from app.core.scope import visible
from app.pulls.models import PullRun, QuarantinedRecord, RawPage
from app.runs.kinds import KindName
from app.runs.models import JobRun
from app.sources.models import Source


def has_active_version(session: Session, contract_id: UUID) -> bool:
    """Tell whether there is something that pulls could fill."""
    active = sa.exists().where(
        ContractVersion.contract_id == contract_id,
        ContractVersion.status == VersionStatus.ACTIVE,
    )
    return bool(session.scalar(sa.select(active)))


def reasons_of(
    session: Session, principal: Principal, run_id: UUID
) -> Sequence[tuple[str, str, int]]:
    """Return (field, code, how many) of one run's records set aside, most frequent first."""
    error = sa.func.jsonb_array_elements(QuarantinedRecord.errors).table_valued(
        "value", name="e", joins_implicitly=True
    )
    value = sa.cast(sa.column("value"), sa.dialects.postgresql.JSONB)
    field, code = value["field"].astext, value["code"].astext
    rows = session.execute(
        sa.select(field, code, sa.func.count())
        .select_from(QuarantinedRecord, error)
        .where(QuarantinedRecord.run_id == run_id, visible(QuarantinedRecord, principal))
        .group_by(field, code)
        .order_by(sa.func.count().desc())
        .limit(20)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def sources_seen(session: Session, principal: Principal) -> Sequence[Source]:
    return session.scalars(
        sa.select(Source).where(visible(Source, principal)).order_by(Source.name)
    ).all()


def replayable_runs(
    session: Session, principal: Principal, source_id: UUID
) -> Sequence[JobRun]:
    """Return runs of a source whose answer is kept and that no later publish has passed.

    For the office alone: what is kept is raw.
    """
    if not principal.is_office:
        return ()
    published = sa.select(sa.func.max(PullRun.published_at)).where(
        PullRun.source_id == source_id
    )
    since = sa.func.coalesce(published.scalar_subquery(), sa.text("'-infinity'"))
    kept = sa.exists().where(RawPage.run_id == JobRun.id)
    return session.scalars(
        sa.select(JobRun)
        .where(
            visible(JobRun, principal),
            JobRun.kind == KindName.PULL,
            JobRun.params["source_id"].astext == str(source_id),
            JobRun.checkpoint["fetched"].as_boolean(),
            JobRun.finished_at >= since,
            kept,
        )
        .order_by(JobRun.created_at.desc())
        .limit(5)
    ).all()


def last_pulls(
    session: Session, principal: Principal, source_id: UUID, *, limit: int = 10
) -> Sequence[PullRun]:
    """Return the latest published pulls of a source with their counters."""
    return session.scalars(
        sa.select(PullRun)
        .where(PullRun.source_id == source_id, visible(PullRun, principal))
        .order_by(PullRun.published_at.desc())
        .limit(limit)
    ).all()
