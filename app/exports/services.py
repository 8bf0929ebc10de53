"""Everything that makes and hands out exports."""

import re
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit import recorder
from app.core import clock, db
from app.core.policy import Permission, acting_principal, request_id
from app.core.scope import NotFoundError, get_visible, visible
from app.core.store import Store
from app.core.words import message_id
from app.datasets.models import Dataset
from app.datasets.queries import agreement_of
from app.exports.errors import (
    ClosedError,
    ExpiredError,
    NotAllowedError,
    NothingToExportError,
)
from app.exports.models import ExchangeLog, ExportRun
from app.exports.workbook import Contents, write_workbook
from app.identity.models import User
from app.identity.principals import principal_of
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.office.queries import office_name as named_office
from app.runs.kinds import ExportParams, KindName
from app.runs.ledger import Lease
from app.runs.models import JobRun
from app.runs.services import Order, request_run
from app.runs.states import ACTIVE

# Twice the longest time a run may be given: nobody writes to what is older.
STRAY_SECONDS = 2 * 86_400.0


def request_export(session: Session, dataset: Dataset) -> ExportRun:
    """Ask for an Excel file of a dataset, for the acting person alone."""
    principal = acting_principal()
    if principal.user_id is None:
        raise NotFoundError
    if dataset.published_at is None:
        raise NothingToExportError
    export = ExportRun(
        user_id=principal.user_id, agency_id=principal.agency_id, dataset_id=dataset.id
    )
    export.agreement_id = _agreement_id(session, dataset, principal.agency_id)
    session.add(export)
    session.flush()  # its id is the run's parameter
    export.run_id = request_run(
        session,
        Order(
            kind=KindName.EXPORT,
            key=f"dataset:{dataset.id}:user:{principal.user_id}",
            params=ExportParams(export_id=export.id),
            label=f"{dataset.title} (Excel)",
            agency_id=principal.agency_id,
        ),
    )
    recorder.record(session, "export", dataset, after={"export": str(export.id)})
    return export


def _agreement_id(
    session: Session, dataset: Dataset, agency_id: UUID | None
) -> UUID | None:
    """Return what opens a dataset to somebody; None where nothing needs to.

    Raises ``NotFoundError`` for an agency that it is not open to.
    """
    if agency_id is None or agency_id == dataset.agency_id:
        return None
    agreement = agreement_of(session, dataset, agency_id)
    if agreement is None:
        raise NotFoundError
    return agreement.id


def store_of(home: Path) -> Store:
    """Return the store of exports: a folder of its own, so that tidying it harms no other."""
    return Store(home / "exports")


def export(
    lease: Lease, home: Path, *, days: int, time_zone: str, office_name: str = ""
) -> None:
    """Write the file of ``lease.params`` and end the run with it.

    ``days`` is how long it may be fetched. Raises ``NotAllowedError`` when its owner may no
    longer have the data, and what ``write_workbook`` raises.
    """
    store = store_of(home)
    with db.unit_of_work() as session:
        lease.save(session)
        asked = session.get_one(ExportRun, lease.params.export_id)
        dataset_id = asked.dataset_id
        if not _is_still_allowed(session, asked):
            raise NotAllowedError
        owner = f"{asked.user.name} <{asked.user.email}>"
        agreement_id = asked.agreement_id
        office = named_office(session, office_name)
    with store.part() as part:
        contents = write_workbook(
            part,
            dataset_id,
            lease,
            agreement_id=agreement_id,
            requested_by=owner,
            time_zone=time_zone,
            office_name=office,
        )
        stored = store.keep(part)
    with db.unit_of_work() as session:
        lease.save(
            session,
            done=contents.row_count,
            total=contents.row_count,
            unit=message_id("rows"),
        )
        asked = session.get_one(ExportRun, lease.params.export_id)
        # Writing took its time: who may not have it now does not get it either.
        if not _is_still_allowed(session, asked):
            raise NotAllowedError
        asked.file_key, asked.file_sha256 = stored.key, stored.sha256
        asked.file_bytes = stored.byte_count
        asked.row_count, asked.csv_sha256 = contents.row_count, contents.csv_sha256
        asked.file_name = file_name(contents, time_zone)
        asked.expires_at = db.now(session) + timedelta(days=days)
        lease.log_in(
            session,
            "The file is ready: %(rows)s rows, %(bytes)s bytes.",
            rows=contents.row_count,
            bytes=stored.byte_count,
        )
        notices.tell(
            session,
            NoticeKind.EXPORT_READY,
            message_id("The file of %(name)s is ready: %(rows)s rows."),
            {"name": asked.dataset.title, "rows": contents.row_count},
            path="/downloads/",
            user_id=asked.user_id,
        )
        lease.succeed(session, {"rows": contents.row_count, "bytes": stored.byte_count})


def _is_still_allowed(session: Session, asked: ExportRun) -> bool:
    """Tell whether a file's owner may have what is in it, as of now.

    The worker's role reads everything, so the right of the person is asked for here: active,
    allowed to export, of the office, of the agency that owns the data, or of one that the
    very agreement of the file still opens it to. Also for a run that somebody else has
    retried: the file goes to who asked first.
    """
    user = session.get_one(User, asked.user_id, populate_existing=True)
    permissions = principal_of(user).permissions
    is_active = user.active and (user.agency is None or user.agency.active)
    if not is_active or Permission.DATASET_EXPORT not in permissions:
        return False
    try:
        return _agreement_id(session, asked.dataset, user.agency_id) == asked.agreement_id
    except NotFoundError:
        return False


def file_name(contents: Contents, time_zone: str) -> str:
    """Return the name under which a browser saves it: dataset and moment, plain letters."""
    plain = re.sub(r"[^a-z0-9]+", "-", contents.slug.lower()).strip("-")
    moment = clock.in_zone(contents.as_of, time_zone).strftime("%Y%m%d-%H%M")
    return f"{plain}-{moment}.xlsx"


def hand_out(session: Session, ident: str, home: Path) -> tuple[ExportRun, Path]:
    """Return a ready file for its owner and log the handing out: no log, no file.

    Raises ``NotFoundError`` for anybody else's, ``ExpiredError`` for one past its time,
    ``ClosedError`` for one of rows that are not open any more.
    """
    principal = acting_principal()
    found = get_visible(session, ExportRun, ident, principal)
    if not found.file_key:
        raise NotFoundError
    # An agency does not see the dataset any more once the agreement ended.
    if found.dataset is None or not _is_still_allowed(session, found):
        raise ClosedError
    path = store_of(home).path(found.file_key)
    if (
        found.expires_at is None
        or found.expires_at <= db.now(session)
        or not path.exists()
    ):
        raise ExpiredError
    session.add(
        ExchangeLog(
            channel="xlsx",
            user_id=principal.user_id,
            agency_id=principal.agency_id,
            producer_id=found.dataset.agency_id,
            dataset_id=found.dataset_id,
            agreement=found.agreement.number if found.agreement else "",
            run_id=found.run_id,
            row_count=found.row_count,
            byte_count=found.file_bytes,
            file_sha256=found.file_sha256,
            request_id=request_id(),
        )
    )
    return found, path


def pending_count(session: Session) -> int:
    """Return how many of the acting person's exports are still being made."""
    return (
        session.scalar(
            sa.select(sa.func.count())
            .select_from(ExportRun)
            .join(JobRun, JobRun.id == ExportRun.run_id)
            .where(visible(ExportRun, acting_principal()), JobRun.status.in_(ACTIVE))
        )
        or 0
    )


def remove_expired(session: Session, home: Path) -> int:
    """Delete files past their time (their rows stay); return how many."""
    store = store_of(home)
    expired = session.scalars(
        sa.select(ExportRun).where(
            ExportRun.file_key != "", ExportRun.expires_at < sa.func.now()
        )
    ).all()
    for each in expired:
        if not _is_needed(session, each.file_key, besides=each.id):
            store.remove(each.file_key)
        each.file_key = ""
    return len(expired)


def remove_strays(session: Session, home: Path) -> tuple[int, int]:
    """Delete what no row will ever name: parts of dead writers, files without an export.

    Only what is older than any run may last. Returns how many parts and how many files.
    """
    store = store_of(home)
    age = {"older_than_seconds": STRAY_SECONDS, "now": db.now(session).timestamp()}
    parts = list(store.old_parts(**age))
    for part in parts:
        part.unlink(missing_ok=True)
    keys = list(store.old_keys(**age))
    known = set(
        session.scalars(sa.select(ExportRun.file_key).where(ExportRun.file_key != ""))
    )
    strays = [key for key in keys if key not in known]
    for key in strays:
        store.remove(key)
    return len(parts), len(strays)


def _is_needed(session: Session, key: str, *, besides: UUID) -> bool:
    """Tell whether another live export has the same content."""
    return bool(
        session.scalar(
            sa.select(
                sa.exists().where(
                    ExportRun.file_key == key,
                    ExportRun.id != besides,
                    ExportRun.expires_at >= sa.func.now(),
                )
            )
        )
    )
