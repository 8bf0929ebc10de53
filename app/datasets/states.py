"""Words of agreements."""

from enum import StrEnum


class AgreementState(StrEnum):
    """Where an agreement stands; ``ACTIVE`` alone opens rows."""

    PROPOSED = "proposed"
    ACTIVE = "active"
    AHEAD = "ahead"  # consented to, begins later
    OVER = "over"  # its last day is past
    ENDED = "ended"  # before its last day
    DECLINED = "declined"
