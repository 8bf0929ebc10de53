"""Makers of agencies, people, contracts and sources: name only what matters to the test."""

import secrets
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from app.contracts import services as contract_services
from app.contracts.fields import FieldSpec
from app.contracts.models import Contract, ContractVersion
from app.contracts.states import DatasetKind, FieldType, LoadMode, VersionStatus
from app.core import db
from app.core.clock import utc_now
from app.core.policy import DbRole, Permission, Principal, acting_as
from app.datasets import activation
from app.datasets.models import Agreement, Dataset
from app.identity.models import Agency, Role, User
from app.pulls import services as pull_services
from app.runs import ledger
from app.runs.kinds import KINDS, ActivationParams
from app.runs.ledger import Lease
from app.runs.models import JobRun
from app.sources.models import Source

OFFICE = Principal(
    "penguji", DbRole.OFFICE, user_id=uuid4(), permissions=frozenset(Permission)
)


def acting_as_office():
    return acting_as(OFFICE)


def agency_principal(agency_id: UUID, **more: Any) -> Principal:
    """A person of an agency, who sees its rows alone."""
    return Principal("orang OPD", DbRole.AGENCY, agency_id=agency_id, **more)


@contextmanager
def session(principal: Principal = OFFICE):
    """One transaction of somebody's."""
    with acting_as(principal), db.unit_of_work() as opened:
        yield opened


def word(prefix: str = "t") -> str:
    """A name nobody else has."""
    return prefix + secrets.token_hex(5)


def make_agency(**values: Any) -> Agency:
    name = word("opd_")
    agency = Agency(**{"code": name, "name": f"Dinas {name}"} | values)
    with session() as s:
        s.add(agency)
    return agency


def make_user(*roles: str, agency: Agency | None = None, **values: Any) -> User:
    """A person with the named roles; without an agency, of the office."""
    name = word("orang")
    with session() as s:
        user = User(
            **{
                "email": f"{name}@contoh.test",
                "name": name,
                "fs_uniquifier": uuid4().hex,
                "active": True,
                "agency_id": agency.id if agency else None,
            }
            | values
        )
        user.roles = list(s.scalars(sa.select(Role).where(Role.name.in_(roles))))
        assert len(user.roles) == len(roles)
        s.add(user)
    return user


def field(name: str, kind: FieldType = FieldType.TEXT, **values: Any) -> FieldSpec:
    key = values.get("is_key", False)
    return FieldSpec(
        **{
            "name": name,
            "source_path": name,
            "label": name,
            "type": kind,
            "required": key,
        }
        | values
    )


# A small person: a key, a text, a number and a date.
PERSON = (
    field("nip", is_key=True, pattern=r"\d{4}"),
    field("nama", required=True),
    field("gaji", FieldType.INTEGER, minimum="0"),
    field("lahir", FieldType.DATE),
)


def make_contract(
    fields: Sequence[FieldSpec] = PERSON,
    *,
    active: bool = True,
    agency: Agency | None = None,
    load_mode: LoadMode = LoadMode.SNAPSHOT,
    **limits: int,
) -> Contract:
    """A contract whose first version is active, with its tables; ``limits`` of the gate."""
    agency = agency or make_agency()
    with session() as s:
        contract = contract_services.create_contract(
            s,
            agency_id=agency.id,
            slug=word(),
            title="Data uji",
            kind=DatasetKind.MASTER,
            load_mode=load_mode,
        )
        s.flush()
        draft = draft_of(s, contract.id)
        for name, value in limits.items():
            setattr(draft, name, value)
        assert contract_services.save_fields(s, draft, fields) == []
    if active:
        activate(contract.id)
    return contract


def draft_of(s: Any, contract_id: UUID) -> ContractVersion:
    return s.scalars(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == contract_id,
            ContractVersion.status == VersionStatus.DRAFT,
        )
    ).one()


def active_of(s: Any, contract_id: UUID) -> ContractVersion:
    return s.scalars(
        sa.select(ContractVersion).where(
            ContractVersion.contract_id == contract_id,
            ContractVersion.status == VersionStatus.ACTIVE,
        )
    ).one()


def active_fields(contract_id: UUID) -> Sequence[FieldSpec]:
    with session() as s:
        return active_of(s, contract_id).specs()


def next_version(contract_id: UUID, fields: Sequence[FieldSpec], **limits: int) -> UUID:
    """A sound draft after the active version; returns its id."""
    with session() as s:
        draft = contract_services.draft_from(s, active_of(s, contract_id))
        s.flush()
        assert contract_services.save_fields(s, draft, fields) == []
        for name, value in limits.items():
            setattr(draft, name, value)
        return draft.id


def request_activation(contract_id: UUID) -> UUID:
    with session() as s:
        draft = draft_of(s, contract_id)
        return activation.request_activation(
            s, draft, activation.plan_for(s, draft).digest
        )


def activate(contract_id: UUID) -> None:
    """Approve and run the plan of a contract's draft, in this process."""
    run_id = request_activation(contract_id)
    lease = claim(run_id)
    assert isinstance(lease.params, ActivationParams)
    with acting_as(WORKER_PRINCIPAL):
        activation.activate(lease)


WORKER_PRINCIPAL = Principal("sistem: pekerja", DbRole.WORKER)


def make_agreement(dataset_id: UUID, agency_id: UUID, **values: Any) -> UUID:
    """An agreement that stands since two days, for a year and all fields there are."""
    now = utc_now()
    with session() as s:
        dataset = s.get_one(Dataset, dataset_id)
        agreement = Agreement(
            **{
                "number": "PKS 12/2026",
                "dataset_id": dataset_id,
                "agency_id": agency_id,
                "producer_id": dataset.agency_id,
                "fields": [each.name for each in dataset.version.fields],
                "purpose": "Uji",
                "valid_from": now - timedelta(days=2),
                "valid_until": now + timedelta(days=365),
                "consented_at": now - timedelta(days=2),
                "consented_by": "Kepala dinas",
            }
            | values
        )
        s.add(agreement)
        s.flush()
        return agreement.id


def people(*numbers: int, **more: str) -> list[dict[str, Any]]:
    """Records of PERSON; ``more`` fields have the number for their {n}."""
    return [
        {"nip": f"{n:04d}", "nama": f"Orang {n}"}
        | {name: form.format(n=n) for name, form in more.items()}
        for n in numbers
    ]


def make_source(contract: Contract, base_url: str, **settings: Any) -> Source:
    """A source that reads pages of ten records; budgets are short."""
    host = base_url.split("/")[2]
    with session() as s:
        source = Source(
            agency_id=contract.agency_id,
            contract_id=contract.id,
            name=word("sumber_"),
            approved_host=host,
            plain_until=date.today() + timedelta(days=30),  # noqa: DTZ011 - any near day
            settings={
                "base_url": base_url,
                "paging": "page",
                "page_size": 10,
                "rows_path": "data",
                "total_path": "total",
                "success_path": "ok",
                "success_value": "true",
                "connect_seconds": 1.0,
                "read_seconds": 0.5,
                "page_seconds": 1.0,
                "page_bytes": 100_000,
                "max_pages": 50,
            }
            | settings,
        )
        s.add(source)
    return source


def make_run(kind: str = "housekeeping", **values: Any) -> UUID:
    """A waiting run of any kind, its parameters not checked."""
    known = KINDS.get(kind)
    columns = {
        "id": uuid4(),
        "kind": kind,
        "queue": known.queue if known else "notices",
        "key": word("kunci_"),
        "params": {},
        "max_attempts": 3,
    } | values
    with session() as s:
        s.add(JobRun(**columns))
    return columns["id"]


def claim(run_id: UUID, worker: str = "uji:1", seconds: float = 30.0) -> Lease:
    with session(WORKER_PRINCIPAL) as s:
        lease = ledger.claim(s, run_id, worker=worker, lease_seconds=seconds)
    assert lease is not None
    return lease


def run_of(run_id: UUID) -> JobRun:
    with session() as s:
        return s.get_one(JobRun, run_id)


def request_pull(source: Source) -> UUID:
    with session() as s:
        return pull_services.request_pull(s, s.get_one(Source, source.id))


def make_due(*run_ids: UUID) -> None:
    """Let the wait before the next attempt be over."""
    with session() as s:
        s.execute(
            sa.update(JobRun)
            .where(JobRun.id.in_(run_ids))
            .values(not_before=sa.func.clock_timestamp() - sa.text("interval '1 s'"))
        )


def expire_lease(run_id: UUID) -> None:
    with session() as s:
        s.execute(
            sa.update(JobRun)
            .where(JobRun.id == run_id)
            .values(lease_until=sa.func.clock_timestamp() - sa.text("interval '1 s'"))
        )
