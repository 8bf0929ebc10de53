"""What the agency found when it checked: a list for its own system, closed by a later pull.

Nobody ticks a finding off. Each time the list is asked for, it is compared with the central
table: a finding is settled once a pull has brought what the agency expects, or is given up by
the agency with a reason.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core import db
from app.core.clock import in_zone
from app.core.policy import DbRole, Principal, acting_as
from app.core.scope import NotFoundError
from app.core.words import message_id as _
from app.datasets.ddl import TYPE_WORDS
from app.datasets.models import Dataset
from app.datasets.queries import reading_of, rows_by_keys
from app.datasets.reading import Reading
from app.requests.documents import DocumentKind
from app.requests.fields import Values
from app.requests.models import Document, IntegrationRequest

# Central tables open to staff and owners; of what is read here the agency's reading is told.
_READER = Principal("sistem: temuan pemeriksaan", DbRole.OFFICE)
_BETWEEN_KEYS = re.compile(r"\s*[;|·]\s*")
_DAYS = ("%Y-%m-%d", "%d-%m-%Y", "%d/%m/%Y", "%d.%m.%Y")
_YES = frozenset({"ya", "yes", "true", "benar", "1"})
_NO = frozenset({"tidak", "no", "false", "salah", "0"})
_GROUPED = re.compile(r"-?[0-9]{1,3}(\.[0-9]{3})+", re.ASCII)  # 12.345, as people here do
_BIGGEST = 2**63 - 1  # of a column of whole numbers
_MOST_DIGITS = 1_000  # before the point, and behind it: far more than a document takes

NO_ROWS = _("There are no rows to compare with yet.")
NO_KEYS = _("The keys of the rows are not opened to the agency: nothing can be compared.")
NO_KEY = _("Write the key of the record; several parts with ; between them: %(keys)s.")
NO_ELEMENT = _("Name an element as the dataset has it, such as %(name)s.")
NO_RECORD = _("There is no record with this key.")
NO_KIND = _("Say what is wrong with the record: a value, missing, or not to be there.")
NOT_READ = _("This cannot be compared with an element of the type %(type)s.")


class Wrong(StrEnum):
    """What is wrong with a record."""

    VALUE = "value"
    MISSING = "missing"
    SURPLUS = "surplus"


class FindingState(StrEnum):
    """Where a finding stands."""

    OPEN = "finding_open"
    SETTLED = "finding_settled"
    GIVEN_UP = "finding_given_up"
    UNCLEAR = "finding_unclear"


OUTCOMES: Mapping[FindingState, str] = MappingProxyType(
    {
        FindingState.OPEN: _("waits for a pull"),
        FindingState.SETTLED: _("settled by a pull"),
        FindingState.GIVEN_UP: _("given up"),
        FindingState.UNCLEAR: _("cannot be compared"),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of an agency, beside what the central table says now.

    ``now`` is the value of the element, None without one; ``run_id`` and ``since`` tell which
    run changed the record last. ``problem`` and ``params`` say why it cannot be compared.
    """

    told: Values
    state: FindingState
    now: Any = None
    run_id: UUID | None = None
    since: datetime | None = None
    problem: str = ""
    params: Mapping[str, str] | None = None

    @property
    def keeps_open(self) -> bool:
        """Whether the check cannot end because of it."""
        return self.state in {FindingState.OPEN, FindingState.UNCLEAR}


def findings_of(session: Session, case: IntegrationRequest, zone: str) -> list[Finding]:
    """Return the findings of a case in their order, compared with what is published.

    ``zone`` is that of the office: a day or a time that is written is meant on its clock.
    """
    content = session.scalar(
        sa.select(Document.content).where(
            Document.case_id == case.id, Document.kind == DocumentKind.AGENCY_CHECK
        )
    )
    told = (content or {}).get("findings", ())
    if not told:
        return []
    with acting_as(_READER), db.unit_of_work() as central:
        dataset = central.scalar(
            sa.select(Dataset).where(Dataset.contract_id == case.contract_id)
        )
        if dataset is None or dataset.published_at is None:
            return [_unread(each, _UnclearError(NO_ROWS)) for each in told]
        try:
            reading = reading_of(central, dataset, case.agency_id)
        except NotFoundError:
            return [_unread(each, _UnclearError(NO_ROWS)) for each in told]
        table = _Table(reading, zone)
        keys = [key for each in told if (key := _key_or_none(table, each))]
        rows = rows_by_keys(central, dataset, reading, keys)
    return [_held_against(table, rows, each) for each in told]


@dataclass(frozen=True, slots=True)
class _Table:
    """What the agency may read of the central table, and on whose clock days are meant."""

    reading: Reading
    zone: str


Key = tuple[Any, ...]
Rows = Mapping[Key, Mapping[str, Any]]


class _UnclearError(Exception):
    """Why a finding cannot be compared, as a message id and what fills it."""

    def __init__(self, problem: str, **params: str) -> None:
        super().__init__(problem)
        self.problem, self.params = problem, params


def _held_against(table: _Table, rows: Rows, told: Values) -> Finding:
    try:
        return _compared(table, rows, told)
    except _UnclearError as unclear:
        return _unread(told, unclear)


def _compared(table: _Table, rows: Rows, told: Values) -> Finding:
    row = rows.get(_key(table, told))
    is_there = row is not None and row["_deleted_at"] is None
    wrong = _wrong(told)
    if wrong is Wrong.SURPLUS and row is None and table.reading.is_whole:
        raise _UnclearError(NO_RECORD)  # no pull has ever brought it, or taken it away
    if wrong is not Wrong.VALUE:
        return _found(told, row, is_settled=is_there is (wrong is Wrong.MISSING))
    now, is_settled = _value(table, row if is_there else None, told)
    return _found(told, row, now=now, is_settled=is_settled)


def _wrong(told: Values) -> Wrong:
    try:
        return Wrong(told.get("wrong") or Wrong.VALUE)
    except ValueError:  # a document is kept also while something in it is malformed
        raise _UnclearError(NO_KIND) from None


def _unread(told: Values, why: _UnclearError) -> Finding:
    state = FindingState.GIVEN_UP if told.get("given_up") else FindingState.UNCLEAR
    return Finding(told, state, problem=why.problem, params=why.params)


def _key_or_none(table: _Table, told: Values) -> Key | None:
    try:
        return _key(table, told)
    except _UnclearError:
        return None


def _key(table: _Table, told: Values) -> Key:
    """Return the parts of the key that is meant, each as the table has it."""
    keys = table.reading.keys
    if not table.reading.shows_keys:
        raise _UnclearError(NO_KEYS)
    text = told.get("key", "").strip()
    # A key of one part may have any sign in it.
    parts = _BETWEEN_KEYS.split(text) if len(keys) > 1 else [text]
    if len(parts) != len(keys) or not all(parts):
        raise _UnclearError(
            NO_KEY, keys="; ".join(each.label or each.name for each in keys)
        )
    return tuple(
        _read(spec, part, table.zone) for spec, part in zip(keys, parts, strict=True)
    )


def _value(
    table: _Table, row: Mapping[str, Any] | None, told: Values
) -> tuple[Any, bool]:
    """Return what an element of a record is now, and whether that is what is expected."""
    if row is None:
        raise _UnclearError(NO_RECORD)
    spec = _element(table.reading.fields, told.get("element", ""))
    if spec is None:
        raise _UnclearError(NO_ELEMENT, name=table.reading.fields[0].label)
    expected = _read(spec, told.get("expected", "").strip(), table.zone)
    now = row[spec.name]
    return now, _same(now, expected, table.zone)


def _found(
    told: Values, row: Mapping[str, Any] | None, *, is_settled: bool, now: Any = None
) -> Finding:
    state = FindingState.SETTLED if is_settled else FindingState.OPEN
    if told.get("given_up") and not is_settled:
        state = FindingState.GIVEN_UP
    run_id, since = (row["_run_id"], row["_changed_at"]) if row else (None, None)
    return Finding(told, state, now, run_id, since)


def _element(fields: Sequence[FieldSpec], named: str) -> FieldSpec | None:
    """Return the field that is meant, by its name or by what it is called."""
    wanted = named.strip().casefold()
    met = (f for f in fields if wanted in {f.name.casefold(), f.label.casefold()})
    return next(met, None) if wanted else None


def _same(now: Any, expected: Any, zone: str) -> bool:
    if isinstance(now, str):  # what is typed stands in one line
        return " ".join(now.splitlines()).strip() == (expected or "")
    if isinstance(now, datetime) and not isinstance(expected, datetime):
        try:
            return bool(in_zone(now, zone).date() == expected)
        except OverflowError:  # the last hours there are
            return False
    return bool(now == expected)


def _read(spec: FieldSpec, text: str, zone: str) -> Any:
    """Return what is written as the table has it; ``_UnclearError`` for what it cannot have."""
    if not text:
        return None
    try:
        return _READERS[spec.type](text, zone)
    except ValueError:
        raise _UnclearError(NOT_READ, type=TYPE_WORDS[spec.type]) from None


def _yes_or_no(text: str, _zone: str) -> bool:
    if text.casefold() not in _YES | _NO:
        raise ValueError(text)
    return text.casefold() in _YES


def _whole_number(text: str, zone: str) -> int:
    """Read 12345 or 12.345."""
    found = _number(text.replace(".", "") if _GROUPED.fullmatch(text) else text, zone)
    if not -_BIGGEST - 1 <= found <= _BIGGEST or found != int(found):
        raise ValueError(text)
    return int(found)


def _number(text: str, _zone: str) -> Decimal:
    """Read 1234.5 as programs write it, or 1.234,5 as people here do."""
    plain = text.replace(".", "").replace(",", ".") if "," in text else text
    try:
        found = Decimal(plain)
    except InvalidOperation:
        raise ValueError(text) from None
    if not found.is_finite() or abs(found.adjusted()) > _MOST_DIGITS:
        raise ValueError(text)
    return found


def _moment(text: str, zone: str) -> datetime | date:
    """Read a point in time, or the day of one."""
    if ":" not in text:
        return _day(text, zone)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))


def _day(text: str, _zone: str) -> date:
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise ValueError(text)


_READERS: Mapping[FieldType, Callable[[str, str], Any]] = MappingProxyType(
    {
        FieldType.TEXT: lambda text, _zone: text,
        FieldType.INTEGER: _whole_number,
        FieldType.NUMBER: _number,
        FieldType.BOOLEAN: _yes_or_no,
        FieldType.DATE: _day,
        FieldType.TIMESTAMP: _moment,
    }
)
