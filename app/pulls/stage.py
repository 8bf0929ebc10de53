"""Filling the stage: binary COPY of a page's rows, in the transaction of its checkpoint."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.audit.recorder import as_json
from app.contracts.decoder import DecodedPage, Rejected
from app.contracts.fields import FieldSpec
from app.core.sql import quote_all
from app.datasets.ddl import SQL_TYPES, Names, keys_of
from app.pulls.models import QuarantinedRecord

# A page may hold up to 2**32 records; a place is page * 2**32 + position.
PAGE_SHIFT = 32


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
            f"COPY {names.stage} ({quote_all(self._keys)}, _place, _rejected)"
            " FROM STDIN (FORMAT BINARY)"
        )
        by_name = dict(zip(columns, types, strict=True))
        self._key_types = [*(by_name[key] for key in self._keys), "int8", "bool"]

    def clear(self, session: Session) -> None:
        session.execute(sa.text(f"TRUNCATE {self._names.stage}"))

    def add(self, session: Session, page: int, decoded: DecodedPage) -> None:
        """Copy a page: its good rows, and the keys of its bad ones so they do not vanish."""
        base = page << PAGE_SHIFT
        places: Sequence[int] = (
            range(base, base + len(decoded.rows))
            if decoded.positions is None
            else [base + position for position in decoded.positions]
        )
        _copy(
            session,
            self._rows_sql,
            self._row_types,
            [(*row, place) for row, place in zip(decoded.rows, places, strict=True)],
        )
        marks = [
            (*bad.key, base + bad.position, True)
            for bad in decoded.rejected
            if bad.key is not None
        ]
        if marks:
            _copy(session, self._keys_sql, self._key_types, marks)


def _copy_type(each: FieldSpec) -> str:
    name = SQL_TYPES[each.type]
    return {"bigint": "int8", "boolean": "bool"}.get(name, name)


def _copy(
    session: Session, sql: str, types: list[str], rows: list[tuple[Any, ...]]
) -> None:
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("COPY needs a psycopg connection")
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        copy.set_types(types)
        write = copy.write_row
        for row in rows:
            write(row)


def quarantine(
    session: Session,
    run_id: UUID,
    page: int,
    rejected: Sequence[Rejected],
    **owner: UUID,
) -> None:
    """Set records aside with all their errors. ``owner``: source, version and agency ids."""
    if not rejected:
        return
    session.execute(
        sa.insert(QuarantinedRecord),
        [
            {
                "id": uuid4(),
                "run_id": run_id,
                "page": page,
                "position": bad.position,
                "record_key": _key_text(bad.key),
                "errors": [as_json(error._asdict()) for error in bad.errors],
                "raw": bad.raw,
                **owner,
            }
            for bad in rejected
        ],
    )


def _key_text(key: tuple[Any, ...] | None) -> str:
    return (
        "" if key is None else " / ".join(str(part) for part in msgspec.to_builtins(key))
    )
