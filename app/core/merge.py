"""Merging what two people made of the same thing, by what it was before both of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

# By name of the field; a choice of many has several, one that is switched off none.
Values = Mapping[str, Sequence[str]]


class Merged(NamedTuple):
    """The values of both; ``news`` are theirs, where ``collisions`` are, mine stand for now."""

    values: dict[str, list[str]]
    news: list[str]
    collisions: list[str]


def merge(before: Values | None, mine: Values, theirs: Values) -> Merged:
    """Take of each field what one of the two changed; where both did, somebody must choose.

    ``before`` None: nobody knows what it was, so that each difference is a collision.
    """
    merged = Merged({}, [], [])
    for name in dict.fromkeys((*theirs, *mine)):
        own, other = mine.get(name), theirs.get(name)
        was = None if before is None else before.get(name)
        if own != other and before is not None and own == was:
            own = other
            merged.news.append(name)
        elif own != other and (before is None or other != was):
            merged.collisions.append(name)
        if own is not None:
            merged.values[name] = list(own)
    return merged
