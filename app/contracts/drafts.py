"""A draft as values by name, so that what two people made of it is merged column by column.

A field stands as one text, ``field:nip``. Where all sides have the field, its columns are
compared each for itself, ``column:nip.label``; where one side took it away or added it, it
counts as a whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from flask_babel import gettext

from app.contracts.changes import Change
from app.contracts.fields import FieldSpec
from app.contracts.states import Classification, FieldType
from app.core.merge import Merged, Values, merge
from app.web.context import state_name
from app.web.i18n import lazy_gettext as _
from app.web.merging import Fields

ORDER = "order"
LIMITS: Mapping[str, Any] = {
    "max_vanished_percent": _("Vanished rows at most, in percent"),
    "max_rejected_percent": _("Rejected records at most, in percent"),
}
COLUMNS: Mapping[str, Any] = {
    "name": _("Field name"),
    "source_path": _("Path in the source"),
    "label": _("Label"),
    "type": _("Type"),
    "required": _("required"),
    "is_key": _("key"),
    "min_length": _("Shortest length"),
    "max_length": _("Longest length"),
    "minimum": _("Smallest value"),
    "maximum": _("Largest value"),
    "pattern": _("Pattern (regular expression)"),
    "allowed_values": _("Allowed values, with | between"),
    "classification": _("Class"),
    "definition": _("Definition"),
    "unit": _("Unit"),
    "example": _("Example"),
}


def values_of(
    specs: Sequence[FieldSpec], limits: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Return a draft as values by name; ``limits`` by column."""
    values = {ORDER: [each.name for each in specs]}
    values |= {f"limit:{name}": [str(value)] for name, value in limits.items()}
    values |= {f"field:{each.name}": [_written(each)] for each in specs}
    return values


def specs_of(values: Values) -> list[FieldSpec]:
    """Return the fields that values stand for, in their order."""
    found = {
        name.removeprefix("field:"): _read(texts)
        for name, texts in values.items()
        if name.startswith("field:")
    }
    order = [name for name in values.get(ORDER, ()) if name in found]
    return [found[name] for name in dict.fromkeys((*order, *found))]


def limits_of(values: Values) -> dict[str, str]:
    return {name: "".join(values.get(f"limit:{name}", ())) for name in LIMITS}


def put(values: dict[str, list[str]], name: str, value: list[str] | None) -> None:
    """Set one value by its name; None takes the field away."""
    kind, _colon, rest = name.partition(":")
    field, _dot, column = rest.rpartition(".")
    if kind == "column" and f"field:{field}" in values:
        spec = msgspec.json.decode(values[f"field:{field}"][0])
        spec[column] = msgspec.json.decode(value[0] if value else "null")
        values[f"field:{field}"] = [msgspec.json.encode(spec).decode()]
    elif kind != "column" and value is None:
        values.pop(name, None)
    elif kind != "column" and value is not None:
        values[name] = value


def _written(spec: FieldSpec) -> str:
    return msgspec.json.encode(spec).decode()


def _read(texts: Sequence[str]) -> FieldSpec:
    spec = msgspec.json.decode(texts[0], type=FieldSpec)
    # A key that one of two made required by making it a key stays required.
    return msgspec.structs.replace(spec, required=spec.required or spec.is_key)


def told(change: Change) -> str:
    """Say one change in the reader's language."""
    return str(
        gettext(
            change.message,
            field=f"{change.label} ({change.field})" if change.label else change.field,
            column=COLUMNS.get(change.column, change.column),
            old=_column_words(change.old),
            new=_column_words(change.new),
        )
    )


class DraftFields(Fields):
    """How drafts are merged, and what their parts are called."""

    def merge(self, before: Values | None, mine: Values, theirs: Values) -> Merged:
        sides = [mine, theirs, *([before] if before is not None else [])]
        common = set.intersection(*(set(each) for each in sides))
        opened = [_opened(each, common) for each in sides]
        found = merge(opened[2] if before is not None else None, opened[0], opened[1])
        values = _closed(found.values)
        moved = before is None or mine.get(ORDER) != before.get(ORDER)
        values[ORDER] = list((mine if moved else theirs).get(ORDER, ()))
        return found._replace(values=values)

    def pick(self, values: Values, name: str) -> list[str] | None:
        kind, _colon, rest = name.partition(":")
        if kind != "column":
            return super().pick(values, name)
        field, _dot, column = rest.rpartition(".")
        whole = values.get(f"field:{field}")
        return _columns(whole).get(column) if whole else None

    def label(self, name: str) -> str:
        kind, _colon, rest = name.partition(":")
        if kind == "limit":
            return str(LIMITS.get(rest, rest))
        if kind == "field":
            return rest
        field, _dot, column = rest.rpartition(".")
        return f"{field}: {COLUMNS.get(column, column)}"

    def words(self, name: str, value: list[str] | None) -> str:
        kind = name.partition(":")[0]
        if not value:
            return str(gettext("not there")) if kind == "field" else "–"
        if kind == "field":
            spec = _read(value)
            return f"{spec.label} ({state_name(spec.type)})"
        if kind == "limit":
            return value[0]
        return _column_words(msgspec.json.decode(value[0]))


def _column_words(value: Any) -> str:
    if value is None or value in ("", []):
        return "–"
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return state_name(value) if value in _STATES else str(value)


_STATES = frozenset({*FieldType, *Classification})


def _columns(texts: Sequence[str]) -> dict[str, list[str]]:
    spec: dict[str, Any] = msgspec.to_builtins(_read(texts))
    return {name: [msgspec.json.encode(each).decode()] for name, each in spec.items()}


def _opened(values: Values, common: set[str]) -> dict[str, list[str]]:
    """Return values with the columns of fields that all sides have, each for itself."""
    opened: dict[str, list[str]] = {}
    for name, texts in values.items():
        if name.startswith("field:") and name in common:
            field = name.removeprefix("field:")
            opened |= {
                f"column:{field}.{column}": value
                for column, value in _columns(texts).items()
            }
        elif name != ORDER:
            opened[name] = list(texts)
    return opened


def _closed(values: Values) -> dict[str, list[str]]:
    """Undo ``_opened``."""
    closed: dict[str, list[str]] = {}
    specs: dict[str, dict[str, Any]] = {}
    for name, texts in values.items():
        kind, _colon, rest = name.partition(":")
        if kind != "column":
            closed[name] = list(texts)
            continue
        field, _dot, column = rest.rpartition(".")
        specs.setdefault(field, {})[column] = msgspec.json.decode(texts[0])
    for field, spec in specs.items():
        closed[f"field:{field}"] = [_written(msgspec.convert(spec, FieldSpec))]
    return closed
