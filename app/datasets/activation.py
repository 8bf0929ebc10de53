"""Activating a contract version: its plan is shown, approved, and run as the owner.

The plan, the version's state and the dataset's row change in one transaction; a plan that
is no longer the one a person approved is not run.
"""

from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.contracts.errors import NotDraftError, PlanChangedError
from app.contracts.models import ContractField, ContractVersion
from app.contracts.services import require_sound
from app.contracts.states import VersionStatus
from app.core import db
from app.core.errors import PermanentError
from app.datasets.announcing import require_announced
from app.datasets.ddl import (
    SQL_TYPES,
    TYPE_WORDS,
    Names,
    Plan,
    Refusal,
    plan_first,
    plan_next,
)
from app.datasets.models import Dataset
from app.runs.errors import PutOffError
from app.runs.kinds import ActivationParams, KindName
from app.runs.ledger import Lease
from app.runs.services import Order, request_run

# So long an activation stands in the way of readers that come after it; then it steps back.
LOCK_TIMEOUT = "10s"
BUSY_SECONDS = 15.0


class PlanRefusedError(PermanentError):
    """The version cannot follow the active one without losing something."""

    code = "plan_refused"

    def __init__(self, plan: Plan) -> None:
        first = plan.refusals[0]
        super().__init__(first.words, **first.params)


def plan_for(session: Session, version: ContractVersion) -> Plan:
    """Return what activating this draft would do; raises ``ContractError`` if unsound."""
    if version.status is not VersionStatus.DRAFT:
        raise NotDraftError
    require_sound(version)
    contract = version.contract
    active = session.scalar(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == contract.id,
            ContractVersion.status == VersionStatus.ACTIVE,
        )
    )
    if active is None:
        return plan_first(
            contract.slug, version.number, version.specs(), contract.agency_id
        )
    plan = plan_next(
        contract.slug, (active.number, active.specs()), (version.number, version.specs())
    )
    clashes = _history_clashes(session, version)
    return Plan((), (*plan.refusals, *clashes)) if clashes else plan


def _history_clashes(session: Session, version: ContractVersion) -> list[Refusal]:
    """Return fields that once existed with another type: the history still holds them."""
    rows = session.execute(
        sa.text(
            "SELECT a.attname, format_type(a.atttypid, -1) FROM pg_attribute a"
            " WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped"
        ),
        {"table": Names(version.contract.slug, version.number).history},
    )
    stored = {
        name: kind.replace("timestamp with time zone", "timestamptz")
        for name, kind in rows
    }
    former = _active_names(session, version)
    return [
        Refusal(
            "Field %(name)s once existed with the type %(old)s and is kept in the history:"
            " choose another name.",
            {"name": each.name, "old": _word_of(stored[each.name])},
        )
        for each in version.fields
        if each.name in stored
        and each.name not in former
        and stored[each.name] != SQL_TYPES[each.type]
    ]


def _word_of(sql_type: str) -> str:
    """Name a column's type as the contract's pages do."""
    words = {SQL_TYPES[kind]: word for kind, word in TYPE_WORDS.items()}
    return words.get(sql_type, sql_type)


def _active_names(session: Session, version: ContractVersion) -> set[str]:
    return set(
        session.scalars(
            sa.select(ContractField.name)
            .join(ContractVersion, ContractVersion.id == ContractField.version_id)
            .where(
                ContractVersion.contract_id == version.contract_id,
                ContractVersion.status == VersionStatus.ACTIVE,
            )
        )
    )


def request_activation(
    session: Session, version: ContractVersion, plan_digest: str
) -> UUID:
    """Ask for the activation of a draft by the plan that the person has seen.

    Raises ``PlanRefusedError``, ``PlanChangedError``, and ``NotAnnouncedError`` while those
    whom it hits do not know of it long enough.
    """
    plan = plan_for(session, version)
    if plan.refusals:
        raise PlanRefusedError(plan)
    if plan.digest != plan_digest:
        raise PlanChangedError
    require_announced(session, version)
    return request_run(
        session,
        Order(
            kind=KindName.ACTIVATION,
            key=f"contract:{version.contract_id}",
            params=ActivationParams(version_id=version.id, plan_digest=plan_digest),
            label=str(version),
            agency_id=version.agency_id,
        ),
    )


def activate(lease: Lease) -> None:
    """Run the approved plan under ``lease``; the run ends in the same transaction.

    Raises ``PutOffError`` when others read or write the dataset for long: a large publish
    or an export must not cost the activation its attempts.
    """
    try:
        _activate(lease)
    except (OperationalError, psycopg.errors.LockNotAvailable) as error:
        # Steps go straight to the driver, whose errors come unwrapped.
        cause = getattr(error, "orig", error)
        if isinstance(cause, psycopg.errors.LockNotAvailable):
            raise PutOffError(
                "Others are reading or writing the dataset; the activation waits for them.",
                seconds=BUSY_SECONDS,
            ) from None
        raise


def _activate(lease: Lease) -> None:
    with db.owner_unit_of_work() as session:
        lease.save(session)
        session.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        version = session.get_one(ContractVersion, lease.params.version_id)
        # First the dataset, then its tables: the order in which a publish locks them.
        session.execute(
            sa.select(Dataset.id)
            .where(Dataset.contract_id == version.contract_id)
            .with_for_update()
        )
        plan = plan_for(session, version)
        if plan.refusals:
            raise PlanRefusedError(plan)
        if plan.digest != lease.params.plan_digest:
            raise PlanChangedError
        # The draft may have been changed since in what makes no step.
        require_announced(session, version)
        for step in plan.steps:
            _run(session, step.sql)
            lease.log_in(session, step.words, **dict[str, Any](step.params))
        db.because(session, f"aktivasi diminta oleh {lease.requested_by}")
        _mark_active(session, version, plan, lease)
        lease.succeed(session, {"version": version.number, "steps": len(plan.steps)})


def _run(session: Session, sql: str) -> None:
    """Run one step as it is written: straight to the driver, which reads no parameters."""
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("a plan needs a psycopg connection")
    connection.execute(sql.encode())


def _mark_active(
    session: Session, version: ContractVersion, plan: Plan, lease: Lease
) -> None:
    former = session.scalar(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == version.contract_id,
            ContractVersion.status == VersionStatus.ACTIVE,
        )
    )
    if former is not None:
        former.status = VersionStatus.RETIRED
        session.flush()  # only one active version may stand in the table at any time
    now = db.now(session)
    version.status, version.activated_at = VersionStatus.ACTIVE, now
    version.activated_by = lease.requested_by
    version.plan = [step.sql for step in plan.steps]
    dataset = session.scalar(
        sa.select(Dataset).where(Dataset.contract_id == version.contract_id)
    )
    contract = version.contract
    if dataset is None:
        dataset = Dataset(
            contract_id=contract.id, agency_id=contract.agency_id, slug=contract.slug
        )
        session.add(dataset)
    dataset.title = contract.title
    dataset.version_id = version.id
