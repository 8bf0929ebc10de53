"""Finding anything by its words: over all kinds of objects that a person may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import Session

from app.api.models import ApiClient
from app.complaints.models import Complaint
from app.contracts.models import Contract
from app.core.policy import Permission, Principal
from app.core.scope import visible
from app.core.search import found_by
from app.datasets.models import Agreement, Dataset
from app.identity.models import Agency, User
from app.runs.models import JobRun, Schedule
from app.sources.models import Host, Source

SHOWN = 6  # of each kind
LOOKED_AT = 60


class Hit(NamedTuple):
    """Something that was found. ``values`` fill the address of the page ``endpoint``."""

    label: str
    endpoint: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Findable:
    """A kind of object, who may see it, and its page: by which value of the object."""

    model: type[Any]
    read: Permission
    endpoint: str
    argument: str
    value: orm.InstrumentedAttribute[Any]
    label: orm.InstrumentedAttribute[Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Hits of one kind; ``goes_on``: there are more of it."""

    model: type[Any]
    hits: Sequence[Hit]
    goes_on: bool


KINDS: Sequence[Findable] = (
    Findable(Dataset, Permission.DATASET_READ, "datasets.show", "slug", Dataset.slug, Dataset.title),
    Findable(Contract, Permission.CONTRACT_READ, "contracts.show", "ident", Contract.id, Contract.title),
    Findable(Source, Permission.SOURCE_READ, "pulls.source", "ident", Source.id, Source.name),
    Findable(Agency, Permission.AGENCY_READ, "agencies.details_view", "id", Agency.id, Agency.name),
    Findable(User, Permission.USER_READ, "users.details_view", "id", User.id, User.name),
    Findable(Host, Permission.LEDGER_READ, "hosts.details_view", "id", Host.id, Host.pair),
    Findable(
        Schedule, Permission.SCHEDULE_READ, "schedules.details_view", "id", Schedule.id, Schedule.name
    ),
    Findable(ApiClient, Permission.API_READ, "api_clients.details_view", "id", ApiClient.id, ApiClient.name),
    Findable(Agreement, Permission.AGREEMENT_READ, "agreements.details_view", "id", Agreement.id, Agreement.number),
    Findable(Complaint, Permission.COMPLAINT_READ, "complaints.show", "ident", Complaint.id, Complaint.subject),
    Findable(JobRun, Permission.RUN_READ, "runs.show", "ident", JobRun.id, JobRun.label),
)  # fmt: skip


def find(session: Session, principal: Principal, text: str) -> list[Found]:
    """Return what has all the words, by kind; labels that begin with the text come first."""
    # Words that nobody has must not be looked for row by row; the indexes answer.
    session.execute(sa.text("SET LOCAL enable_seqscan = off"))
    kinds = (
        _of(session, principal, kind, text) for kind in KINDS if principal.may(kind.read)
    )
    return [each for each in kinds if each is not None and each.hits]


def _of(
    session: Session, principal: Principal, kind: Findable, text: str
) -> Found | None:
    words = found_by(kind.model, text)
    if words is None:
        return None
    found = session.execute(
        sa.select(kind.label, kind.value)
        .where(words.by_index, visible(kind.model, principal))
        .limit(LOOKED_AT)
    ).all()
    wanted = text.casefold()
    rows = sorted(
        found,
        key=lambda row: (not row[0].casefold().startswith(wanted), row[0].casefold()),
    )
    hits = [
        Hit(row[0], kind.endpoint, {kind.argument: str(row[1])}) for row in rows[:SHOWN]
    ]
    return Found(kind.model, hits, goes_on=len(rows) > SHOWN)
