"""What may happen to a complaint; pure."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Kind(StrEnum):
    """What somebody says, by the published service."""

    COMPLAINT = "complaint"
    SUGGESTION = "suggestion"
    INPUT = "input"
    ASPIRATION = "aspiration"
    INFORMATION = "information"


class Channel(StrEnum):
    """By which way it came."""

    LETTER = "letter"
    EMAIL = "email"
    PHONE = "phone"
    FAX = "fax"
    IN_PERSON = "in_person"
    LAPOR = "lapor"
    PORTAL = "portal"
    FORM = "form"


# What staff enter; the other two come by themselves.
ENTERED = tuple(each for each in Channel if each not in {Channel.PORTAL, Channel.FORM})


class State(StrEnum):
    """Where it stands."""

    RECEIVED = "received"
    IN_HAND = "in_hand"
    ANSWERED = "answered"
    REFUSED = "turned_down"
    CLOSED = "closed"


OPEN = frozenset({State.RECEIVED, State.IN_HAND})


class Deed(StrEnum):
    """What somebody does to it."""

    RECEIVE = "receive"
    ASSIGN = "assign"
    FORWARD = "forward"
    REPLY = "reply"
    ANSWER = "answer"
    REFUSE = "refuse"
    CLOSE = "close"
    REOPEN = "reopen"


class Arrow(NamedTuple):
    """What a deed leads to, and whether it needs words."""

    target: State
    needs_words: bool = False


def _arrows() -> dict[tuple[State, Deed], Arrow]:
    found = {}
    for state in OPEN:
        found[state, Deed.ASSIGN] = Arrow(State.IN_HAND)
        found[state, Deed.FORWARD] = Arrow(State.IN_HAND)
        # Of the agency that it was forwarded to: the office makes the answer out of it.
        found[state, Deed.REPLY] = Arrow(state, needs_words=True)
        found[state, Deed.ANSWER] = Arrow(State.ANSWERED, needs_words=True)
        found[state, Deed.REFUSE] = Arrow(State.REFUSED, needs_words=True)
    # Who sent it is content with the answer, or has not come back.
    found[State.ANSWERED, Deed.CLOSE] = Arrow(State.CLOSED)
    for state in (State.ANSWERED, State.REFUSED, State.CLOSED):
        found[state, Deed.REOPEN] = Arrow(State.IN_HAND, needs_words=True)
    return found


ARROWS: Mapping[tuple[State, Deed], Arrow] = MappingProxyType(_arrows())
