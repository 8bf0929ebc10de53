"""The trash: what goes there, whole and with its parts, how it comes back, when it is emptied.

The rows are really taken out of their tables: nothing that reads those, no list, key,
schedule or run, can meet what is in the trash, and the database's own foreign keys say
what is still in use. What has left traces does not go: it is switched off.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import psycopg.errors
import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.exc import IntegrityError

from app.api.models import ApiClient, ApiGrant, ApiKey
from app.audit import recorder
from app.audit.models import AuditEvent
from app.contracts.models import Contract, ContractVersion
from app.core import db
from app.core.db import Base, because
from app.core.policy import Permission, acting_principal
from app.core.sql import quote
from app.core.words import message_id
from app.exports.models import ExchangeLog
from app.history.errors import (
    HasActedError,
    NotRestorableError,
    OneselfError,
    StandsInTrashError,
    StillUsedError,
)
from app.history.models import Trashed
from app.identity.models import Agency, Duty, Passkey, User
from app.office.models import Holiday
from app.pulls.services import schedule_of
from app.runs.errors import AlreadyActiveError, BadScheduleError, ReasonMissingError
from app.runs.models import JobRun, Schedule
from app.runs.services import save_schedule
from app.runs.states import ACTIVE
from app.sources.models import Source
from app.sources.services import save_source


def _no_parts(_session: orm.Session, _obj: Any) -> Sequence[Any]:
    return ()


def _nothing(_session: orm.Session, _obj: Any) -> None:
    """Nothing to refuse, or to put in order."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object that may go to the trash.

    ``parts`` go with it, parents first; ``refuse`` raises for one that must stay;
    ``settle`` puts one in order that has come back, by the rules of its room.
    """

    model: type[Any]
    read: Permission
    write: Permission
    parts: Callable[[orm.Session, Any], Sequence[Any]] = _no_parts
    refuse: Callable[[orm.Session, Any], None] = _nothing
    settle: Callable[[orm.Session, Any], None] = _nothing


def _refuse_acted(session: orm.Session, user: User) -> None:
    if user.id == acting_principal().user_id:
        raise OneselfError
    acted = sa.select(
        sa.or_(
            sa.exists().where(AuditEvent.actor_id == user.id),
            sa.exists().where(JobRun.requested_by_id == user.id),
            sa.exists().where(ExchangeLog.user_id == user.id),
        )
    )
    if session.scalar(acted):
        raise HasActedError


def _keys_and_duties(session: orm.Session, user: User) -> list[Any]:
    return [
        *session.scalars(sa.select(Passkey).where(Passkey.user_id == user.id)),
        *session.scalars(sa.select(Duty).where(Duty.user_id == user.id)),
    ]


def _end_sessions(_session: orm.Session, user: User) -> None:
    """Who comes back logs in anew: a cookie of before opens nothing."""
    user.fs_uniquifier = uuid4().hex


def _versions(session: orm.Session, contract: Contract) -> list[Any]:
    versions = session.scalars(
        sa.select(ContractVersion)
        .where(ContractVersion.contract_id == contract.id)
        .order_by(ContractVersion.number)
    ).all()
    return [part for each in versions for part in (each, *each.fields)]


def _refuse_at_work(session: orm.Session, contract_id: Any) -> None:
    working = sa.exists().where(
        JobRun.key == f"contract:{contract_id}", JobRun.status.in_(ACTIVE)
    )
    if session.scalar(sa.select(working)):
        raise AlreadyActiveError


def _schedule(session: orm.Session, source: Source) -> list[Any]:
    schedule = schedule_of(session, source)
    return [schedule] if schedule is not None else []


def _settle_schedule(session: orm.Session, schedule: Schedule) -> None:
    """Wait for the next slot from now on; one whose last day is over comes back switched off."""
    same = sa.exists().where(
        Schedule.kind == schedule.kind,
        Schedule.params == schedule.params,
        Schedule.id != schedule.id,
    )
    if session.scalar(sa.select(same)):
        raise NotRestorableError(
            "Another schedule does its work by now: move that to the trash first."
        )
    try:
        save_schedule(session, schedule)
    except BadScheduleError:
        schedule.enabled = False
        save_schedule(session, schedule)


def _settle_source(session: orm.Session, source: Source) -> None:
    save_source(session, source, source.settings, secrets={})


def _access(session: orm.Session, client: ApiClient) -> list[Any]:
    return [
        *session.scalars(sa.select(ApiKey).where(ApiKey.client_id == client.id)),
        *session.scalars(sa.select(ApiGrant).where(ApiGrant.client_id == client.id)),
    ]


def _refuse_used(session: orm.Session, client: ApiClient) -> None:
    if session.scalar(sa.select(sa.exists().where(ExchangeLog.client_id == client.id))):
        raise HasActedError


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.model.__tablename__: kind
        for kind in (
            Kind(Agency, Permission.AGENCY_READ, Permission.AGENCY_WRITE),
            Kind(Holiday, Permission.REQUEST_READ, Permission.OFFICE_WRITE),
            Kind(
                User,
                Permission.USER_READ,
                Permission.USER_WRITE,
                parts=_keys_and_duties,
                refuse=_refuse_acted,
                settle=_end_sessions,
            ),
            Kind(
                Contract,
                Permission.CONTRACT_READ,
                Permission.CONTRACT_WRITE,
                parts=_versions,
                refuse=lambda session, contract: _refuse_at_work(session, contract.id),
            ),
            Kind(
                Source,
                Permission.SOURCE_READ,
                Permission.SOURCE_WRITE,
                parts=_schedule,
                refuse=lambda s, source: _refuse_at_work(s, source.contract_id),
                settle=_settle_source,
            ),
            Kind(
                Schedule,
                Permission.SCHEDULE_READ,
                Permission.SCHEDULE_WRITE,
                settle=_settle_schedule,
            ),
            Kind(
                ApiClient,
                Permission.API_READ,
                Permission.API_WRITE,
                parts=_access,
                refuse=_refuse_used,
            ),
            Kind(ApiGrant, Permission.API_READ, Permission.API_WRITE),
        )
    }
)
# What rows of other tables are called, where they keep an object from the trash.
_USERS: Mapping[str, str] = MappingProxyType(
    {
        "user": message_id("person"),
        "duty": message_id("duty for somebody"),
        "contract": message_id("contract"),
        "contract_version": message_id("contract version"),
        "source": message_id("source"),
        "schedule": message_id("schedule"),
        "dataset": message_id("dataset"),
        "job_run": message_id("run"),
        "pull_run": message_id("pull"),
        "api_client": message_id("API client"),
        "api_grant": message_id("API grant"),
        "export_run": message_id("download"),
    }
)


# Only the worker reads these; the foreign key itself keeps what they know.
_UNREAD = frozenset({"answer_page"})


def require_trashable(session: orm.Session, obj: Any) -> list[Any]:
    """Return the parts that would go with an object; raises for one that must stay."""
    kind = KINDS[obj.__tablename__]
    kind.refuse(session, obj)
    parts = list(kind.parts(session, obj))
    going = [obj, *parts]
    for each in going:
        _require_unused(session, each, going)
    return parts


def _require_unused(session: orm.Session, obj: Any, going: Sequence[Any]) -> None:
    for table, column in _references(obj.__tablename__):
        leaving = [each.id for each in going if each.__tablename__ == table.name]
        rows = sa.select(sa.func.count()).where(column == obj.id)
        if leaving:
            rows = rows.where(table.columns.id.not_in(leaving))
        count = session.scalar(rows) or 0
        if count:
            raise StillUsedError(count, _USERS.get(table.name, message_id("record")))


def _references(name: str) -> Iterator[tuple[sa.Table, sa.Column[Any]]]:
    """Yield the columns of other tables that keep a row of a table where it is.

    Not its own lists, nor what is gone with it by itself: a person's log-ins and notices.
    """
    unread = {*_lists_of(name), *(Base.metadata.tables[each] for each in _UNREAD)}
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            goes_along = key.ondelete is not None and table.name != Duty.__tablename__
            if key.column.table.name == name and table not in unread and not goes_along:
                yield table, key.parent


def _lists_of(name: str) -> list[Any]:
    """Return the tables without a class that belong to a table's rows: a person's roles."""
    mapper = next(m for m in Base.registry.mappers if m.class_.__tablename__ == name)
    return [
        each.secondary
        for each in mapper.relationships
        if isinstance(
            each.secondary, sa.Table
        )  # not what is worked out: roles held for somebody
    ]


class Row(NamedTuple):
    """One row as the database writes it."""

    table: str
    values: dict[str, Any]


def move_to_trash(session: orm.Session, obj: Any, reason: str) -> Trashed:
    """Take an object out of its table, with its parts; raises for one that must stay."""
    if not reason:
        raise ReasonMissingError
    session.refresh(obj, with_for_update={"of": type(obj)})
    going = [obj, *require_trashable(session, obj)]
    because(session, reason)
    rows = [row for each in going for row in _rows_of(session, each)]
    trashed = Trashed(
        object_type=obj.__tablename__,
        object_id=str(obj.id),
        label=str(obj),
        agency_id=obj.id if isinstance(obj, Agency) else getattr(obj, "agency_id", None),
        rows=[[row.table, row.values] for row in rows],
        names=sorted({name for row in rows for name in _names_in(row)}),
        trashed_by=acting_principal().label,
        reason=reason,
    )
    for each in reversed(going):
        session.delete(each)
    session.flush()
    session.add(trashed)
    session.flush()
    return trashed


def _rows_of(session: orm.Session, obj: Any) -> Iterator[Row]:
    table = obj.__tablename__
    yield from _read(session, table, "id", obj.id)
    for each in _lists_of(table):
        key = next(k for k in each.foreign_keys if k.column.table.name == table)
        yield from _read(session, each.name, key.parent.name, obj.id)


def _read(session: orm.Session, table: str, column: str, value: Any) -> Iterator[Row]:
    found = session.scalars(
        sa.text(
            f"SELECT to_jsonb(t) FROM {quote(table)} t WHERE {quote(column)} = :value"
        ),
        {"value": value},
    )
    return (Row(table, values) for values in found)


def _unique(table: str) -> Iterator[list[str]]:
    """Yield the columns of each unique constraint but the secret ones."""
    found = Base.metadata.tables[table]
    for each in found.constraints:
        if isinstance(each, sa.UniqueConstraint) and not any(
            column.info.get("secret") for column in each.columns
        ):
            yield [column.name for column in each.columns]


def _names_in(row: Row) -> Iterator[str]:
    """Yield a row's unique values as one text each."""
    if row.table not in KINDS:
        return
    for columns in _unique(row.table):
        yield _name(row.table, {name: row.values.get(name) for name in columns})


def _name(table: str, values: Mapping[str, Any]) -> str:
    return f"{table} {msgspec.json.encode(values, enc_hook=str, order='sorted').decode()}"


def restore(session: orm.Session, trashed: Trashed, reason: str) -> Any:
    """Bring an object back, whole; raises ``NotRestorableError`` and what its rules refuse."""
    if not reason:
        raise ReasonMissingError
    session.refresh(trashed, with_for_update=True)  # of two who do this one comes late
    because(session, reason)
    rows = [Row(*each) for each in trashed.rows]
    session.delete(trashed)
    session.flush()
    try:
        with session.begin_nested():
            for row in rows:
                _write(session, row)
    except IntegrityError as error:
        raise _refusal(error) from None
    objects = [
        session.get_one(KINDS[row.table].model, row.values["id"])
        for row in rows
        if row.table in KINDS
    ]
    for each in objects:
        KINDS[each.__tablename__].settle(session, each)
    recorder.record(session, "restore", objects[0])
    session.flush()
    return objects[0]


def _refusal(error: IntegrityError) -> NotRestorableError:
    if isinstance(error.orig, psycopg.errors.ForeignKeyViolation):
        return NotRestorableError(
            "What it belongs to is not there any more: bring that back first."
        )
    return NotRestorableError(
        "Something else has its name, code or e-mail by now: change that first."
    )


def _write(session: orm.Session, row: Row) -> None:
    """Write a row again; columns that are new since then have their defaults."""
    known = {c.key for c in Base.metadata.tables[row.table].columns if not c.computed}
    columns = ", ".join(quote(name) for name in row.values if name in known)
    session.execute(
        sa.text(
            f"INSERT INTO {quote(row.table)} ({columns}) SELECT {columns}"
            f" FROM jsonb_populate_record(NULL::{quote(row.table)}, CAST(:row AS jsonb))"
        ),
        {"row": msgspec.json.encode(row.values).decode()},
    )


def empty(session: orm.Session, days: int) -> int:
    """Forget what has lain in the trash for so many days; return how many that was."""
    old = session.scalars(
        sa.select(Trashed)
        .where(Trashed.trashed_at < db.now(session) - timedelta(days=days))
        .with_for_update(skip_locked=True)
    ).all()
    for each in old:
        recorder.record(
            session,
            "empty",
            each,
            before={"object_type": each.object_type, "object_id": each.object_id},
        )
        session.delete(each)
    return len(old)


@event.listens_for(orm.Session, "after_flush")
def _refuse_taken_names(session: orm.Session, _context: Any) -> None:
    """Keep the names of what is in the trash for it: or it could not come back."""
    names = [
        name
        for obj in (*session.new, *session.dirty)
        if obj.__tablename__ in KINDS
        for name in _new_names(obj)
    ]
    if not names:
        return
    stands = sa.select(Trashed.label).where(Trashed.names.overlap(names)).limit(1)
    label = session.connection().scalar(stands)
    if label is not None:
        raise StandsInTrashError(label)


def _new_names(obj: Any) -> Iterator[str]:
    state = sa.inspect(obj)
    for columns in _unique(obj.__tablename__):
        if any(state.attrs[name].history.added for name in columns):
            values = {name: getattr(obj, name) for name in columns}
            yield _name(obj.__tablename__, values)
