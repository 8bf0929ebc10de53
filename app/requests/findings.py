"""What the agency found when it checked: a list for its own system, closed by a later pull.

Nobody ticks a finding off. Each time the list is asked for, it is compared with the central
table: a finding is settled once a pull has brought what the agency expects, or is given up by
the agency with a reason.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.contracts.fields import FieldSpec
from app.contracts.states import FieldType
from app.core import db
from app.core.policy import DbRole, Principal, acting_as
from app.core.scope import NotFoundError
from app.core.words import message_id as _
from app.datasets.ddl import TYPE_WORDS
from app.datasets.models import Dataset
from app.datasets.queries import reading_of, row_by_keys
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

NO_ROWS = _("There are no rows to compare with yet.")
NO_KEYS = _("The keys of the rows are not opened to the agency: nothing can be compared.")
NO_KEY = _("Write the key of the record; several parts with ; between them: %(keys)s.")
NO_ELEMENT = _("Name an element as the dataset has it, such as %(name)s.")
NO_RECORD = _("There is no record with this key.")
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


def findings_of(session: Session, case: IntegrationRequest) -> list[Finding]:
    """Return the findings of a case in their order, compared with what is published."""
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
        return [_held_against(central, dataset, reading, each) for each in told]


class _UnclearError(Exception):
    """Why a finding cannot be compared, as a message id and what fills it."""

    def __init__(self, problem: str, **params: str) -> None:
        super().__init__(problem)
        self.problem, self.params = problem, params


def _held_against(
    session: Session, dataset: Dataset, reading: Reading, told: Values
) -> Finding:
    try:
        row = _row(session, dataset, reading, told.get("key", ""))
        is_there = row is not None and row["_deleted_at"] is None
        wrong = Wrong(told.get("wrong") or Wrong.VALUE)
        if wrong is not Wrong.VALUE:
            return _found(told, row, is_settled=is_there is (wrong is Wrong.MISSING))
        now, is_settled = _value(reading, row if is_there else None, told)
        return _found(told, row, now=now, is_settled=is_settled)
    except _UnclearError as unclear:
        return _unread(told, unclear)


def _unread(told: Values, why: _UnclearError) -> Finding:
    state = FindingState.GIVEN_UP if told.get("given_up") else FindingState.UNCLEAR
    return Finding(told, state, problem=why.problem, params=why.params)


def _row(
    session: Session, dataset: Dataset, reading: Reading, key: str
) -> Mapping[str, Any] | None:
    """Return the record with a key, deleted or not; None for none."""
    if not reading.shows_keys:
        raise _UnclearError(NO_KEYS)
    keys = _BETWEEN_KEYS.split(key.strip())
    if len(keys) != len(reading.keys) or not all(keys):
        names = "; ".join(each.label or each.name for each in reading.keys)
        raise _UnclearError(NO_KEY, keys=names)
    return row_by_keys(session, dataset, reading, keys)


def _value(
    reading: Reading, row: Mapping[str, Any] | None, told: Values
) -> tuple[Any, bool]:
    """Return what an element of a record is now, and whether that is what is expected."""
    if row is None:
        raise _UnclearError(NO_RECORD)
    spec = _element(reading.fields, told.get("element", ""))
    if spec is None:
        raise _UnclearError(NO_ELEMENT, name=reading.fields[0].label)
    try:
        expected = _read(spec, told.get("expected", "").strip())
    except ValueError:
        raise _UnclearError(NOT_READ, type=TYPE_WORDS[spec.type]) from None
    return row[spec.name], _same(row[spec.name], expected)


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


def _same(now: Any, expected: Any) -> bool:
    if isinstance(now, datetime) and not isinstance(expected, datetime):
        return bool(now.date() == expected)
    return bool(now == expected)


def _read(spec: FieldSpec, text: str) -> Any:
    """Return what is expected as the table has it; ``ValueError`` for what it cannot have."""
    if not text:
        return None
    if spec.type in {FieldType.INTEGER, FieldType.NUMBER}:
        return _number(text)
    if spec.type is FieldType.BOOLEAN:
        if text.casefold() not in _YES | _NO:
            raise ValueError(text)
        return text.casefold() in _YES
    if spec.type is FieldType.DATE:
        return _day(text)
    if spec.type is FieldType.TIMESTAMP:
        return datetime.fromisoformat(text) if "T" in text else _day(text)
    return text


def _number(text: str) -> Decimal:
    """Read 1234.5 as programs write it, or 1.234,5 as people here do."""
    plain = text.replace(".", "").replace(",", ".") if "," in text else text
    try:
        found = Decimal(plain)
    except InvalidOperation:
        raise ValueError(text) from None
    if not found.is_finite():
        raise ValueError(text)
    return found


def _day(text: str) -> date:
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise ValueError(text)
