"""One pull from beginning to end: pages to the stage, duplicates settled, gate, publish."""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from app.connectors.base import Page
from app.connectors.registry import ReadOrder
from app.core import db, faults
from app.core.words import message_id
from app.datasets.models import Dataset
from app.pulls import gate, poison, raw_pages
from app.pulls.answers import (
    FormerAnswer,
    forget_others,
    forget_records,
    page_starts,
)
from app.pulls.errors import (
    PublishedMeanwhileError,
    VersionChangedError,
)
from app.pulls.intake import PageReader
from app.pulls.plan import (
    Plan,
    Progress,
    advance_mark,
    order_of,
    read_plan,
    require_at_work,
    require_not_rolled_back,
)
from app.pulls.publish import (
    Merge,
    merge_stage,
    record_publish,
    settle_duplicates,
)
from app.pulls.stage import ReadPage, Stage, as_columns, quarantine
from app.runs.errors import HeldError
from app.runs.ledger import Lease
from app.runs.states import LogLevel

# Records of one run that are kept with their raw text; the counters count them all.
MAX_QUARANTINED = 10_000


Pages = Iterator[tuple[Page, dict[str, Any]]]


def pull(
    lease: Lease,
    read: Callable[[ReadOrder], Pages],
    approved_hosts: Sequence[str],
    time_zone: str,
) -> None:
    """Do one pull under ``lease``; every step goes on where an earlier attempt came to.

    ``read`` yields the pages of an order as ``Connector.pages`` does.
    """
    replayed: UUID | None = lease.params.replay_of
    with db.unit_of_work() as session:
        plan = read_plan(session, lease.params.source_id)
        require_not_rolled_back(session, plan.dataset_id, lease.run_id)
        if replayed is not None:
            raw_pages.require_whole(session, replayed)
    try:
        progress = _begin(lease, plan)
        if not progress.fetched:
            order = order_of(plan, progress, approved_hosts, time_zone)
            former = FormerAnswer(progress.former_run_id, lease.run_id)
            careful = lease.former_error in poison.SUSPICIOUS
            reader = PageReader(plan.fields, time_zone, former, careful=careful)
            pages = raw_pages.pages_of(replayed, order) if replayed else read(order)
            progress = _fetch(lease, plan, progress, pages, reader)
        if not progress.settled:
            progress = _settle(lease, plan, progress)
        _publish(lease, plan, progress)
    except (ProgrammingError, psycopg.errors.UndefinedTable) as error:
        # The stage is gone: a new version was activated under our feet. (COPY goes straight
        # to the driver, whose errors come unwrapped.)
        cause = getattr(error, "orig", error)
        if isinstance(cause, psycopg.errors.UndefinedTable):
            raise VersionChangedError from None
        raise


def _begin(lease: Lease, plan: Plan) -> Progress:
    """Return the progress of an earlier attempt, or clear the stage for a first one."""
    stage = Stage(plan.names, plan.fields)
    with db.unit_of_work() as session:
        lease.save(session)
        progress = _progress_of(lease, plan, session, stage)
        if progress is not None:
            lease.log_in(
                session,
                "Goes on after %(n)s records of an earlier attempt.",
                n=progress.read,
            )
            return progress
        progress = Progress(
            plan.version_id, plan.published_run_id, staged=0, question=plan.question
        )
        _save(lease, session, progress)
        stage.clear(session)
        session.execute(
            sa.text("DELETE FROM quarantined_record WHERE run_id = :run"),
            {"run": lease.run_id},
        )
        raw_pages.forget(session, lease.run_id)
        former = plan.published_run_id
        forget_others(session, plan.source_id, [former] if former else [])
    faults.point("cleared")
    return progress


def _progress_of(
    lease: Lease, plan: Plan, session: Session, stage: Stage
) -> Progress | None:
    """Return how far an earlier attempt came; None when nothing can be made of it."""
    if lease.checkpoint is None:
        return None
    try:
        progress = msgspec.convert(lease.checkpoint, Progress, strict=False)
    except msgspec.ValidationError:
        return None  # written by an older version, which counted otherwise
    truth = (plan.version_id, plan.published_run_id, plan.question)
    if (progress.version_id, progress.former_run_id, progress.question) != truth:
        return None
    # A crash of the server empties the stage.
    return progress if stage.row_count(session) == progress.staged else None


def _save(
    lease: Lease, session: Session, progress: Progress, total: int | None = None
) -> None:
    lease.save(
        session,
        checkpoint=msgspec.to_builtins(progress),
        done=progress.read,
        total=total,
        unit=message_id("records"),
    )


def _fetch(
    lease: Lease, plan: Plan, progress: Progress, pages: Pages, reader: PageReader
) -> Progress:
    """Bring page after page into the stage, each committed with its checkpoint."""
    is_whole = progress.position is None  # not the rest of what an earlier attempt read
    with (
        db.engine().connect() as connection,
        ThreadPoolExecutor(1, "simpul-stage") as background,
        _busy(),
    ):
        storing: Future[None] | None = None
        for page, position in pages:
            read = reader.read(page, progress.read)
            progress = msgspec.structs.replace(
                progress,
                position=position,
                read=progress.read + page.row_count,
                known=progress.known + read.known_count,
                staged=progress.staged + read.staged_count,
                rejected=progress.rejected + len(read.rejected),
            )
            if storing is not None:
                storing.result()
            # Stored at once, while the next page is decoded; in order, one at a time.
            work = _PageWork.of(lease, plan, progress, read, page)
            storing = background.submit(copy_context().run, work.store, connection)
        if storing is not None:
            storing.result()
    # An answer in the order of its keys, as most are, has none of them twice.
    settled = is_whole and reader.is_ordered
    progress = msgspec.structs.replace(progress, fetched=True, settled=settled)
    with db.unit_of_work() as session:
        _save(lease, session, progress, progress.read)
    faults.point("fetched")
    lease.log(
        "All pages are read: %(n)s records, %(known)s of them as they were published last.",
        n=progress.read,
        known=progress.known,
    )
    return progress


@dataclass(frozen=True, slots=True)
class _PageWork:
    """A page on its way to the stage, and the progress that counts it."""

    lease: Lease
    plan: Plan
    progress: Progress
    page: ReadPage
    aside: dict[str, list[Any]]
    raw: Page

    @classmethod
    def of(
        cls,
        lease: Lease,
        plan: Plan,
        progress: Progress,
        page: ReadPage,
        raw: Page,
    ) -> Self:
        """Prepare all that storing does not have to do itself: the next page waits for it."""
        room = max(MAX_QUARANTINED - progress.rejected + len(page.rejected), 0)
        aside = as_columns([(page.index, bad) for bad in page.rejected[:room]])
        return cls(lease, plan, progress, page, aside, raw)

    def store(self, connection: sa.Connection) -> None:
        """Commit the page's rows together with their checkpoint.

        In a power cut they are lost together and read again: no need to wait for the disk
        here. Publish waits.
        """
        with db.unit_of_work(connection, durable=False) as session:
            _save(self.lease, session, self.progress, self.raw.declared_total)
            Stage(self.plan.names, self.plan.fields).add(session, self.page)
            raw_pages.keep(
                session,
                self.lease.run_id,
                self.plan.source_id,
                self.raw,
                self.page.digests,
            )
            self._set_aside(session)
            faults.point("page_written")
        faults.point("page_committed")

    def _set_aside(self, session: Session) -> None:
        before = self.progress.rejected - len(self.page.rejected)
        quarantine(session, self.lease.run_id, self.aside, **self.plan.owner)
        if before < MAX_QUARANTINED <= self.progress.rejected:
            self.lease.log_in(
                session,
                "More than %(n)s records broke the contract: the rest is counted, not kept.",
                level=LogLevel.WARNING,
                n=MAX_QUARANTINED,
            )


@contextmanager
def _busy() -> Iterator[None]:
    """Suit the interpreter to two threads that turn pages over.

    A page is many tuples and no cycles: the garbage collector may look less often. The
    thread that talks to the database must not wait long for its turn after each answer.
    """
    collections, turns = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(500_000, *collections[1:])
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        gc.set_threshold(*collections)
        sys.setswitchinterval(turns)


def _merge_of(plan: Plan, progress: Progress) -> Merge:
    return Merge(
        plan.names,
        plan.fields,
        plan.load_mode,
        read=progress.read,
        known=progress.known,
        fresh=progress.fresh,
    )


def _settle(lease: Lease, plan: Plan, progress: Progress) -> Progress:
    """Deal with keys that came twice, in a transaction of its own: what a gate holds
    back later can still be looked at.
    """
    with db.unit_of_work() as session:
        lease.save(session)
        found = settle_duplicates(
            session, _merge_of(plan, progress), page_starts(session, lease.run_id)
        )
        room = max(MAX_QUARANTINED - progress.rejected, 0)
        aside = as_columns(found.conflicting[:room])
        quarantine(session, lease.run_id, aside, **plan.owner)
        forget_records(session, lease.run_id, found.unpublished)
        progress = msgspec.structs.replace(
            progress,
            known=progress.known - found.filled,
            repeated=len(found.dropped),
            rejected=progress.rejected + len(found.conflicting),
            staged=progress.staged - len(found.dropped),
            settled=True,
        )
        _save(lease, session, progress, progress.read)
        faults.point("settled_written")
    faults.point("settled")
    return progress


def _publish(lease: Lease, plan: Plan, progress: Progress) -> None:
    """Merge the stage into the central table and end the run, in one transaction."""
    with db.unit_of_work() as session:
        # Claims the run's row and then the dataset: nobody else publishes meanwhile, and
        # the numbers of the change feed appear in the order in which they are committed.
        lease.save(session)
        dataset = session.execute(
            sa.select(Dataset.version_id, Dataset.row_count, Dataset.published_run_id)
            .where(Dataset.id == plan.dataset_id)
            .with_for_update()
        ).one()
        # What a person decided meanwhile holds: nothing is published against it.
        require_at_work(session, plan.source_id)
        require_not_rolled_back(session, plan.dataset_id, lease.run_id)
        if dataset.version_id != plan.version_id:
            raise VersionChangedError
        if dataset.published_run_id != progress.former_run_id:
            raise PublishedMeanwhileError
        faults.point("publish_begun")
        if progress.rejected:
            lease.log_in(
                session,
                "%(n)s records broke the contract and were set aside.",
                level=LogLevel.WARNING,
                n=progress.rejected,
            )
        try:
            # What a gate holds back is undone, and the hold written, in one transaction:
            # in between nobody can take the run for lost.
            with session.begin_nested():
                counts = _merge(session, lease, plan, progress, dataset.row_count)
        except HeldError as held:
            lease.hold(session, held)
            return
        faults.point("merged")
        advance_mark(session, plan, progress)
        _close(session, lease, plan, counts)
        faults.point("published_written")
    faults.point("published")


def _merge(
    session: Session, lease: Lease, plan: Plan, progress: Progress, alive: int
) -> gate.Counts:
    """Merge the stage and count; raises ``HeldError`` when the gate stops the pull."""
    merged = merge_stage(session, _merge_of(plan, progress), lease.run_id, alive)
    good = progress.read - progress.rejected - progress.repeated
    counts = replace(
        merged,
        read=progress.read,
        rejected=progress.rejected,
        repeated=progress.repeated,
        unchanged=good - merged.inserted - merged.changed,
        alive=alive,
    )
    gate.check(
        counts,
        max_rejected_percent=plan.max_rejected_percent,
        max_vanished_percent=plan.max_vanished_percent,
        accepted=frozenset(lease.params.accepted),
    )
    return counts


def _close(session: Session, lease: Lease, plan: Plan, counts: gate.Counts) -> None:
    """Write counters and the dataset's state, empty the stage and end the run."""
    numbers = record_publish(
        session,
        lease.run_id,
        counts,
        dataset_id=plan.dataset_id,
        version_id=plan.version_id,
        source_id=plan.source_id,
        agency_id=plan.agency_id,
    )
    lease.log_in(
        session,
        "Published: %(inserted)s new, %(changed)s changed, %(unchanged)s unchanged,"
        " %(vanished)s vanished.",
        inserted=counts.inserted,
        changed=counts.changed,
        unchanged=counts.unchanged,
        vanished=counts.vanished,
    )
    Stage(plan.names, plan.fields).clear(session)
    forget_others(session, plan.source_id, [lease.run_id])
    lease.succeed(session, numbers)
