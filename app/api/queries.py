"""Reads keys, grants and what is logged."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, undefer

from app.api.access import Access, Opened
from app.api.models import ApiClient, ApiGrant, ApiKey
from app.contracts.fields import FieldSpec
from app.contracts.models import ContractVersion
from app.core import clock
from app.core.policy import Principal
from app.core.scope import visible
from app.datasets.models import Agreement, Dataset
from app.datasets.queries import agreement_of, reading_by
from app.datasets.reading import Reading, readable, whole
from app.identity.models import Agency

# What the log names where there is no agreement.
TRIAL, OWN = "Kunci uji coba / trial key", "Data sendiri / own data"


def access_by_prefix(session: Session, prefix: str) -> Access | None:
    """Return what a key opens now; None for one that is revoked, expired or shut off."""
    key = session.scalar(
        sa.select(ApiKey)
        .join(ApiClient)
        .where(
            ApiKey.prefix == prefix,
            ApiKey.revoked_at.is_(None),
            sa.or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > sa.func.now()),
            ApiClient.enabled,
        )
        .options(undefer(ApiKey.secret_hash))
    )
    if key is None or not key.client.agency.active:
        return None
    client = key.client
    return Access(
        key_hash=key.secret_hash,
        prefix=key.prefix,
        networks=tuple(key.networks),
        client_id=client.id,
        client=client.name,
        requests_per_minute=client.requests_per_minute,
        opened={
            grant.dataset.slug: _opened(session, grant)
            for grant in _active_grants(session, client.id)
        },
        said={
            "agency": str(client.agency_id),
            "client": str(client.id),
            "prefix": key.prefix,
            "places": str(client.concurrency),
        },
    )


def note_use(session: Session, access: Access) -> None:
    """Write down that the key was used, at most once a minute."""
    session.execute(
        sa.update(ApiKey)
        .where(
            ApiKey.prefix == access.prefix,
            sa.or_(
                ApiKey.last_used_at.is_(None),
                ApiKey.last_used_at < sa.func.now() - sa.text("interval '1 minute'"),
            ),
        )
        .values(last_used_at=sa.func.now())
        .execution_options(audited=True, synchronize_session=False)
    )


def _active_grants(session: Session, client_id: UUID) -> Sequence[ApiGrant]:
    return session.scalars(
        sa.select(ApiGrant).where(ApiGrant.client_id == client_id, *_ACTIVE)
    ).all()


_ACTIVE = (
    ApiGrant.revoked_at.is_(None),
    ApiGrant.valid_from <= sa.func.now(),
    sa.or_(ApiGrant.valid_until.is_(None), ApiGrant.valid_until > sa.func.now()),
    # One's own data, and a trial on masked rows, need no agreement.
    sa.or_(
        ApiGrant.sample,
        ApiGrant.agency_id == ApiGrant.producer_id,
        sa.exists().where(
            Agreement.dataset_id == ApiGrant.dataset_id,
            Agreement.agency_id == ApiGrant.agency_id,
            *Agreement.is_active(),
        ),
    ),
)


def granted_fields(
    session: Session, dataset: Dataset, agency_id: UUID
) -> tuple[FieldSpec, ...]:
    """Return the fields that programs of an agency may read, by any of their grants."""
    grants = session.scalars(
        sa.select(ApiGrant).where(
            ApiGrant.agency_id == agency_id,
            ApiGrant.dataset_id == dataset.id,
            ApiGrant.sample.is_(False),
            *_ACTIVE,
        )
    ).all()
    _number, specs = _specs(session, dataset.version_id)
    opened = {
        each.name for grant in grants for each in _reading(session, grant, specs).fields
    }
    return tuple(each for each in specs if each.name in opened)


def _reading(session: Session, grant: ApiGrant, specs: tuple[FieldSpec, ...]) -> Reading:
    """Return what a grant opens: never more than the agreement it stands on."""
    agreed = whole(specs)
    if not grant.sample and grant.agency_id != grant.producer_id:
        agreement = agreement_of(session, grant.dataset, grant.agency_id)
        if agreement is None:  # ended between two questions
            return replace(agreed, fields=())
        agreed = reading_by(agreement, specs)
    named = readable(specs, grant.fields, masked=grant.sample)
    return replace(agreed, fields=tuple(f for f in agreed.fields if f in named))


def parties(
    session: Session, principal: Principal
) -> tuple[list[Dataset], list[Agency], list[ApiClient]]:
    """Return the datasets, receivers and programs that somebody's exchanges are about."""
    datasets = session.scalars(
        sa.select(Dataset).where(visible(Dataset, principal)).order_by(Dataset.title)
    )
    clients = session.scalars(
        sa.select(ApiClient)
        .where(
            sa.or_(
                visible(ApiClient, principal),
                ApiClient.id.in_(
                    sa.select(ApiGrant.client_id).where(visible(ApiGrant, principal))
                ),
            )
        )
        .order_by(ApiClient.name)
    ).all()
    receivers = {each.agency_id for each in clients}
    agencies = session.scalars(
        sa.select(Agency)
        .where(sa.or_(visible(Agency, principal), Agency.id.in_(receivers)))
        .order_by(Agency.name)
    )
    return list(datasets), list(agencies), list(clients)


_SPECS: dict[UUID, tuple[int, tuple[FieldSpec, ...]]] = {}


def _specs(session: Session, version_id: UUID) -> tuple[int, tuple[FieldSpec, ...]]:
    """Return number and fields of a version; an active one never changes again."""
    if version_id not in _SPECS:
        version = session.get_one(ContractVersion, version_id)
        _SPECS[version_id] = version.number, version.specs()
    return _SPECS[version_id]


def _opened(session: Session, grant: ApiGrant) -> Opened:
    dataset = grant.dataset
    number, specs = _specs(session, dataset.version_id)
    reading = _reading(session, grant, specs)
    fields = reading.fields
    basis = reading.basis
    if reading.is_whole:
        basis = TRIAL if grant.sample else OWN
    return Opened(
        slug=dataset.slug,
        title=dataset.title,
        description=dataset.contract.description,
        agency=dataset.agency.name,
        dataset_id=dataset.id,
        agreement=basis,
        valid_until=grant.valid_until,
        version=number,
        fields=fields,
        hidden=tuple(each for each in specs if each not in fields),
        keys=reading.keys,
        chosen=reading.chosen,
        sample=grant.sample,
        row_count=dataset.row_count,
        published_at=dataset.published_at,
        run_id=dataset.published_run_id,
        mark=f"{grant.id} {number} {[f.name for f in fields]} {reading.chosen} {grant.sample}",
        by_name={each.name: each for each in fields},
        said={
            "slug": dataset.slug,
            "producer": str(dataset.agency_id),
            "dataset": str(dataset.id),
            "agreement": basis,
            "run": str(dataset.published_run_id) if dataset.published_run_id else None,
        },
    )


def keys_of(session: Session, client: ApiClient) -> Sequence[ApiKey]:
    """Return a client's keys, the newest first."""
    return session.scalars(
        sa.select(ApiKey)
        .where(ApiKey.client_id == client.id)
        .order_by(ApiKey.created_at.desc())
    ).all()


def grants_of(
    session: Session, client: ApiClient, principal: Principal
) -> Sequence[ApiGrant]:
    return session.scalars(
        sa.select(ApiGrant)
        .join(Dataset, Dataset.id == ApiGrant.dataset_id)
        .where(ApiGrant.client_id == client.id, visible(ApiGrant, principal))
        .order_by(Dataset.title)
    ).all()


def is_working(key: ApiKey) -> bool:
    """Tell whether a key still opens anything."""
    expired = key.expires_at is not None and key.expires_at <= clock.utc_now()
    return key.revoked_at is None and not expired
