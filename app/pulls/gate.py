"""The gate between stage and central table: faults of a whole answer, in pure numbers."""

from dataclasses import dataclass

from app.pulls.states import GateCode
from app.runs.errors import HeldError


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters of one pull, in records; ``alive`` is the table's rows before it."""

    read: int = 0
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0
    repeated: int = 0
    vanished: int = 0
    alive: int = 0


def check(
    counts: Counts,
    *,
    max_rejected_percent: int,
    max_vanished_percent: int,
    accepted: frozenset[str],
) -> None:
    """Raise ``HeldError`` for the first fault that no person has let pass for this run.

    A limit of 10 lets exactly 10 % through. With nothing alive nothing can vanish.
    """
    if (
        counts.rejected * 100 > counts.read * max_rejected_percent
        and GateCode.REJECTED not in accepted
    ):
        raise HeldError(
            GateCode.REJECTED,
            "%(n)s of %(total)s records broke the contract, more than %(limit)s %%. Nothing"
            " was published; the data from before keeps serving.",
            n=counts.rejected,
            total=counts.read,
            limit=max_rejected_percent,
        )
    if (
        counts.vanished * 100 > counts.alive * max_vanished_percent
        and GateCode.VANISHED not in accepted
    ):
        raise HeldError(
            GateCode.VANISHED,
            "%(n)s of %(total)s rows would vanish, more than %(limit)s %%. Nothing was"
            " published; the data from before keeps serving.",
            n=counts.vanished,
            total=counts.alive,
            limit=max_vanished_percent,
        )
