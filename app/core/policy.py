"""Who acts and what they may do: pure, known to every room."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


class DbRole(StrEnum):
    """Database roles that the application takes for one transaction (design D2b)."""

    OFFICE = "simpul_office"
    AGENCY = "simpul_agency"
    WORKER = "simpul_worker"
    SYSTEM = "simpul_system"
    API = "simpul_api"


# Roles that row-level security binds; for the others its policies let all rows through.
BOUND = frozenset({DbRole.AGENCY, DbRole.API})


class Permission(StrEnum):
    """One thing that a role may allow. Roles are rows; these are their vocabulary."""

    AGENCY_READ = "agency.read"
    AGENCY_WRITE = "agency.write"
    AGENCY_VIEW_AS = "agency.view_as"
    OFFICE_WRITE = "office.write"
    USER_READ = "user.read"
    USER_WRITE = "user.write"
    CONTRACT_READ = "contract.read"
    CONTRACT_WRITE = "contract.write"
    CONTRACT_ACTIVATE = "contract.activate"
    SOURCE_READ = "source.read"
    SOURCE_WRITE = "source.write"
    SOURCE_APPROVE = "source.approve"
    SOURCE_RUN = "source.run"
    SOURCE_PREVIEW = "source.preview"
    SCHEDULE_READ = "schedule.read"
    SCHEDULE_WRITE = "schedule.write"
    RUN_READ = "run.read"
    RUN_RETRY = "run.retry"
    RUN_CANCEL = "run.cancel"
    LEDGER_READ = "ledger.read"
    QUARANTINE_READ = "quarantine.read"
    QUARANTINE_RELEASE = "quarantine.release"
    DATASET_READ = "dataset.read"
    DATASET_EXPORT = "dataset.export"
    DATASET_ROLLBACK = "dataset.rollback"
    AGREEMENT_READ = "agreement.read"
    AGREEMENT_WRITE = "agreement.write"
    AGREEMENT_CONSENT = "agreement.consent"
    AUDIT_READ = "audit.read"
    API_READ = "api.read"
    API_WRITE = "api.write"
    EXCHANGE_READ = "exchange.read"
    TRASH_READ = "trash.read"
    TRASH_WRITE = "trash.write"
    REQUEST_READ = "request.read"
    REQUEST_ACT = "request.act"
    COMPLAINT_READ = "complaint.read"
    COMPLAINT_SEND = "complaint.send"
    COMPLAINT_WRITE = "complaint.write"
    MAIL_READ = "mail.read"
    MAIL_WRITE = "mail.write"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is behind a transaction: a person, or a named part of the system.

    ``agency_id`` None means the office. ``label`` is what the audit shows.
    """

    label: str
    db_role: DbRole
    user_id: UUID | None = None
    agency_id: UUID | None = None
    permissions: frozenset[str] = field(default_factory=frozenset)
    roles: frozenset[str] = field(default_factory=frozenset)  # by name, held or acted in
    read_only: bool = (
        False  # looks on as somebody else; the database refuses every change
    )

    @property
    def is_office(self) -> bool:
        """Whether it is nobody's of an agency, also where they write in the log-in's role."""
        return self.db_role is not DbRole.AGENCY and self.agency_id is None

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions


ANONYMOUS = Principal("anonim", DbRole.SYSTEM)
"""Before log-in: may use no permission; its role reads what a log-in needs."""

DISPATCHER = Principal("sistem: penjadwal", DbRole.SYSTEM)
WORKER = Principal("sistem: pekerja", DbRole.WORKER)
COMMAND_LINE = Principal("sistem: baris perintah", DbRole.OFFICE)

_acting: ContextVar[Principal | None] = ContextVar("acting_principal", default=None)
_request_id: ContextVar[str] = ContextVar("request_id", default="")


class NoPrincipalError(RuntimeError):
    """Somebody opened a transaction without saying who acts; a bug, never a user's fault."""


def acting_principal() -> Principal:
    principal = _acting.get()
    if principal is None:
        raise NoPrincipalError("no principal acts here: use acting_as()")
    return principal


def act_as(principal: Principal | None) -> None:
    """Set the principal for the rest of this context (a web request, a job's process)."""
    _acting.set(principal)


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    """Act as somebody for the length of a block."""
    token = _acting.set(principal)
    try:
        yield
    finally:
        _acting.reset(token)


def set_request_id(request_id: str) -> None:
    """Remember the id that ties log lines, audit rows and runs of one request together."""
    _request_id.set(request_id)


def request_id() -> str:
    return _request_id.get()
