"""Filling the stage: binary COPY of a page's rows, in the transaction of its checkpoint."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.decoder import Rejected
from app.contracts.field_rules import FieldError
from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core.sql import quote_all
from app.datasets.ddl import SQL_TYPES, Names, keys_of


@dataclass(frozen=True, slots=True)
class ReadPage:
    """A page as the stage takes it.

    ``rows`` are accepted rows in field order, each followed by its place: how many records
    came before it in the whole answer. ``keys`` are the keys of records whose rows must not
    vanish though there are no values of them: (*key, place, rejected, known). ``digests``
    are those of the page, blank for records that were not accepted.
    """

    index: int
    rows: Sequence[tuple[Any, ...]]
    keys: Sequence[tuple[Any, ...]]
    known_count: int
    rejected: Sequence[Rejected]
    digests: bytes

    @property
    def staged_count(self) -> int:
        return len(self.rows) + len(self.keys)


class Stage:
    """The stage of one contract version, as one run fills it."""

    def __init__(self, names: Names, fields: Sequence[FieldSpec]) -> None:
        columns = [each.name for each in fields]
        types = [_copy_type(each) for each in fields]
        self._keys = keys_of(fields)
        self._names = names
        self._rows_sql = f"COPY {names.stage} ({quote_all(columns)}, _place) FROM STDIN (FORMAT BINARY)"
        self._row_types = [*types, "int8"]
        self._keys_sql = (
            f"COPY {names.stage} ({quote_all(self._keys)}, _place, _rejected, _known)"
            " FROM STDIN (FORMAT BINARY)"
        )
        by_name = dict(zip(columns, types, strict=True))
        self._key_types = [*(by_name[key] for key in self._keys), "int8", "bool", "bool"]

    def clear(self, session: Session) -> None:
        session.execute(sa.text(f"TRUNCATE {self._names.stage}"))

    def row_count(self, session: Session) -> int:
        count: int = session.execute(
            sa.text(f"SELECT count(*) FROM {self._names.stage}")
        ).scalar_one()
        return count

    def add(self, session: Session, page: ReadPage) -> None:
        """Copy a page: its good rows; of known and of bad records the keys alone."""
        if page.rows:
            _copy(session, self._rows_sql, self._row_types, page.rows)
        if page.keys:
            _copy(session, self._keys_sql, self._key_types, page.keys)


def _copy_type(each: FieldSpec) -> str:
    if each.type is FieldType.NUMBER:
        return "bytea"  # written bytes; on the wire they look like text's
    name = SQL_TYPES[each.type]
    return {"bigint": "int8", "boolean": "bool"}.get(name, name)


def _copy(
    session: Session, sql: str, types: list[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("COPY needs a psycopg connection")
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        copy.set_types(types)
        write = copy.write_row
        for row in rows:
            write(row)


# One statement for a page: the table's own wall (row-level security) forbids COPY.
_QUARANTINE = sa.text(
    "INSERT INTO quarantined_record (id, run_id, source_id, version_id, agency_id, page,"
    " position, record_key, errors, raw)"
    " SELECT gen_random_uuid(), :run_id, :source_id, :version_id, :agency_id, bad.page,"
    " bad.position, bad.record_key, bad.errors::jsonb, bad.raw"
    " FROM unnest(CAST(:pages AS int[]), CAST(:positions AS int[]), CAST(:keys AS text[]),"
    " CAST(:errors AS text[]), CAST(:raws AS bytea[]))"
    " AS bad (page, position, record_key, errors, raw)"
)


def as_columns(rejected: Sequence[tuple[int, Rejected]]) -> dict[str, list[Any]]:
    """Return records to set aside, each with the index of its page, as ``quarantine`` takes them."""
    records = [bad for _, bad in rejected]
    return {
        "pages": [page for page, _ in rejected],
        "positions": [bad.position for bad in records],
        "keys": [_key_text(bad.key) for bad in records],
        "errors": [_errors_json(bad.errors) for bad in records],
        "raws": [bytes(bad.raw) for bad in records],
    }


def quarantine(
    session: Session, run_id: UUID, columns: dict[str, list[Any]], **owner: UUID
) -> None:
    """Set records aside with all their errors. ``owner``: source, version and agency ids."""
    if columns["pages"]:
        session.execute(_QUARANTINE, {"run_id": run_id, **columns, **owner})


def _errors_json(errors: Sequence[FieldError]) -> str:
    listed = [error._asdict() for error in errors]
    return msgspec.json.encode(listed, enc_hook=str).decode()


def _key_text(key: tuple[Any, ...] | None) -> str:
    """Return a key as a person reads it."""
    return (
        "" if key is None else " / ".join(str(part) for part in msgspec.to_builtins(key))
    )
