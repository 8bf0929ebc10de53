"""What the parts of integrations say at this moment, for many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.contracts.models import ContractVersion
from app.contracts.states import VersionStatus
from app.core.policy import Principal
from app.core.scope import visible
from app.datasets.models import Agreement, Dataset
from app.integrations.models import Integration
from app.integrations.states import Facts
from app.runs.kinds import KindName
from app.runs.models import JobRun, Schedule
from app.runs.states import TROUBLED, RunStatus
from app.sources.models import Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What belongs to one integration, as far as the reader may see it."""

    sources: Sequence[Source] = ()
    schedules: Sequence[Schedule] = ()
    last_run: JobRun | None = None
    dataset: Dataset | None = None
    agreements: Sequence[Agreement] = ()
    version: ContractVersion | None = None  # the active one

    def facts(self, integration: Integration) -> Facts:
        enabled = [each for each in self.sources if each.enabled]
        due = [each.next_due_at for each in self.schedules if each.enabled]
        last = self.last_run
        return Facts(
            is_active=self.version is not None,
            has_source=bool(enabled),
            is_resting=bool(enabled) and all(each.pause for each in enabled),
            has_failed=last is not None and last.status in TROUBLED,
            next_due_at=min(due, default=None),
            published_at=self.dataset.published_at if self.dataset else None,
            review_on=integration.review_on,
        )


def parts_of(
    session: Session, principal: Principal, integrations: Sequence[Integration]
) -> dict[UUID, Parts]:
    """Return the parts of some integrations by their ids, in seven statements for all."""
    read = _Reader(session, principal, [each.contract_id for each in integrations])
    sources, datasets, active = read.sources(), read.datasets(), read.active()
    agreements = read.agreements(list(datasets.values()))
    schedules = read.schedules()
    runs = last_pulls(session, principal, read.contracts)
    found = {}
    for each in integrations:
        dataset, key = datasets.get(each.contract_id), f"contract:{each.contract_id}"
        found[each.id] = Parts(
            sources=[s for s in sources if s.contract_id == each.contract_id],
            schedules=[s for s in schedules if s.key == key],
            last_run=runs.get(each.contract_id),
            dataset=dataset,
            agreements=[a for a in agreements if dataset and a.dataset_id == dataset.id],
            version=active.get(each.contract_id),
        )
    return found


def last_pulls(
    session: Session, principal: Principal, contracts: Sequence[UUID]
) -> dict[UUID, JobRun]:
    """Return the last pull for each contract that came to an end."""
    keys = {f"contract:{each}": each for each in contracts}
    query = (
        sa.select(JobRun)
        .where(
            visible(JobRun, principal),
            JobRun.kind == KindName.PULL,
            JobRun.key.in_(keys),
            JobRun.status.in_((*TROUBLED, RunStatus.SUCCEEDED)),
        )
        .ext(distinct_on(JobRun.key))
        .order_by(JobRun.key, JobRun.created_at.desc())
    )
    return {keys[run.key]: run for run in session.scalars(query)}


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what belongs to some contracts."""

    session: Session
    principal: Principal
    contracts: Sequence[UUID]

    @property
    def _keys(self) -> list[str]:
        return [f"contract:{each}" for each in self.contracts]

    def _all(self, model: type[T], *conditions: sa.ColumnElement[bool]) -> Sequence[T]:
        query = sa.select(model).where(visible(model, self.principal), *conditions)
        return self.session.scalars(query).all()

    def sources(self) -> Sequence[Source]:
        return self._all(Source, Source.contract_id.in_(self.contracts))

    def schedules(self) -> Sequence[Schedule]:
        is_theirs = Schedule.key.in_(self._keys)
        return self._all(Schedule, Schedule.kind == KindName.PULL, is_theirs)

    def datasets(self) -> dict[UUID, Dataset]:
        found = self._all(Dataset, Dataset.contract_id.in_(self.contracts))
        return {each.contract_id: each for each in found}

    def agreements(self, datasets: Sequence[Dataset]) -> Sequence[Agreement]:
        of_them = Agreement.dataset_id.in_([each.id for each in datasets])
        return self._all(Agreement, of_them, *Agreement.is_active())

    def active(self) -> dict[UUID, ContractVersion]:
        """Return the active versions by their contracts."""
        found = self._all(
            ContractVersion,
            ContractVersion.contract_id.in_(self.contracts),
            ContractVersion.status == VersionStatus.ACTIVE,
        )
        return {each.contract_id: each for each in found}
