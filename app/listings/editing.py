"""Which columns of a list are changed without its form, in one cell or in many rows.

The same for a page and for a run in the background: nothing here knows the web.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sqlalchemy import orm
from sqlalchemy.orm import Session

from app.api.models import ApiClient
from app.core.policy import Permission
from app.core.words import message_id
from app.identity.models import Agency, User
from app.identity.services import settle_user
from app.listings.errors import BadValueError
from app.runs.models import Schedule
from app.runs.services import save_schedule
from app.runs.states import MissedPolicy
from app.sources.models import Host


class Kind(StrEnum):
    """How a value is entered."""

    SWITCH = "switch"
    CHOICE = "choice"
    NUMBER = "number"
    TEXT = "text"


GROUPED = re.compile(r"[1-9][0-9]{0,2}(\.[0-9]{3})+(,[0-9]+)?")
WHOLE = re.compile(r"[0-9]{1,15}")
DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?")
Choices = Callable[[Session], list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Editable:
    """A column that may be changed by itself. ``label`` is a message id.

    ``choices`` returns values and words; ``bounds`` are a number's, or a text's longest.
    """

    column: orm.InstrumentedAttribute[Any]
    label: str
    choices: Choices | None = None
    bounds: tuple[int, int] = (0, 200)

    @property
    def name(self) -> str:
        return str(self.column.key)

    @property
    def kind(self) -> Kind:
        if self.choices is not None:
            return Kind.CHOICE
        kind = self.column.type.python_type
        if kind is bool:
            return Kind.SWITCH
        return Kind.NUMBER if issubclass(kind, int | float) else Kind.TEXT

    def text_of(self, obj: Any) -> str:
        """Return the value of an object as a form would send it."""
        value = getattr(obj, self.name)
        if value is None:
            return ""
        return str(int(value)) if self.kind is Kind.SWITCH else f"{value}"

    def of_trail(self, value: Any) -> Any:
        """Return a value out of the audit trail as the column has it."""
        return None if value is None else self.column.type.python_type(value)

    def read(self, session: Session, text: str) -> Any:
        """Return the value of a form's text; raises ``BadValueError``."""
        text = text.replace("\0", "").strip()
        match self.kind:
            case Kind.SWITCH:
                if text not in {"0", "1"}:
                    raise BadValueError(self.label, message_id("yes or no"))
                return text == "1"
            case Kind.CHOICE:
                return self._choose(session, text)
            case Kind.NUMBER:
                return self._number(text)
        if len(text) > self.bounds[1]:
            raise BadValueError(self.label, message_id("a shorter text"))
        return text

    def _choose(self, session: Session, text: str) -> Any:
        known = [value for value, _words in (self.choices or (lambda _: []))(session)]
        if text not in known:
            raise BadValueError(self.label, message_id("one of the values in the choice"))
        return self.column.type.python_type(text)

    def _number(self, text: str) -> Any:
        """Read a number as lists write it: 10.000 is ten thousand, 1,5 one and a half."""
        kind = self.column.type.python_type
        if GROUPED.fullmatch(text):
            text = text.replace(".", "")
        text = text.replace(",", ".")
        low, high = self.bounds
        is_number = (WHOLE if kind is int else DECIMAL).fullmatch(text)
        if not is_number or not low <= Decimal(text) <= high:
            raise BadValueError(self.label, message_id("a number within its limits"))
        return kind(Decimal(text))


def _policies(_session: Session) -> list[tuple[str, str]]:
    return [(str(each), str(each)) for each in MissedPolicy]


@dataclass(frozen=True, slots=True)
class Edits:
    """What may be changed in the rows of one list, who may, and what puts a row in order."""

    model: type[Any]
    write: Permission
    columns: Mapping[str, Editable]
    settle: Callable[[Session, Any], None] = field(default=lambda _session, _obj: None)


def _of(*columns: Editable) -> Mapping[str, Editable]:
    return {each.name: each for each in columns}


EDITS: Mapping[str, Edits] = MappingProxyType(
    {
        "agencies": Edits(
            Agency,
            Permission.AGENCY_WRITE,
            _of(
                Editable(Agency.active, message_id("Active")),
                Editable(Agency.short_name, message_id("Short name"), bounds=(0, 60)),
                Editable(Agency.phone, message_id("Telephone"), bounds=(0, 60)),
                Editable(Agency.address, message_id("Address"), bounds=(0, 500)),
            ),
        ),
        "users": Edits(
            User,
            Permission.USER_WRITE,
            _of(
                Editable(User.active, message_id("Active")),
                Editable(User.job_title, message_id("Job title")),
            ),
            lambda session, user: settle_user(
                session, user, new_password="", created=False
            ),
        ),
        "schedules": Edits(
            Schedule,
            Permission.SCHEDULE_WRITE,
            _of(
                Editable(Schedule.enabled, message_id("On")),
                Editable(Schedule.cron, message_id("Schedule (cron)"), bounds=(0, 60)),
                Editable(
                    Schedule.missed, message_id("Times that were missed"), _policies
                ),
            ),
            save_schedule,
        ),
        "hosts": Edits(
            Host,
            Permission.SOURCE_APPROVE,
            _of(
                Editable(
                    Host.per_second, message_id("Requests a second"), bounds=(0, 1000)
                ),
                Editable(Host.at_once, message_id("Requests at once"), bounds=(0, 1000)),
                Editable(Host.note, message_id("Note"), bounds=(0, 500)),
            ),
        ),
        "api_clients": Edits(
            ApiClient,
            Permission.API_WRITE,
            _of(
                Editable(ApiClient.enabled, message_id("May fetch data")),
                Editable(ApiClient.contact, message_id("Contact")),
                Editable(
                    ApiClient.requests_per_minute,
                    message_id("Requests a minute"),
                    bounds=(1, 1_000_000),
                ),
                Editable(
                    ApiClient.requests_per_day,
                    message_id("Requests a day"),
                    bounds=(1, 10**9),
                ),
                Editable(
                    ApiClient.rows_per_day, message_id("Rows a day"), bounds=(1, 10**12)
                ),
                Editable(
                    ApiClient.concurrency, message_id("Requests at once"), bounds=(1, 64)
                ),
            ),
        ),
    }
)
