"""What somebody may read of a dataset: which fields, which rows, by which agreement."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.contracts.fields import FieldSpec
from app.contracts.states import Classification, FieldType
from app.core.sql import quote
from app.datasets.ddl import Names

PERSONAL = frozenset({Classification.PERSONAL, Classification.SENSITIVE})
# What rows may be chosen by: types of which every value has one way of being written.
CHOOSABLE = frozenset({FieldType.TEXT, FieldType.INTEGER})


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows alone whose ``field`` has one of ``values``."""

    field: str
    values: tuple[str, ...]

    @property
    def sql(self) -> str:
        """The condition, with its values as literals: COPY takes no parameters."""
        values = ", ".join(_literal(each) for each in self.values)
        return f"{quote(self.field)}::text IN ({values})" if values else "false"


def _literal(text: str) -> str:
    """Return a literal without any sign that a driver would take for a parameter's."""
    if "\0" in text:
        raise ValueError("a NUL cannot stand in SQL")
    signs = [f"\\{ord(sign):03o}" if sign in "\\'%:" else sign for sign in text]
    return f"E'{''.join(signs)}'"


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a dataset somebody may read.

    ``fields`` in the contract's order; ``keys`` order the rows, whether they may be read or
    not; ``chosen`` None: all rows. ``is_whole``: it is the dataset itself, and not what an
    agreement opens of it, which ``basis`` names.
    """

    fields: tuple[FieldSpec, ...]
    keys: tuple[FieldSpec, ...]
    chosen: Chosen | None = None
    basis: str = ""
    is_whole: bool = False

    @property
    def shows_keys(self) -> bool:
        return all(key in self.fields for key in self.keys)

    def source(self, names: Names) -> str:
        """Return what rows are read from: the table, or the rows of it that are chosen."""
        if self.chosen is None:
            return names.table
        return f"(SELECT * FROM {names.table} WHERE {self.chosen.sql}) AS chosen"


def whole(specs: Sequence[FieldSpec]) -> Reading:
    """Return the reading of who may read all: the office, and whose data it is."""
    keys = tuple(each for each in specs if each.is_key)
    return Reading(tuple(specs), keys, is_whole=True)


def readable(
    specs: Sequence[FieldSpec], named: Sequence[str], *, masked: bool = False
) -> tuple[FieldSpec, ...]:
    """Return the fields that are opened: those named, or all that are not personal.

    Without names, personal ones too where they come ``masked``.
    """
    if named:
        return tuple(each for each in specs if each.name in named)
    if masked:
        return tuple(specs)
    return tuple(each for each in specs if each.classification not in PERSONAL)
