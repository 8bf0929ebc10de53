"""The life of a background run."""

from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands. Nothing but the ledger's services sets it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the same call would fail again
    DEAD = "dead"  # every attempt was used up
    HELD = "held"  # a gate stopped it; a person decides
    SKIPPED = "skipped"  # its slot came while the one before it was still at work


ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
TERMINAL = tuple(status for status in RunStatus if status not in ACTIVE)
RETRYABLE = (RunStatus.FAILED, RunStatus.DEAD, RunStatus.HELD)


class QueueName(StrEnum):
    """One queue for each kind of load, so that exports never wait behind pulls."""

    PULLS = "pulls"
    CHECKS = "checks"
    EXPORTS = "exports"
    NOTICES = "notices"


class LogLevel(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
