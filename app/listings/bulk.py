"""Changing one cell, or the same columns of many rows: all of them, or none.

Every row is changed by the service that a form would call, with an event in the audit
trail; all events of one request have its number, by which it can be undone at once.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit.models import AuditEvent
from app.audit.recorder import as_json
from app.core import db
from app.core.errors import RejectedError
from app.core.policy import WORKER, Principal, acting_as, acting_principal
from app.core.scope import NotFoundError, get_visible, visible
from app.core.words import message_id
from app.identity.models import User
from app.identity.principals import principal_of
from app.listings.editing import EDITS, Editable, Edits
from app.listings.errors import (
    MovedOnError,
    NoLongerAllowedError,
    NothingChosenError,
    RowRefusedError,
    TooManyRowsError,
)
from app.listings.models import BulkEdit
from app.runs.errors import ReasonMissingError
from app.runs.kinds import BulkEditParams, KindName
from app.runs.ledger import Lease
from app.runs.models import JobRun
from app.runs.services import Order, request_run
from app.runs.states import RunStatus

AT_ONCE = 500  # more rows are changed by a run in the background
MOST_ROWS = 100_000
STEP = 500
NAMED = 20  # of the rows that stay as they are, so many are named in the log
STAYS = message_id("Stays as it is, since it was changed again or is gone: %(what)s")
Changes = Mapping[str, str]


def edits_of(listed: str, principal: Principal) -> Edits:
    """Return what somebody may change in a list; raises ``NotFoundError`` for nothing."""
    edits = EDITS.get(listed)
    if edits is None or not principal.may(edits.write):
        raise NotFoundError
    return edits


def change_cell(
    session: Session, listed: str, ident: str, name: str, *, was: str, text: str
) -> Any:
    """Change one column of one row from what its reader saw; return the row.

    Raises ``MovedOnError`` when it is something else by now, ``BadValueError``, or what the
    row's own service raises.
    """
    principal = acting_principal()
    edits = edits_of(listed, principal)
    editable = edits.columns.get(name)
    if editable is None:
        raise NotFoundError
    obj = get_visible(session, edits.model, ident, principal)
    session.refresh(obj, with_for_update={"of": edits.model})
    now = editable.text_of(obj)
    if now != was:
        raise MovedOnError
    setattr(obj, name, editable.read(session, text))
    edits.settle(session, obj)
    return obj


def request_edit(
    session: Session,
    listed: str,
    idents: Sequence[UUID],
    changes: Changes,
    *,
    reason: str,
    label: str,
) -> UUID | None:
    """Change some rows now, or ask for a run that does it; return the run.

    ``label`` is what a person would call that run.
    Raises ``NothingChosenError``, ``TooManyRowsError``, ``BadValueError`` or
    ``RowRefusedError``.
    """
    principal = acting_principal()
    most = MOST_ROWS if principal.agency_id is None else AT_ONCE
    if not idents:
        raise NothingChosenError
    if len(idents) > most:
        raise TooManyRowsError(most)
    asked = BulkEdit(
        user_id=principal.user_id,
        listed=listed,
        changes=dict(changes),
        idents=list(idents),
        reason=reason,
    )
    if len(idents) <= AT_ONCE:
        for _done in _changing(session, asked):
            pass
        return None
    _values(session, edits_of(listed, principal), changes)
    session.add(asked)
    session.flush()
    return request_run(
        session,
        Order(
            kind=KindName.BULK_EDIT,
            key=_key_of(asked),
            params=BulkEditParams(edit_id=asked.id),
            label=label,
            agency_id=principal.agency_id,
        ),
    )


def _key_of(asked: BulkEdit) -> str:
    """Return what is the same for the same changes of the same rows: a second press."""
    parts = (
        str(asked.user_id),
        asked.listed,
        asked.changes,
        sorted(map(str, asked.idents)),
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def undo_of(session: Session, run: JobRun) -> Edits | None:
    """Return what a run changed that may be put back by who asks; None for nothing."""
    if run.kind != KindName.BULK_EDIT or run.status is not RunStatus.SUCCEEDED:
        return None
    table = session.scalar(_changed_by(run.id, AuditEvent.object_type).limit(1))
    for edits in EDITS.values():
        if edits.model.__tablename__ == table and acting_principal().may(edits.write):
            return edits
    return None


def request_undo(session: Session, run: JobRun, *, reason: str, label: str) -> UUID:
    """Ask for a run that puts back what another one changed; return it.

    Raises ``NotFoundError`` where there is nothing of the kind, ``ReasonMissingError``, or
    ``AlreadyActiveError``.
    """
    edits = undo_of(session, run)
    if edits is None:
        raise NotFoundError
    if not reason:
        raise ReasonMissingError
    asked = BulkEdit(
        user_id=acting_principal().user_id,
        listed=next(name for name, each in EDITS.items() if each is edits),
        changes={},
        idents=[
            UUID(each)
            for each in session.scalars(_changed_by(run.id, AuditEvent.object_id))
        ],
        reason=reason,
    )
    session.add(asked)
    session.flush()
    params = BulkEditParams(edit_id=asked.id, undoes=run.id)
    return request_run(
        session,
        Order(KindName.BULK_EDIT, f"undo {run.id}", params, label, run.agency_id),
    )


def _changed_by(run_id: UUID, *columns: Any) -> sa.Select[Any]:
    """Return the changes that a run's events tell of, the rows' own alone."""
    return sa.select(*columns).where(
        AuditEvent.request_id == f"run-{run_id}", AuditEvent.action == "update",
        visible(AuditEvent, acting_principal()),
    )  # fmt: skip


def carry_out(lease: Lease) -> None:
    """Change the rows of ``lease.params``, with the rights that who asked has now.

    The run ends in the transaction of the changes: they are made once, or not at all.
    Raises ``NoLongerAllowedError``, or ``RowRefusedError`` with nothing changed.
    """
    with db.unit_of_work() as session:
        asked = session.get_one(BulkEdit, lease.params.edit_id)
        user = session.get_one(User, asked.user_id)
        if not user.is_active or user.agency_id is not None:
            raise NoLongerAllowedError
        principal = principal_of(user)
    with acting_as(principal), db.unit_of_work() as session:
        count, left = 0, list[str]()
        undoes = lease.params.undoes
        steps = (
            _changing(session, asked)
            if undoes is None
            else _undoing(session, asked, undoes, left)
        )
        for count in steps:
            _tell(lease, count, len(asked.idents))
        lease.log_in(session, message_id("%(rows)s rows were changed."), rows=count)
        for row in left[:NAMED]:
            lease.log_in(session, STAYS, what=row)
        lease.succeed(session, {"rows": count} | ({"left": len(left)} if left else {}))


def _tell(lease: Lease, done: int, total: int) -> None:
    """Write how far it is, apart from the changes; a run that was called off ends here."""
    with acting_as(WORKER), db.unit_of_work() as session:
        lease.save(session, done=done, total=total, unit=message_id("rows"))


def _changing(session: Session, asked: BulkEdit) -> Iterator[int]:
    """Change the rows in steps; yield after each how many are done."""
    edits = edits_of(asked.listed, acting_principal())
    values = _values(session, edits, asked.changes)
    db.because(session, asked.reason)
    done = 0
    for part in _steps(asked.idents):
        for row in _locked(session, edits, part):
            _change(session, edits, row, values)
            done += 1
        session.flush()
        session.expunge_all()
        yield done


def _undoing(
    session: Session, asked: BulkEdit, undoes: UUID, left: list[str]
) -> Iterator[int]:
    """Put rows back in steps, like ``_changing``; ``left`` takes the names of what stays."""
    edits = edits_of(asked.listed, acting_principal())
    db.because(session, asked.reason)
    done = 0
    for part in _steps(asked.idents):
        wanted = AuditEvent.object_id.in_(map(str, part))
        events = session.scalars(_changed_by(undoes, AuditEvent).where(wanted)).all()
        rows = {str(row.id): row for row in _locked(session, edits, part)}
        for event in events:
            row = rows.get(event.object_id)
            values = None if row is None else _former_values(edits, row, event)
            if values is None:  # gone, or changed again
                left.append(event.object_label)
            else:
                _change(session, edits, row, values)
                done += 1
        session.flush()
        session.expunge_all()
        yield done


def _former_values(edits: Edits, row: Any, event: AuditEvent) -> dict[str, Any] | None:
    """Return what a row had before an event; None when it was changed again since."""
    before, after = event.before or {}, event.after or {}
    names = [name for name in before if name in edits.columns]
    if any(as_json(getattr(row, name)) != after.get(name) for name in names):
        return None
    return {name: edits.columns[name].of_trail(before[name]) for name in names}


def _steps(idents: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    for begin in range(0, len(idents), STEP):
        yield idents[begin : begin + STEP]


def _locked(session: Session, edits: Edits, idents: Sequence[UUID]) -> Sequence[Any]:
    """Return rows, those that are still there, for nobody else to change now."""
    return (
        session.scalars(
            sa.select(edits.model)
            .where(edits.model.id.in_(idents), visible(edits.model, acting_principal()))
            .order_by(edits.model.id)
            .with_for_update(of=edits.model)
        )
        .unique()
        .all()
    )


def _change(session: Session, edits: Edits, row: Any, values: Mapping[str, Any]) -> None:
    if all(getattr(row, name) == value for name, value in values.items()):
        return  # it is so already: no event, no new version
    try:
        for name, value in values.items():
            setattr(row, name, value)
        edits.settle(session, row)
    except RejectedError as error:
        raise RowRefusedError(str(row), error) from error


def _values(session: Session, edits: Edits, changes: Changes) -> dict[str, Any]:
    """Return the values of texts; raises ``NothingChosenError`` or ``BadValueError``."""
    known: dict[str, Editable] = {
        name: edits.columns[name] for name in changes if name in edits.columns
    }
    if not known or len(known) < len(changes):
        raise NothingChosenError
    return {name: each.read(session, changes[name]) for name, each in known.items()}
