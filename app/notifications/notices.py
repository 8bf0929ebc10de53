"""Telling people: what happened is written down here, and spread to them by the scheduler."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.notifications.kinds import KINDS, Kind
from app.notifications.models import Notice, NoticePreference, Notification
from app.notifications.states import NoticeKind, Wish

KEEP = timedelta(days=90)
PAGE = 50
_TABLE: Any = Notice.__table__
# What the bell can do; a digest is a mail.
IN_APP_WISHES = (Wish.ALWAYS, Wish.PROBLEM, Wish.NEVER)


def tell(
    session: Session,
    kind: NoticeKind,
    message: str,
    params: Mapping[str, Any],
    *,
    path: str,
    user_id: UUID | None = None,
    agency_id: UUID | None = None,
    roles: Collection[str] = (),
) -> None:
    """Write down that people are to be told, in the transaction of what happened.

    ``message`` is a message id, ``path`` where to look; with ``roles`` only their holders
    are told. ``turn`` among the ``params`` counts the moves of what stands at ``path``:
    whoever was asked for an earlier one is asked no longer. Nothing is read back: whoever
    tells need not know who hears it.
    """
    values = {
        "kind": kind.value,
        "user_id": user_id,
        "agency_id": agency_id,
        "roles": sorted(roles),
        "params": {**params, "message": message},
        "path": path,
    }
    session.execute(sa.insert(_TABLE).inline(), [values])


def is_first_to_warn(session: Session, model: type[Any], ident: UUID, mark: str) -> bool:
    """Write down in ``warned`` of a row what is warned of; False where that is done.

    Of two schedulers one is first.
    """
    first = session.scalar(
        sa.update(model)
        .where(model.id == ident, model.warned != mark)
        .values(warned=mark)
        .returning(model.id)
        .execution_options(audited=True, synchronize_session=False)
    )
    return first is not None


def unread_count(session: Session, user_id: UUID) -> int:
    """Return how many notices stand under a person's bell unread."""
    return (
        session.scalar(
            sa.select(sa.func.count()).select_from(Notification).where(*_unread(user_id))
        )
        or 0
    )


def newest(
    session: Session, user_id: UUID, before: int | None = None
) -> Sequence[Notification]:
    """Return a page of a person's notices, newest first, one more than a page if there are."""
    query = sa.select(Notification).where(
        Notification.user_id == user_id, Notification.shown
    )
    if before is not None:
        query = query.where(Notification.id < before)
    return session.scalars(query.order_by(Notification.id.desc()).limit(PAGE + 1)).all()


def mark_read(session: Session, user_id: UUID, notice_id: int | None = None) -> None:
    """Mark one of a person's notices as read, or all of them."""
    statement = sa.update(Notification).where(*_unread(user_id)).values(read_at=utc_now())
    if notice_id is not None:
        statement = statement.where(Notification.id == notice_id)
    session.execute(statement.execution_options(synchronize_session=False))


def wishes_of(session: Session, user_id: UUID) -> dict[str, tuple[Wish, Wish]]:
    """Return for each kind when a person wants to be told: under the bell, by mail."""
    chosen = {
        each.kind: (Wish(each.in_app), Wish(each.mail))
        for each in session.scalars(
            sa.select(NoticePreference).where(NoticePreference.user_id == user_id)
        )
    }
    return {
        name: chosen.get(name, (kind.in_app, kind.mail)) for name, kind in KINDS.items()
    }


def wish(session: Session, user_id: UUID, kind: Kind, in_app: Wish, mail: Wish) -> None:
    """Remember when a person wants to be told of a kind."""
    values = {
        "in_app": (in_app if kind.may_silence else Wish.ALWAYS).value,
        "mail": mail.value,
    }
    session.execute(
        insert(NoticePreference)
        .values(user_id=user_id, kind=kind.name.value, **values)
        .on_conflict_do_update(index_elements=["user_id", "kind"], set_=values)
    )


def forget_old(session: Session) -> int:
    """Remove notices that are too old to matter; return how many."""
    gone = session.execute(
        sa.delete(Notification)
        .where(Notification.at < utc_now() - KEEP)
        .returning(Notification.id)
    )
    return len(gone.all())


def _unread(user_id: UUID) -> tuple[Any, ...]:
    return (
        Notification.user_id == user_id,
        Notification.shown,
        Notification.read_at.is_(None),
    )
