"""Two people in one form: the second sees what the first did, chooses, and loses no word.

A form carries under seal what it showed (``Seen``). When it comes back and the row has
changed since, the page shows per field what it was, what stands there now and what was
typed; fields that only one of the two changed are merged already. The number of the row's
version is compared again by the UPDATE itself, see ``app.core.db.Versioned``.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from flask import request
from flask_babel import gettext
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.datastructures import MultiDict
from wtforms import BooleanField, PasswordField
from wtforms.fields.choices import SelectFieldBase

from app.core import crypto
from app.core.merge import Merged, Values, merge

KEEP_SECONDS = 7 * 24 * 3600
_LEFT_OUT = frozenset({"csrf_token"})


class Seen(msgspec.Struct):
    """What a form showed: of which row, which version of it, and the fields' values.

    ``before``: of fields that collided, what they were before both changes.
    """

    of: str
    version: int
    values: dict[str, list[str]]
    before: dict[str, list[str]] = {}


class Line(NamedTuple):
    """A field on the merge screen, in words; ``mine`` is empty where theirs was taken."""

    name: str
    label: str
    before: str
    theirs: str
    mine: str


class Fields:
    """How the fields of a form are merged, and what they and their values are called."""

    def merge(self, before: Values | None, mine: Values, theirs: Values) -> Merged:
        return merge(before, mine, theirs)

    def pick(self, values: Values, name: str) -> list[str] | None:
        """Return a field's value out of a form's, None where it is not there."""
        found = values.get(name)
        return None if found is None else list(found)

    def label(self, name: str) -> str:
        raise NotImplementedError

    def words(self, name: str, value: list[str] | None) -> str:
        raise NotImplementedError


class Desk:
    """One form at work: what its reader saw, what stands there now, what they typed.

    ``of`` and ``version`` name the row as it stands with the values ``theirs``; ``posted`` is
    what the form carried when it came back, None for one that is drawn for the first time.
    """

    def __init__(
        self,
        of: str,
        version: int,
        theirs: Values,
        fields: Fields,
        posted: str | None = None,
    ) -> None:
        self.version = version
        self._of, self._fields, self._posted = of, fields, posted
        self._theirs = {name: list(values) for name, values in theirs.items()}
        self._seen = self._read()
        self._merged: Merged | None = None

    def _read(self) -> Seen | None:
        if self._posted is None:
            return Seen(self._of, self.version, self._theirs)
        opened = crypto.unseal(self._posted, KEEP_SECONDS)
        try:
            seen = msgspec.json.decode(opened or "", type=Seen)
        except msgspec.DecodeError:
            return None
        return seen if seen.of == self._of else None

    @property
    def token(self) -> str:
        """What the form carries to know the next time what its reader saw."""
        if self._posted is not None and self._merged is None:
            return self._posted
        seen = Seen(self._of, self.version, self._theirs, self._before())
        return crypto.seal(msgspec.json.encode(seen).decode())

    def _before(self) -> dict[str, list[str]]:
        """Return what the fields that wait for a choice were before both changes."""
        waiting = self._seen.before if self._seen is not None else {}
        if self._merged is None:
            return waiting
        names = self._merged.collisions
        return {name: waiting.get(name, self._was(name) or []) for name in names}

    def _was(self, name: str) -> list[str] | None:
        if self._seen is None:
            return None
        return self._fields.pick(self._seen.values, name)

    def chosen(self, name: str) -> str:
        """Return "mine", "theirs" or "": what the reader chose for a field that collided."""
        choice = request.form.get(f"take-{name}", "")
        return choice if choice in {"mine", "theirs"} else ""

    def taken(self) -> dict[str, list[str] | None]:
        """Return the fields for which the reader chose what the other one wrote."""
        waiting = self._seen.before if self._seen is not None else {}
        return {
            name: self._was(name) for name in waiting if self.chosen(name) == "theirs"
        }

    def may_save(self, mine: Values) -> bool:
        """Tell whether no change of another's would be lost; if not, the merge is shown."""
        if self._seen is not None and self._seen.version == self.version:
            merged = Merged({name: list(mine[name]) for name in mine}, [], [])
        else:
            seen = self._seen.values if self._seen is not None else None
            merged = self._fields.merge(seen, mine, self._theirs)
        undecided = [n for n in self._undecided(mine) if n not in merged.collisions]
        merged.collisions.extend(undecided)
        if merged.news or merged.collisions:
            self._merged = merged
        return self._merged is None

    def _undecided(self, mine: Values) -> list[str]:
        pick = self._fields.pick
        return [
            name
            for name in self._before()
            if not self.chosen(name) and pick(mine, name) != pick(self._theirs, name)
        ]

    @property
    def merged(self) -> dict[str, list[str]]:
        """The values of both, to draw the form with."""
        return self._merged.values if self._merged is not None else {}

    def collisions(self) -> list[Line]:
        """Return the fields that wait for a choice."""
        return [self._line(name, before) for name, before in self._before().items()]

    def news(self) -> list[Line]:
        """Return what the other one changed and is merged already."""
        names = self._merged.news if self._merged is not None else []
        return [self._line(name, self._was(name)) for name in names]

    def _line(self, name: str, before: list[str] | None) -> Line:
        fields = self._fields
        theirs = fields.pick(self._theirs, name)
        mine = fields.pick(self.merged, name)
        return Line(
            name, fields.label(name), fields.words(name, before),
            fields.words(name, theirs), fields.words(name, mine) if self._merged else "",
        )  # fmt: skip


def sent() -> str | None:
    """Return what the request's form carried of ``Seen``; None when none came back."""
    return request.form.get("seen", "") if request.method == "POST" else None


def desk_of(row: Any, standing: Any) -> Desk:
    """Return the desk of a form over one row; ``standing`` is the form as the row stands."""
    values, fields = values_of(standing), FormFields(standing)
    return Desk(name_of(row), row.row_version, values, fields, sent())


def name_of(row: Any) -> str:
    """Return what tells a row from all others."""
    key = sa.inspect(row).mapper.primary_key_from_instance(row)[0]
    return f"{row.__tablename__}:{key}"


def require_version(row: Any, version: int) -> None:
    """Raise ``StaleDataError`` unless a row, locked by now, is what it was compared as."""
    if row.row_version != version:
        raise StaleDataError("changed between the comparison and the lock")


# --- forms ----------------------------------------------------------------------------


def values_of(form: Any) -> dict[str, list[str]]:
    """Return what a form would send, without passwords: they are never compared."""
    return {
        field.name: _sent(field)
        for field in form
        if field.name not in _LEFT_OUT and not isinstance(field, PasswordField)
    }


def _sent(field: Any) -> list[str]:
    if isinstance(field, BooleanField):
        return ["y"] if field.data else []
    if isinstance(field, SelectFieldBase):
        return sorted(str(each[0]) for each in field.iter_choices() if each[2])
    return [str(field._value() or "").replace("\r\n", "\n")]  # noqa: SLF001 - WTForms' own name


class FormFields(Fields):
    """The fields of a form, with what may be chosen in them."""

    def __init__(self, form: Any) -> None:
        self._form = form

    def _field(self, name: str) -> Any:
        return self._form[name] if name in self._form else None  # noqa: SIM401 - no mapping

    def label(self, name: str) -> str:
        field = self._field(name)
        return name if field is None else str(field.label.text)

    def words(self, name: str, value: list[str] | None) -> str:
        field = self._field(name)
        if isinstance(field, BooleanField):
            return str(gettext("yes") if value else gettext("no"))
        if isinstance(field, SelectFieldBase):
            labels = {str(each[0]): str(each[1]) for each in field.iter_choices()}
            return ", ".join(labels.get(each, each) for each in value or ()) or "–"
        return "\n".join(value or ()) or "–"


def form_data(desk: Desk) -> MultiDict[str, str]:
    """Return what was sent, with theirs where the reader chose it, and kept passwords."""
    data = MultiDict(request.form)
    for name, values in desk.taken().items():
        data.setlist(name, values or [])
    for name, value in _kept().items():
        if not data.get(name):
            data[name] = value
    return data


def merged_data(desk: Desk) -> MultiDict[str, str]:
    """Return the values of both as a form would send them."""
    data: MultiDict[str, str] = MultiDict()
    for name, values in desk.merged.items():
        data.setlist(name, values)
    return data


def kept_passwords(form: Any) -> str:
    """Return the passwords of a form under seal: a page never shows them, nor loses them."""
    typed = {f.name: f.data for f in form if isinstance(f, PasswordField) and f.data}
    return crypto.seal(msgspec.json.encode(typed).decode()) if typed else ""


def _kept() -> Mapping[str, str]:
    opened = crypto.unseal(request.form.get("typed", ""), KEEP_SECONDS)
    try:
        return msgspec.json.decode(opened or "{}", type=dict[str, str])
    except msgspec.DecodeError:
        return {}
