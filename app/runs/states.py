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
    SKIPPED = "skipped"  # its slot came while the one before it was at work, or too late
    CANCELLED = "cancelled"  # a person called it off


ACTIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
TERMINAL = tuple(status for status in RunStatus if status not in ACTIVE)
RETRYABLE = (RunStatus.FAILED, RunStatus.DEAD, RunStatus.HELD, RunStatus.CANCELLED)
# What ended so that somebody has to look at it.
TROUBLED = (RunStatus.FAILED, RunStatus.DEAD, RunStatus.HELD)
DEAD_LETTERS = (RunStatus.FAILED, RunStatus.DEAD)


# Seconds without a pulse after which a worker or scheduler counts as gone.
SILENT_SECONDS = 60


class QueueName(StrEnum):
    """One queue for each kind of load, so that exports never wait behind pulls."""

    PULLS = "pulls"
    CHECKS = "checks"
    EXPORTS = "exports"
    NOTICES = "notices"


class MissedPolicy(StrEnum):
    """What becomes of the slots that passed while no scheduler ran."""

    CATCH_UP = "catch_up"  # one run for each of them, one after the other
    COALESCE = "coalesce"  # one run for all of them
    SKIP = "skip"  # none; the next slot is the next run


class LogLevel(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
