"""What a pull is to do, and how far it has come."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.connectors.registry import ReadOrder
from app.contracts.fields import FieldSpec
from app.contracts.models import ContractVersion
from app.contracts.states import LoadMode, VersionStatus
from app.core import db
from app.datasets.ddl import Names
from app.datasets.models import Dataset
from app.pulls.answers import digest_salt
from app.pulls.errors import NotPullableError, RolledBackError
from app.pulls.models import PullRun
from app.runs.kinds import KindName
from app.runs.models import JobRun
from app.sources.models import Source
from app.sources.services import open_pairs


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pull works with, read once at its start, at ``read_at`` by the database."""

    source_id: UUID
    source_name: str
    kind: str
    settings: dict[str, Any]
    secrets: dict[str, str]
    approved_host: str
    dataset_id: UUID
    contract_id: UUID
    agency_id: UUID
    slug: str
    load_mode: LoadMode
    version_id: UUID
    version_number: int
    published_run_id: UUID | None
    fields: tuple[FieldSpec, ...]
    max_rejected_percent: int
    max_vanished_percent: int
    plain_until: date | None
    read_at: datetime
    since: str
    mark: dict[str, Any] | None

    @property
    def question(self) -> str:
        """A digest of what is asked: pages of two questions are not parts of one answer."""
        asked = msgspec.json.encode([self.settings, self.since], order="sorted")
        return hashlib.sha256(asked).hexdigest()

    @property
    def names(self) -> Names:
        return Names(self.slug, self.version_number)

    @property
    def owner(self) -> dict[str, UUID]:
        return {
            "source_id": self.source_id,
            "version_id": self.version_id,
            "agency_id": self.agency_id,
        }


class Progress(msgspec.Struct, frozen=True):
    """Where a pull has come to: the run's checkpoint, committed with the rows it counts.

    ``former_run_id`` is the published run that records are recognised by, ``staged`` how
    many rows the stage must hold, ``question`` what was asked (``Plan.question``); with
    another truth than these the pull begins anew.
    """

    version_id: UUID
    former_run_id: UUID | None
    staged: int
    question: str = ""
    position: dict[str, Any] | None = None
    read: int = 0
    known: int = 0
    rejected: int = 0
    repeated: int = 0
    fetched: bool = False
    settled: bool = False

    @property
    def fresh(self) -> int:
        """Accepted records that the former answer did not have."""
        return self.read - self.known - self.rejected - self.repeated


def read_plan(session: Session, source_id: UUID) -> Plan:
    """Return everything a pull of this source needs, or say why it cannot be pulled."""
    require_at_work(session, source_id)
    source = session.get_one(Source, source_id)
    dataset = session.scalar(
        sa.select(Dataset).where(Dataset.contract_id == source.contract_id)
    )
    version = session.scalar(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == source.contract_id,
            ContractVersion.status == VersionStatus.ACTIVE,
        )
    )
    if dataset is None or version is None:
        raise NotPullableError(
            "The contract has no active version yet: activate it first."
        )
    return Plan(
        source_id=source.id,
        source_name=source.name,
        kind=source.kind,
        settings=dict(source.settings),
        secrets=dict(source.secrets or {}),
        approved_host=source.approved_host,
        dataset_id=dataset.id,
        contract_id=source.contract_id,
        agency_id=source.agency_id,
        slug=dataset.slug,
        load_mode=source.contract.load_mode,
        version_id=version.id,
        version_number=version.number,
        published_run_id=dataset.published_run_id,
        fields=version.specs(),
        max_rejected_percent=version.max_rejected_percent,
        max_vanished_percent=version.max_vanished_percent,
        plain_until=source.plain_until,
        read_at=db.now(session),
        since=_since(source, version.id),
        mark=source.mark,
    )


def require_at_work(session: Session, source_id: UUID) -> None:
    """Raise ``NotPullableError`` when the source rests or is gone."""
    if not session.scalar(sa.select(Source.enabled).where(Source.id == source_id)):
        raise NotPullableError("The source is switched off or was removed.")


def require_not_rolled_back(session: Session, dataset_id: UUID, run_id: UUID) -> None:
    """Raise ``RolledBackError`` when the dataset was brought back since a run was asked for."""
    asked_at = sa.select(JobRun.created_at).where(JobRun.id == run_id).scalar_subquery()
    back = (
        sa.select(PullRun.run_id)
        .join(JobRun, JobRun.id == PullRun.run_id)
        .where(
            PullRun.dataset_id == dataset_id,
            PullRun.published_at > asked_at,
            JobRun.kind == KindName.ROLLBACK,
        )
    )
    if session.execute(back.limit(1)).first() is not None:
        raise RolledBackError


def _since(source: Source, version_id: UUID) -> str:
    """Return the mark of the last publish; a new version reads everything once more."""
    mark = source.mark or {}
    return str(mark.get("value", "")) if mark.get("version") == str(version_id) else ""


def advance_mark(session: Session, plan: Plan, progress: Progress) -> None:
    """Remember up to where changes are published, in the transaction that publishes them.

    Not when somebody meanwhile wished for everything once more, or for something else.
    """
    position = progress.position or {}
    has_field = bool(plan.settings.get("since_field"))
    value = position.get("high" if has_field else "until", "")
    if not plan.settings.get("since_param") or not value or not position.get("done"):
        return
    now = session.execute(
        sa.select(Source.settings, Source.mark)
        .where(Source.id == plan.source_id)
        .with_for_update()
    ).one()
    if (now.settings, now.mark) != (plan.settings, plan.mark):
        return
    session.execute(
        sa.update(Source)
        .where(Source.id == plan.source_id)
        .values(mark={"version": str(plan.version_id), "value": value})
        # The run's counters are the record of a publish.
        .execution_options(audited=True, synchronize_session=False)
    )


def order_of(
    plan: Plan, progress: Progress, approved_hosts: Sequence[str], time_zone: str
) -> ReadOrder:
    """Return what to read, allowed to reach this source's host and the office's list."""
    own = plan.approved_host.split()
    require_excepted(
        plan, approved_hosts, plan.read_at.astimezone(ZoneInfo(time_zone)).date()
    )
    return ReadOrder(
        kind=plan.kind,
        settings=plan.settings,
        secrets=plan.secrets,
        approved_hosts=[*approved_hosts, *own],
        digest_salt=digest_salt(plan.version_id, time_zone),
        position=progress.position,
        since=plan.since,
        intranet=open_pairs(plan.settings, approved_hosts),
    )


def require_excepted(plan: Plan, office_list: Sequence[str], today: date) -> None:
    """Raise ``NotPullableError`` for a service without encryption and without exception."""
    if not open_pairs(plan.settings, office_list):
        return
    if plan.plain_until is None:
        raise NotPullableError(
            "The service is asked without encryption (http), and nobody has made an exception"
            " for it: see the source's page."
        )
    if plan.plain_until < today:
        raise NotPullableError(
            "The exception from encryption ended on %(day)s: see the source's page.",
            day=plan.plain_until.isoformat(),
        )
