"""Everything that gives, changes and takes away access."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_network
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.api import keys
from app.api.errors import BadGrantError, TooManyKeysError
from app.api.models import ApiClient, ApiGrant, ApiKey
from app.api.queries import granted_fields, is_working, keys_of
from app.core import clock, db
from app.core.policy import DbRole, Principal, acting_as, acting_principal
from app.core.scope import NotFoundError
from app.datasets.models import Dataset
from app.datasets.queries import agreement_of

LIVE_KEYS, TRIAL_DAYS, TRIALS_A_DAY = 2, 7, 5


def make_key(
    session: Session,
    client: ApiClient,
    *,
    expires_at: datetime | None = None,
    networks: Sequence[str] = (),
) -> str:
    """Make a key and return it: the one moment at which it can be seen."""
    session.execute(
        sa.select(ApiClient.id).where(ApiClient.id == client.id).with_for_update()
    )
    if sum(map(is_working, keys_of(session, client))) >= LIVE_KEYS:
        raise TooManyKeysError
    if expires_at is not None and expires_at <= clock.utc_now():
        raise BadGrantError("The day on which it expires must lie in the future.")
    key, prefix, hashed = keys.make()
    session.add(
        ApiKey(
            client_id=client.id,
            agency_id=client.agency_id,
            prefix=prefix,
            secret_hash=hashed,
            networks=[_network(each) for each in networks],
            expires_at=expires_at,
            created_by=acting_principal().label,
        )
    )
    return key


def _network(text: str) -> str:
    try:
        return str(ip_network(text.strip(), strict=False))
    except ValueError:
        raise BadGrantError(
            "%(what)s is no address or block of addresses, such as 10.1.2.0/24.",
            what=text[:60],
        ) from None


def revoke_key(key: ApiKey) -> None:
    """Shut a key for good; the doors notice within a second."""
    if key.revoked_at is None:
        key.revoked_at = clock.utc_now()


def settle_grant(session: Session, grant: ApiGrant) -> None:
    """Put a grant in order before it is written.

    Raises ``BadGrantError`` for fields that do not exist, and for another agency's data that
    no agreement opens.
    """
    dataset, client = grant.dataset, grant.client
    grant.agency_id, grant.producer_id = client.agency_id, dataset.agency_id
    is_others = client.agency_id != dataset.agency_id and not grant.sample
    if (
        is_others
        and not grant.revoked_at
        and not agreement_of(session, dataset, client.agency_id)
    ):
        raise BadGrantError(
            "No agreement opens this dataset to this agency now: propose one first, and have"
            " the agency whose data it is consent."
        )
    known = {each.name for each in dataset.version.fields}
    missing = [name for name in grant.fields or () if name not in known]
    if missing:
        raise BadGrantError(
            "The dataset has no field %(name)s.", name=", ".join(missing)[:200]
        )
    if grant.valid_until and grant.valid_until <= (grant.valid_from or clock.utc_now()):
        raise BadGrantError("The grant would end before it begins.")
    grant.fields = list(dict.fromkeys(grant.fields or ()))
    session.flush()


def make_trial(
    session: Session, dataset: Dataset, agency_id: UUID, fields: Sequence[str] = ()
) -> tuple[ApiClient, str]:
    """Make a client of an agency with a trial key: masked sample rows, for some days.

    Without ``fields`` it shows all of them.
    """
    now = clock.utc_now()
    ends = now + timedelta(days=TRIAL_DAYS)
    client = ApiClient(
        agency_id=agency_id,
        name=f"Uji coba {dataset.slug} {now:%Y%m%d-%H%M%S-%f}",
        requests_per_minute=60,
        requests_per_day=2000,
        rows_per_day=200_000,
        concurrency=2,
    )
    session.add(client)
    session.flush()
    session.add(
        ApiGrant(
            client_id=client.id,
            dataset_id=dataset.id,
            agency_id=agency_id,
            producer_id=dataset.agency_id,
            sample=True,
            fields=list(fields),
            valid_until=ends,
        )
    )
    return client, make_key(session, client, expires_at=ends)


def make_own_trial(dataset: Dataset, principal: Principal) -> str:
    """Make a trial key for somebody of an agency whose programs may read the dataset.

    The agency's role writes no access: this is done in the office's, within what was granted.
    Raises ``NotFoundError`` without a grant, ``BadGrantError`` when there were many today.
    """
    if principal.agency_id is None:
        raise NotFoundError
    office = replace(principal, db_role=DbRole.OFFICE)
    with acting_as(office), db.unit_of_work() as session:
        granted = granted_fields(session, dataset, principal.agency_id)
        if not granted:
            raise NotFoundError
        if _trials_today(session, dataset, principal.agency_id) >= TRIALS_A_DAY:
            raise BadGrantError(
                "Five trial keys were made for this dataset today: use one of them, or wait"
                " until tomorrow."
            )
        fields = [each.name for each in granted]
        return make_trial(session, dataset, principal.agency_id, fields)[1]


def _trials_today(session: Session, dataset: Dataset, agency_id: UUID) -> int:
    return (
        session.scalar(
            sa.select(sa.func.count()).where(
                ApiGrant.sample,
                ApiGrant.agency_id == agency_id,
                ApiGrant.dataset_id == dataset.id,
                ApiGrant.valid_from > sa.func.now() - sa.text("interval '1 day'"),
            )
        )
        or 0
    )
