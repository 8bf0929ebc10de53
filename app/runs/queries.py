"""Questions about runs, for pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.core.policy import Principal
from app.core.scope import visible
from app.runs.models import JobRun, RunLog
from app.runs.states import RunStatus

PAGE_SIZE = 25


def is_superseded(session: Session, run: JobRun) -> bool:
    """Tell whether the same work has been asked for again since this run."""
    newer = sa.exists().where(
        JobRun.kind == run.kind,
        JobRun.key == run.key,
        JobRun.created_at > run.created_at,
        JobRun.status != RunStatus.SKIPPED,
    )
    return bool(session.scalar(sa.select(newer)))


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a list of runs is narrowed to; empty means all."""

    kind: str = ""
    status: str = ""
    search: str = ""


def runs_page(
    session: Session, principal: Principal, chosen: RunFilter, page: int
) -> tuple[Sequence[JobRun], int]:
    """Return one page of runs, newest first, and how many there are in all."""
    wanted = [visible(JobRun, principal)]
    if chosen.kind:
        wanted.append(JobRun.kind == chosen.kind)
    if chosen.status:
        wanted.append(JobRun.status == chosen.status)
    if chosen.search:
        wanted.append(JobRun.label.icontains(chosen.search, autoescape=True))
    count = session.scalar(sa.select(sa.func.count()).select_from(JobRun).where(*wanted))
    rows = session.scalars(
        sa.select(JobRun)
        .where(*wanted)
        .order_by(JobRun.created_at.desc(), JobRun.id)
        .limit(PAGE_SIZE)
        .offset(page * PAGE_SIZE)
    ).all()
    return rows, count or 0


def log_of(session: Session, run_id: UUID, *, limit: int = 500) -> Sequence[RunLog]:
    """Return the last lines of a run's log, oldest of them first."""
    newest = session.scalars(
        sa.select(RunLog)
        .where(RunLog.run_id == run_id)
        .order_by(RunLog.id.desc())
        .limit(limit)
    ).all()
    return newest[::-1]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run goes: units per second, and seconds left where a total is known."""

    per_second: float | None
    seconds_left: float | None
    seconds: float | None


def pace_of(run: JobRun, now: datetime) -> Pace:
    """Work out rate and time left from progress and start."""
    if run.started_at is None:
        return Pace(None, None, None)
    seconds = ((run.finished_at or now) - run.started_at).total_seconds()
    if seconds <= 0 or not run.progress_done:
        return Pace(None, None, max(seconds, 0))
    rate = run.progress_done / seconds
    left = None
    if run.progress_total and run.status is RunStatus.RUNNING:
        left = max(run.progress_total - run.progress_done, 0) / rate
    return Pace(rate, left, seconds)
