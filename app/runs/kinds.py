"""The kinds of background work, as data: adding a kind is adding one entry.

``path`` names the job function by its dotted path, because ``app`` never imports ``jobs``.
Parameters are checked against ``params`` when a run is requested and again when claimed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import msgspec

from app.runs.states import QueueName


class KindName(StrEnum):
    PULL = "pull"
    ACTIVATION = "activation"
    ROLLBACK = "rollback"
    EXPORT = "export"
    BULK_EDIT = "bulk_edit"
    HOUSEKEEPING = "housekeeping"
    MAIL = "mail"


class PullParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``accepted`` lists the gate codes that a person has let pass for this run.

    ``replay_of`` names a run whose kept answer is read instead of the service.
    """

    source_id: UUID
    accepted: list[str] = []
    replay_of: UUID | None = None


class ActivationParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``plan_digest`` is the SHA-256 of the plan that the person saw and approved."""

    version_id: UUID
    plan_digest: str


class ExportParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    export_id: UUID


class RollbackParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``to_run_id`` is the pull after which the dataset stood as it shall stand again."""

    dataset_id: UUID
    to_run_id: UUID


class BulkEditParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``undoes`` is the run whose changes are put back, instead of making others."""

    edit_id: UUID
    undoes: UUID | None = None


class HousekeepingParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class MailParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


@dataclass(frozen=True, slots=True)
class Kind:
    """``stall_seconds``: without a sign of progress for so long, the lease is let go.

    ``reads``: it reads a web service, which a process of its own does for it.
    """

    name: KindName
    label: str  # message id
    path: str
    queue: QueueName
    params: type[msgspec.Struct]
    max_attempts: int = 3
    backoff_seconds: float = 5.0
    stall_seconds: float = 900.0
    reads: bool = False


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(
                KindName.PULL,
                "Pull",
                "jobs.pulls.pull",
                QueueName.PULLS,
                PullParams,
                reads=True,
            ),
            Kind(
                KindName.ROLLBACK,
                "Roll-back",
                "jobs.rollbacks.roll_back",
                QueueName.CHECKS,
                RollbackParams,
            ),
            Kind(
                KindName.ACTIVATION,
                "Contract activation",
                "jobs.contracts.activate",
                QueueName.CHECKS,
                ActivationParams,
            ),
            Kind(
                KindName.EXPORT,
                "Excel export",
                "jobs.exports.export",
                QueueName.EXPORTS,
                ExportParams,
            ),
            Kind(
                KindName.BULK_EDIT,
                "Change of many rows",
                "jobs.edits.edit",
                QueueName.NOTICES,
                BulkEditParams,
            ),
            Kind(
                KindName.HOUSEKEEPING,
                "Housekeeping",
                "jobs.housekeeping.tidy",
                QueueName.NOTICES,
                HousekeepingParams,
            ),
            Kind(
                KindName.MAIL,
                "Sending mails",
                "jobs.mails.send",
                QueueName.NOTICES,
                MailParams,
            ),
        )
    }
)
