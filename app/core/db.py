"""Declarative base, engines, and sessions that take the principal's database role."""

import enum
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import event, orm
from sqlalchemy.dialects import postgresql

from app.core.line import PARAMETERS, SERVER_OPTIONS, Line
from app.core.policy import acting_principal
from config import Settings

# Every constraint has a predictable name, so a migration can drop it by name.
NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


LATE_SECONDS = 5.0  # behind its own limit, a statement of the web server is given up
PING_SECONDS = 5.0
REASON = "audit_reason"  # where a session keeps why it changes something


class Base(orm.DeclarativeBase):
    """Base of our own tables. Central tables are built from contracts, not from here."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {
        datetime: sa.DateTime(timezone=True),
        dict[str, Any]: postgresql.JSONB(none_as_null=True),
        list[Any]: postgresql.JSONB(none_as_null=True),
        str: sa.Text,
    }


class HasId:
    """A random key: tells nothing about how many there are or who came before."""

    id: orm.Mapped[UUID] = orm.mapped_column(primary_key=True, default=uuid4)


class Versioned:
    """Counts the changes of a row, so that nobody saves over one that they have not seen.

    An UPDATE names the number that was read: of two who changed the same row at once the
    second is refused (``StaleDataError``), however close they are. What is written past the
    ORM, by Core, does not count: a run's counters are no change that a person could lose.
    """

    row_version: orm.Mapped[int] = orm.mapped_column(server_default="1")

    @orm.declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy's
        return {"version_id_col": cls.row_version}


@event.listens_for(orm.Session, "before_flush")
def _count_parts(session: orm.Session, _context: Any, _objects: Any) -> None:
    """Count a change of a row's parts, its roles for example, as one of the row."""
    for obj in session.dirty:
        if isinstance(obj, Versioned) and _are_parts_changed(obj):
            obj.row_version += 1


def _are_parts_changed(obj: Any) -> bool:
    state = sa.inspect(obj)
    return any(
        state.attrs[each.key].history.has_changes()
        for each in state.mapper.relationships
        if each.uselist
    )


def choice(members: type[enum.StrEnum], name: str) -> sa.Enum:
    """Return a column type of an enum's values, checked by the constraint ``name``.

    Text and a named CHECK rather than a PostgreSQL enum: a new value is one migration line.
    """
    return sa.Enum(
        members,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=40,
        values_callable=lambda cls: [member.value for member in cls],
    )


class _Engines:
    app: sa.Engine | None = None
    owner: sa.Engine | None = None


def make_engine(url: str, *, statement_timeout_seconds: int = 0, **kw: Any) -> sa.Engine:
    """Return an engine whose connections give up instead of waiting for ever.

    With a limit for statements, a server that does not keep to it is given up soon after.
    """
    options = (
        f"-c statement_timeout={statement_timeout_seconds * 1000} "
        "-c lock_timeout=15000 -c idle_in_transaction_session_timeout=30000 "
        f"-c timezone=UTC {SERVER_OPTIONS}"
    )
    made = sa.create_engine(
        url,
        connect_args={"options": options, **PARAMETERS},
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text must not carry a person's data
        **kw,
    )
    limit = statement_timeout_seconds
    _limit_patience(made, limit + LATE_SECONDS if limit else None)
    return made


def _limit_patience(made: sa.Engine, longest: float | None) -> None:
    """Have the engine's lines wait no longer for an answer; while they rest, for no work."""

    @event.listens_for(made, "do_connect")
    def connect(_dialect: Any, _record: Any, args: Any, params: Any) -> Line:
        return Line.connect(*args, **params)

    @event.listens_for(made, "checkout")
    def lend(line: Line, *_: Any) -> None:
        line.patience = longest

    @event.listens_for(made, "checkin")
    def rest(line: Line | None, *_: Any) -> None:
        if line is not None:
            line.patience = PING_SECONDS  # the next word on it asks whether it lives


def bind(settings: Settings, *, app_engine: sa.Engine | None = None) -> None:
    """Point sessions at the databases of ``settings``; call once per process."""
    for former in (_Engines.app, _Engines.owner):
        if former is not None:
            former.dispose()
    _Engines.app = app_engine or make_engine(settings.database_url)
    _Engines.owner = make_engine(settings.migration_database_url, pool_size=1)


def engine() -> sa.Engine:
    """Return the application's engine; ``bind`` came before."""
    if _Engines.app is None:
        raise RuntimeError("core.db.bind() was not called")
    return _Engines.app


def after_fork() -> None:
    """Forget the parent's connections without closing them: they are the parent's."""
    for each in (_Engines.app, _Engines.owner):
        if each is not None:
            each.dispose(close=False)


_END_LISTENERS = sa.text(
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY(:pids)"
    " AND (state LIKE 'idle%' OR state = 'active' AND wait_event_type = 'Client')"
    # Not one that has just done its work: its answer may be on the way.
    " AND state_change < clock_timestamp() - make_interval(secs => :still)"
)


def hang_up_dead(lines: Iterable[Line], seconds: float) -> int:
    """End lines whose both ends wait for the other, the client for so long; return how many.

    A statement may take hours; what tells a lost word from a long work is that the server
    waits for *us*. Its end is ended too: it may hold locks. To be called from a thread that
    does not wait itself.
    """
    late = {each.info.backend_pid: each for each in lines if each.waits_since() > seconds}
    if not late:
        return 0
    with engine().connect() as connection:
        dead = connection.scalars(
            _END_LISTENERS, {"pids": list(late), "still": seconds / 2}
        ).all()
    ended = [late[pid] for pid in dead if late[pid].waits_since() > seconds]
    for each in ended:
        each.hang_up()
    return len(ended)


_TAKE_ROLE = (
    "SELECT set_config('role', :role, true),"
    " set_config('simpul.agency_id', :agency, true),"
    " set_config('simpul.user_id', :user, true)"
)
_TAKE_ROLE_DURABLY = sa.text(_TAKE_ROLE)
_TAKE_ROLE_IN_HASTE = sa.text(
    f"{_TAKE_ROLE}, set_config('synchronous_commit', 'off', true)"
)

# The tables' policies hold for their owner too, but for one who says so (migration 0017).
_SAY_OWNER = sa.text("SELECT set_config('simpul.owner', 'on', true)")
_ONLY_READ = sa.text("SELECT set_config('transaction_read_only', 'on', true)")


@event.listens_for(orm.Session, "after_begin")
def _take_role(
    session: orm.Session,
    transaction: orm.SessionTransaction,
    connection: sa.Connection,
) -> None:
    """Give each transaction the role of who acts; no principal, no transaction."""
    if transaction.nested:
        return
    if session.info.get("owner"):
        connection.execute(_SAY_OWNER)
        return
    principal = acting_principal()
    durable = session.info.get("durable", True)
    connection.execute(
        _TAKE_ROLE_DURABLY if durable else _TAKE_ROLE_IN_HASTE,
        {
            "role": principal.db_role.value,
            "agency": str(principal.agency_id or ""),
            "user": str(principal.user_id or ""),
        },
    )
    if principal.read_only:
        connection.execute(_ONLY_READ)


@contextmanager
def unit_of_work(
    connection: sa.Connection | None = None, *, durable: bool = True
) -> Iterator[orm.Session]:
    """Yield a session; commit what the block did, or none of it.

    A ``connection`` of the engine spares many small units the way to the pool. Without
    ``durable`` the commit does not wait for the disk: a power cut may undo it whole.
    """
    with (
        orm.Session(
            connection or engine(), expire_on_commit=False, info={"durable": durable}
        ) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def owner_unit_of_work() -> Iterator[orm.Session]:
    """Yield a session of the schema's owner, for contract DDL only. One transaction."""
    if _Engines.owner is None:
        raise RuntimeError("core.db.bind() was not called")
    with (
        orm.Session(
            _Engines.owner, expire_on_commit=False, info={"owner": True}
        ) as session,
        session.begin(),
    ):
        yield session


def because(session: orm.Session, reason: str) -> None:
    """Say why: the reason goes into every audit row of this transaction's changes."""
    session.info[REASON] = reason


def now(session: orm.Session) -> datetime:
    """Return the database's clock: the one clock that all processes share."""
    instant: datetime = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return instant
