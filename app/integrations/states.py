"""How an integration does, told from what its parts say; pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from app.core.words import message_id as _

NO_VERSION = _("No version of the contract is active.")
NO_SOURCE = _("No source is switched on: nothing is pulled.")
RESTING = _("The source rests: see why on its page.")
NO_SCHEDULE = _("No time is set: it is only pulled when somebody asks for it.")
NO_DATA = _("Nothing has been published yet.")
FAILED = _("The last pull did not succeed.")
LATE = _("The next pull is overdue.")
REVIEW_DUE = _("The day of review has passed.")
# A slot that the scheduler takes up within this time is not late.
GRACE = timedelta(hours=1)


class Health(StrEnum):
    """What a glance at an integration tells."""

    HEALTHY = "healthy"
    NEEDS_LOOK = "needs_look"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an integration; the states of its parts as committed.

    ``next_due_at`` is None without a schedule that is switched on.
    """

    is_active: bool = False
    has_source: bool = False
    is_resting: bool = False
    has_failed: bool = False
    next_due_at: datetime | None = None
    published_at: datetime | None = None
    review_on: date | None = None


def reasons_of(facts: Facts, now: datetime, today: date) -> list[tuple[Health, str]]:
    """Return what is wrong, the worst first, as message ids; nothing for a healthy one."""
    is_late = facts.next_due_at is not None and facts.next_due_at + GRACE < now
    is_past = facts.review_on is not None and facts.review_on < today
    wrong = (
        (Health.STOPPED, NO_VERSION, not facts.is_active),
        (Health.STOPPED, NO_SOURCE, not facts.has_source),
        (Health.STOPPED, RESTING, facts.is_resting),
        (Health.NEEDS_LOOK, FAILED, facts.has_failed),
        (Health.NEEDS_LOOK, NO_DATA, facts.published_at is None),
        (Health.NEEDS_LOOK, LATE, is_late and not facts.is_resting),
        (Health.NEEDS_LOOK, NO_SCHEDULE, facts.has_source and facts.next_due_at is None),
        (Health.NEEDS_LOOK, REVIEW_DUE, is_past),
    )
    return [(health, message) for health, message, is_so in wrong if is_so]


def health_of(facts: Facts, now: datetime, today: date) -> Health:
    """Return the worst of what is wrong."""
    reasons = reasons_of(facts, now, today)
    return reasons[0][0] if reasons else Health.HEALTHY
