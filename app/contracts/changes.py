"""What a new version changes for those who read the data. Pure.

A change is breaking when rows that keep the new terms may break the old ones, or mean
something else: a program that relied on the old terms could then be wrong. So what is
tightened or added breaks nobody, and what is taken away or loosened does.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import InvalidOperation
from typing import Any, NamedTuple

from app.contracts.fields import FieldSpec
from app.contracts.rules import ORDERED, bound_of
from app.contracts.states import Classification
from app.core.words import message_id as _

_ORDER = list(Classification)
ADDED = _("%(field)s is new.")
REMOVED = _("%(field)s is taken away.")
CHANGED = _("%(field)s, %(column)s: %(old)s becomes %(new)s.")


class Change(NamedTuple):
    """One change: of which field, in which column ("" for the whole field), from what to what."""

    field: str
    label: str
    message: str
    is_breaking: bool
    column: str = ""
    old: Any = None
    new: Any = None


def changes_of(old: Sequence[FieldSpec], new: Sequence[FieldSpec]) -> list[Change]:
    """Return what becomes of each field, the breaking changes first.

    The order of fields is no change: they are read by their names.
    """
    before = {each.name: each for each in old}
    after = {each.name: each for each in new}
    found = [
        Change(name, spec.label, REMOVED, is_breaking=True)
        for name, spec in before.items()
        if name not in after
    ]
    found += [
        Change(name, spec.label, ADDED, is_breaking=False)
        for name, spec in after.items()
        if name not in before
    ]
    for name, spec in after.items():
        if name in before:
            found += _of_field(before[name], spec)
    return sorted(found, key=lambda each: not each.is_breaking)


def is_breaking(changes: Sequence[Change]) -> bool:
    return any(each.is_breaking for each in changes)


def hit_fields(changes: Sequence[Change]) -> set[str]:
    """Name the fields that a breaking change is about."""
    return {each.field for each in changes if each.is_breaking}


def _of_field(old: FieldSpec, new: FieldSpec) -> Iterator[Change]:
    for column in FieldSpec.__struct_fields__:
        was, becomes = getattr(old, column), getattr(new, column)
        if was != becomes:
            judge = _JUDGES.get(column)
            breaks = judge(old, new) if judge else False
            yield Change(new.name, new.label, CHANGED, breaks, column, was, becomes)


def _less_required(old: FieldSpec, new: FieldSpec) -> bool:
    return old.required and not new.required


def _other_values(old: FieldSpec, new: FieldSpec) -> bool:
    """Tell whether a value may come that could not before; none listed means any."""
    if not old.allowed_values:
        return False
    return not new.allowed_values or not set(new.allowed_values) <= set(
        old.allowed_values
    )


def _shorter(old: FieldSpec, new: FieldSpec) -> bool:
    return old.min_length is not None and (new.min_length or 0) < old.min_length


def _longer(old: FieldSpec, new: FieldSpec) -> bool:
    if old.max_length is None:
        return False
    return new.max_length is None or new.max_length > old.max_length


def _smaller(old: FieldSpec, new: FieldSpec) -> bool:
    if old.type is not new.type:
        return False  # that is told already
    was, becomes = _bound(old, old.minimum), _bound(new, new.minimum)
    return was is not None and (becomes is None or becomes < was)


def _larger(old: FieldSpec, new: FieldSpec) -> bool:
    if old.type is not new.type:
        return False
    was, becomes = _bound(old, old.maximum), _bound(new, new.maximum)
    return was is not None and (becomes is None or becomes > was)


def _bound(spec: FieldSpec, text: str) -> Any:
    """Return a bound as a value; None where there is none, or none of this type."""
    try:
        return bound_of(spec.type, text) if spec.type in ORDERED else None
    except (ValueError, InvalidOperation):  # a draft may be unsound still
        return None


def _more_guarded(old: FieldSpec, new: FieldSpec) -> bool:
    """Tell whether fewer may see it: who received it may receive it no longer."""
    return _ORDER.index(new.classification) > _ORDER.index(old.classification)


def _always(old: FieldSpec, new: FieldSpec) -> bool:
    del old, new
    return True


def _dropped_pattern(old: FieldSpec, new: FieldSpec) -> bool:
    """Of two patterns nobody can tell which one lets through more: another one is loosened."""
    del new
    return old.pattern != ""


_JUDGES: dict[str, Callable[[FieldSpec, FieldSpec], bool]] = {
    "type": _always,
    "is_key": _always,  # rows are recognised by something else
    "unit": _always,  # the same number means something else
    "required": _less_required,
    "allowed_values": _other_values,
    "min_length": _shorter,
    "max_length": _longer,
    "minimum": _smaller,
    "maximum": _larger,
    "pattern": _dropped_pattern,
    "classification": _more_guarded,
}
