"""Reading the contract's field table out of a form that anybody may send."""

from collections.abc import Mapping
from typing import Any

from app.contracts.fields import FieldSpec
from app.contracts.rules import MAX_FIELDS, Problem
from app.contracts.states import Classification, FieldType

TEXTS = (
    "name", "source_path", "label", "minimum", "maximum", "pattern", "definition", "unit",
    "example",
)  # fmt: skip
MAX_TEXT = 2000


def read_fields(form: Mapping[str, str]) -> tuple[list[FieldSpec], list[Problem]]:
    """Return the fields of a posted table in the order of their rows, and what was unreadable.

    Rows are named ``f-<n>-<column>``; a row without name, path and label is an empty one.
    """
    numbers = sorted({int(key.split("-")[1]) for key in form if _is_row_key(key)})[
        : MAX_FIELDS + 1
    ]
    fields: list[FieldSpec] = []
    problems: list[Problem] = []
    for number in numbers:
        row = {
            key.split("-", 2)[2]: value.replace("\0", "")[:MAX_TEXT]
            for key, value in form.items()
            if key.startswith(f"f-{number}-")
        }
        if not any(
            row.get(name, "").strip() for name in ("name", "source_path", "label")
        ):
            continue
        fields.append(_field(row, problems))
    return fields, problems


def _is_row_key(key: str) -> bool:
    parts = key.split("-", 2)
    return (
        len(parts) == 3 and parts[0] == "f" and parts[1].isdecimal() and len(parts[1]) < 7
    )


def _field(row: Mapping[str, str], problems: list[Problem]) -> FieldSpec:
    texts: dict[str, Any] = {name: row.get(name, "").strip() for name in TEXTS}
    name = texts["name"]
    texts["source_path"] = texts["source_path"] or name
    texts["label"] = texts["label"] or name
    is_key = row.get("is_key") == "1"
    return FieldSpec(
        **texts,
        type=_choice(FieldType, row.get("type", ""), FieldType.TEXT),
        classification=_choice(
            Classification, row.get("classification", ""), Classification.PUBLIC
        ),
        required=is_key or row.get("required") == "1",
        is_key=is_key,
        min_length=_length(row, "min_length", name, problems),
        max_length=_length(row, "max_length", name, problems),
        allowed_values=tuple(
            value.strip()
            for value in row.get("allowed_values", "").split("|")
            if value.strip()
        ),
    )


def _choice(members: Any, text: str, default: Any) -> Any:
    return members(text) if text in set(members) else default


def _length(
    row: Mapping[str, str], column: str, name: str, problems: list[Problem]
) -> int | None:
    text = row.get(column, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        problems.append(Problem(name, "A length lies between 0 and 10,000,000."))
        return None
    return int(text)
