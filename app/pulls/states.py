"""The words of a pull's gate."""

from enum import StrEnum


class GateCode(StrEnum):
    """Why a pull is held for a person; each can be let pass for one run."""

    VANISHED = "too_many_vanished"
    REJECTED = "too_many_rejected"
