"""Bringing a table into a list: each row goes through the list's own form and service.

A rehearsal does all of it in a transaction that is taken back, so what it says is what will
happen. A row is recognised by the view's ``import_key``: the same file twice changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from flask_admin.contrib.sqla.fields import QuerySelectField, QuerySelectMultipleField
from flask_babel import gettext
from sqlalchemy import orm
from sqlalchemy.exc import DataError, IntegrityError
from werkzeug.datastructures import MultiDict
from wtforms import (
    BooleanField,
    DateField,
    Field,
    Form,
    PasswordField,
    SelectField,
    TimeField,
)

from app.core.db import because
from app.core.errors import RejectedError
from app.core.policy import acting_principal
from app.core.scope import visible
from app.core.workbooks import Line
from app.listings.errors import WrongRowsError
from app.listings.models import DataImport
from app.listings.sheets import Remark, Table
from app.web.i18n import say
from app.web.views import ScopedView

YES = frozenset({"1", "ya", "y", "yes", "true", "benar", "aktif", "x", "✓"})
NO = frozenset({"0", "tidak", "t", "no", "n", "false", "salah", "nonaktif", "-", "–"})
DAYS = ("%Y-%m-%d", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y")
Columns = Mapping[str, int]  # which column of the file a field is read from


class Kind(StrEnum):
    """What becomes of a row."""

    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    WRONG = "wrong"


@dataclass(slots=True)
class Outcome:
    """What becomes of one row of the file. ``changes``: field, before, after.

    ``wrong`` are the fields that are to blame, ``remarks`` say why.
    """

    number: int
    kind: Kind
    label: str
    changes: list[tuple[str, str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, raw: dict[str, Any]) -> "Outcome":
        return cls(**{**raw, "kind": Kind(raw["kind"])})


class BadCellError(Exception):
    """A cell is nothing that its field could take; says in words what it should be."""


def fields_of(view: ScopedView) -> list[Field]:
    """Return the fields of a list's form that a file may fill; secrets never come by file."""
    form: Form = view.create_form()
    return [each for each in form if not isinstance(each, PasswordField)]


def guess(view: ScopedView, headers: Sequence[str]) -> dict[str, int]:
    """Return which column probably holds which field: by its label, or its name."""
    found: dict[str, int] = {}
    for each in fields_of(view):
        words = {_plain(str(each.label.text)), _plain(each.name)}
        for column, header in enumerate(headers):
            if _plain(header) in words and column not in found.values():
                found[each.name] = column
                break
    return found


def remarks_heading() -> str:
    """Return the head of the column in which a file gets its remarks."""
    return str(gettext("Remarks of Simpul"))


def ignored(headers: Sequence[str], mapping: Columns) -> list[str]:
    """Return the named columns of a file that no field is read from, but for our remarks."""
    known = {"", remarks_heading()}
    return [
        header
        for column, header in enumerate(headers)
        if header not in known and column not in mapping.values()
    ]


def _plain(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def missing_keys(view: ScopedView, mapping: Columns) -> list[str]:
    """Return the labels of fields without which no row can be recognised."""
    labels = {each.name: str(each.label.text) for each in fields_of(view)}
    return [labels[name] for name in view.import_key if name not in mapping]


class Import:
    """One table on its way into one list."""

    def __init__(
        self, session: orm.Session, view: ScopedView, table: Table, mapping: Columns
    ) -> None:
        self._session, self._view = session, view
        self._table, self._mapping = table, mapping
        self._choices: dict[str, list[tuple[str, Any]]] = {}
        self._seen: dict[tuple[str, ...], int] = {}
        self._blank = self._form(None)
        self._unsaid = {n: _as_sent(each) for n, each in self._blank._fields.items()}
        self._formers = self._find_formers()

    def carry_out(self, *, reason: str = "") -> Iterator[Outcome]:
        """Bring in row by row; a wrong one leaves nothing behind. The caller commits or not."""
        because(self._session, reason)
        for line in self._table.lines:
            yield self._row(line)

    def _row(self, line: Line) -> Outcome:
        label = " · ".join(
            text for name in self._view.import_key if (text := self._cell(line, name))
        )
        outcome = Outcome(line.number, Kind.WRONG, label[:120])
        self._blame_faults(line, outcome)
        self._blame_twice(line, outcome)
        if not outcome.remarks:
            try:
                with self._session.begin_nested():
                    self._bring_in(line, outcome)
            except _WrongRow:
                outcome.kind = Kind.WRONG
            except RejectedError as error:
                outcome.kind = Kind.WRONG
                outcome.remarks.append(say(error.message, error.params))
            except (IntegrityError, DataError):
                outcome.kind = Kind.WRONG
                outcome.remarks.append(
                    gettext(
                        "Another one has a value that only one may have, or it cannot be stored."
                    )
                )
        return outcome

    def _cell(self, line: Line, name: str) -> str:
        column = self._mapping.get(name)
        return "" if column is None else line.cells[column]

    def _blame_faults(self, line: Line, outcome: Outcome) -> None:
        for name, column in self._mapping.items():
            if column in line.faults:
                outcome.wrong.append(name)
                outcome.remarks.append(
                    gettext(
                        "%(header)s holds an error of Excel's, or a formula without its value.",
                        header=self._table.headers[column],
                    )
                )

    def _blame_twice(self, line: Line, outcome: Outcome) -> None:
        """Refuse a row that another row of the file has been for already."""
        key = tuple(self._cell(line, name).casefold() for name in self._view.import_key)
        former = self._seen.setdefault(key, line.number)
        if former != line.number:
            outcome.wrong += list(self._view.import_key)
            outcome.remarks.append(gettext("Row %(n)s is about the same.", n=former))

    def _bring_in(self, line: Line, outcome: Outcome) -> None:
        sent = self._sent(line, outcome)
        former = self._formers.get(self._key(line))
        unsaid = self._unsaid
        if former is not None:
            unsaid = {n: _as_sent(each) for n, each in self._form(former)._fields.items()}
        whole: MultiDict[str, str] = MultiDict()
        for name, values in (unsaid | sent).items():
            whole.setlist(name, values)
        form = self._form(former, whole)
        form.validate()
        for each in form:
            if each.errors and each.name not in outcome.wrong:
                outcome.wrong.append(each.name)
                outcome.remarks.append(
                    f"{each.label.text}: {' '.join(map(str, each.errors))}"
                )
        if outcome.remarks:
            raise _WrongRow
        self._save(form, former, outcome)

    def _save(self, form: Form, former: Any, outcome: Outcome) -> None:
        before = self._shown(former) if former is not None else {}
        model = former if former is not None else self._view.build_new_instance()
        form.populate_obj(model)
        if former is None:
            outcome.kind = Kind.ADDED
        elif not self._session.is_modified(model):
            outcome.kind = Kind.UNCHANGED
            return
        else:
            outcome.kind = Kind.CHANGED
        self._session.add(model)
        self._view.on_model_change(form, model, former is None)
        self._session.flush()
        after = self._shown(model)
        outcome.changes = [
            (name, before.get(name, ""), text)
            for name, text in after.items()
            if before.get(name, "") != text
        ]
        if not outcome.changes:
            outcome.kind = Kind.UNCHANGED

    def _shown(self, model: Any) -> dict[str, str]:
        """Return the fields that the file fills, as the list would show them."""
        return {
            name: str(self._view.shown(model, name))
            for name in self._mapping
            if hasattr(model, name)
        }

    def _key(self, line: Line) -> tuple[str, ...]:
        """Return what a row is recognised by, as ``_key_of`` has it for a row of the list."""
        parts = []
        for name in self._view.import_key:
            each, text = self._blank[name], self._cell(line, name)
            if isinstance(each, QuerySelectField):
                parts.append(next(iter(self._pick(each, text)), ""))
            else:
                parts.append(text.strip().lower())
        return tuple(parts)

    def _key_of(self, model: Any) -> tuple[str, ...]:
        parts = []
        for name in self._view.import_key:
            each, value = self._blank[name], getattr(model, name)
            if isinstance(each, QuerySelectField):
                parts.append(str(each.get_pk(value)) if value is not None else "")
            else:
                parts.append(str(value).lower())
        return tuple(parts)

    def _find_formers(self) -> dict[tuple[str, ...], Any]:
        """Return the rows of the list that the file may be about, by their keys."""
        model: Any = self._view.model
        wanted = [visible(model, acting_principal())]
        for name in self._view.import_key:
            if not isinstance(self._blank[name], QuerySelectField):
                texts = {
                    self._cell(line, name).strip().lower() for line in self._table.lines
                }
                wanted.append(sa.func.lower(getattr(model, name)).in_(texts))
        found = self._session.scalars(sa.select(model).where(*wanted)).unique()
        return {self._key_of(each): each for each in found}

    def _form(self, former: Any, sent: "MultiDict[str, str] | None" = None) -> Form:
        form: Form = self._view.form_for(former, sent)
        for each in form:
            if isinstance(each, QuerySelectField):
                each._object_list = self._objects(each)  # noqa: SLF001 - or it asks for each row
        return form

    def _objects(self, each: QuerySelectField) -> list[tuple[str, Any]]:
        if each.name not in self._choices:
            self._choices[each.name] = each._get_object_list()  # noqa: SLF001
        return self._choices[each.name]

    def _sent(self, line: Line, outcome: Outcome) -> dict[str, list[str]]:
        """Return the cells as a form would send them, without those that say nothing.

        What is wrong with them is noted; the others are looked at all the same.
        """
        sent: dict[str, list[str]] = {}
        for name in self._mapping:
            each, text = self._blank[name], self._cell(line, name)
            if isinstance(each, BooleanField) and not text.strip():
                continue  # says neither yes nor no: it stays as it is, or as a new one begins
            try:
                sent[name] = self._value(each, text)
            except BadCellError as error:
                outcome.wrong.append(name)
                outcome.remarks.append(f"{each.label.text}: {error}")
        return sent

    def _value(self, each: Field, text: str) -> list[str]:
        if isinstance(each, BooleanField):
            return _yes_or_no(text)
        if isinstance(each, QuerySelectField):
            return self._pick(each, text)
        if isinstance(each, SelectField):
            return [_choose(each, text)]
        if isinstance(each, DateField):
            return [_day(text)]
        return [text]

    def _pick(self, each: QuerySelectField, text: str) -> list[str]:
        """Find objects by what the list calls them; of several, with ; between them."""
        many = isinstance(each, QuerySelectMultipleField)
        names = [
            part.strip() for part in (text.split(";") if many else [text]) if part.strip()
        ]
        if not names:
            return [] if many else ["__None"]
        found = []
        for name in names:
            pks = [
                pk for pk, obj in self._objects(each) if name.casefold() in _names_of(obj)
            ]
            if len(pks) != 1:
                raise BadCellError(
                    gettext("there is no “%(name)s” to choose", name=name[:80])
                )
            found += pks
        return found


class _WrongRow(Exception):  # noqa: N818 - no error of ours: ends a row's own transaction
    pass


def _names_of(obj: Any) -> set[str]:
    """Return what a cell may call an object: its name, its code, its short name, its title."""
    attributes = ("name", "code", "short_name", "label", "title", "slug", "email")
    named = {getattr(obj, each, None) for each in attributes} | {str(obj)}
    return {each.casefold() for each in named if isinstance(each, str) and each}


def _yes_or_no(text: str) -> list[str]:
    word = text.strip().casefold()
    if word in YES:
        return ["y"]
    if word in NO:
        return []
    raise BadCellError(gettext("write yes or no"))


def _choose(each: SelectField, text: str) -> str:
    wanted = text.strip().casefold()
    for choice in each.iter_choices():
        value, label = choice[0], choice[1]
        if wanted in {str(value).casefold(), str(label).casefold()}:
            return str(value)
    raise BadCellError(gettext("there is no “%(name)s” to choose", name=text[:80]))


def _day(text: str) -> str:
    text = text.strip().removesuffix(" 00:00")
    if not text:
        return ""
    for pattern in DAYS:
        try:
            return datetime.strptime(text, pattern).date().isoformat()  # noqa: DTZ007 - a day
        except ValueError:
            continue
    raise BadCellError(gettext("write the day as 2026-11-23 or 23/11/2026"))


def _as_sent(each: Field) -> list[str]:
    """Return what a browser would send for a field as it is."""
    if isinstance(each, BooleanField):
        return ["y"] if each.data else []
    if isinstance(each, QuerySelectMultipleField):
        return [pk for pk, obj in each._get_object_list() if obj in (each.data or [])]  # noqa: SLF001
    if isinstance(each, QuerySelectField):
        pks = [pk for pk, obj in each._get_object_list() if obj == each.data]  # noqa: SLF001
        return pks or ["__None"]
    if isinstance(each, SelectField):
        return [] if each.data is None else [str(each.data)]
    if isinstance(each, DateField | TimeField):
        return [each._value()] if each.data else []  # noqa: SLF001 - WTForms' own way
    return [each._value()]  # noqa: SLF001


def remarks_of(outcomes: Sequence[Outcome], mapping: Columns) -> list[Remark]:
    """Return what stands beside the wrong rows of the file that goes back."""
    return [
        Remark(
            each.number,
            "\n".join(each.remarks),
            [mapping[name] for name in each.wrong if name in mapping],
        )
        for each in outcomes
        if each.kind is Kind.WRONG
    ]


def template_of(view: ScopedView) -> list[str]:
    """Return the heads of an empty table that would be understood at once."""
    return [str(each.label.text) for each in fields_of(view)]


def carry_out(
    session: orm.Session,
    view: ScopedView,
    asked: DataImport,
    *,
    good_only: bool,
    reason: str,
) -> list[Outcome]:
    """Bring a table in: all of it, or only the good rows. The caller commits.

    Raises ``WrongRowsError`` when all is wanted and not all is good.
    """
    work = Import(session, view, Table.of(asked.sheet), asked.mapping)
    outcomes = list(work.carry_out(reason=reason))
    wrong = sum(each.kind is Kind.WRONG for each in outcomes)
    if wrong and not good_only:
        raise WrongRowsError(wrong)
    return outcomes


def rehearse(session: orm.Session, view: ScopedView, asked: DataImport) -> list[Outcome]:
    """Return what would become of each row; nothing of it stays."""
    outcomes = list(
        Import(session, view, Table.of(asked.sheet), asked.mapping).carry_out()
    )
    session.rollback()
    return outcomes
