"""The page of the office's own name, letterhead, titles and deadlines."""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import Flask, current_app, redirect
from flask_admin import expose
from flask_babel import gettext
from markupsafe import Markup
from sqlalchemy.exc import DBAPIError
from werkzeug import Response
from wtforms import DateField, EmailField, IntegerField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import Email, InputRequired, Length, NumberRange, Optional, Regexp

from app.core import db
from app.core.filters import Filter
from app.core.policy import Permission
from app.office.models import Holiday, HolidayKind, Office
from app.office.queries import office_name
from app.web.context import state_label, state_name
from app.web.extensions import db as flask_db
from app.web.format import moment
from app.web.i18n import lazy_gettext
from app.web.listing import named
from app.web.views import ScopedView

REMEMBERED_SECONDS = 15.0  # as long as a page may show a former name
STEPS = (
    lazy_gettext("1 Coordination"),
    lazy_gettext("2 Definition of the data"),
    lazy_gettext("3 Scenario of the integration"),
    lazy_gettext("4 Interchange document"),
    lazy_gettext("5 Setting up the API"),
    lazy_gettext("6 Central database"),
    lazy_gettext("7 Handing over the result"),
    lazy_gettext("8 Check by the agency"),
    lazy_gettext("9 Final interchange data"),
    lazy_gettext("10 Result document"),
    lazy_gettext("11 Dashboard"),
    lazy_gettext("12 Final report"),
)
_STEPS = tuple(f"step_{n}" for n in range(1, len(STEPS) + 1))
_TEXTS = (
    "name", "government", "address", "phone", "fax", "email", "website", "place", "head_title",
)  # fmt: skip


def _letterhead(_view: Any, _context: Any, office: Office, _name: str) -> Markup:
    """Show the head of a letter as it will stand there."""
    contact = [
        gettext("Telephone %(n)s", n=office.phone) if office.phone else "",
        gettext("Fax %(n)s", n=office.fax) if office.fax else "",
        office.email,
        office.website,
    ]
    return Markup(
        '<div class="letterhead"><p>{}</p><p><strong>{}</strong></p><p>{}</p><p>{}</p></div>'
    ).format(
        office.government.upper(),
        (office.name or current_app.extensions["simpul_settings"].office_name).upper(),
        office.address,
        " · ".join(filter(None, contact)),
    )


_ANSWERS = ("answer_days", "hears_public")


class OfficeView(ScopedView):
    """One row: its page comes at once, without a list."""

    read = Permission.OFFICE_WRITE
    write = Permission.OFFICE_WRITE
    lead = lazy_gettext(
        "What letters and pages call the office, and how long its steps may take."
    )
    column_details_list = (
        "letterhead",
        "place",
        "head_title",
        "number_format",
        "report_months",
        "asks_for_both",
        "notice_days",
        "answer_days",
        "hears_public",
        "step_days",
    )
    wide_details = ("letterhead", "step_days")
    form_columns = (
        *_TEXTS,
        "number_format",
        "report_months",
        "asks_for_both",
        "notice_days",
        *_ANSWERS,
        *_STEPS,
    )
    column_list = ("name",)
    form_stands_for: ClassVar = {"step_days": "step_1"}
    form_overrides: ClassVar = {
        **dict.fromkeys((*_TEXTS, "number_format"), StringField), "email": EmailField, "report_months": IntegerField,
    }  # fmt: skip
    form_args: ClassVar = {
        **{name: {"validators": [Length(max=200)]} for name in _TEXTS},
        "name": {
            "validators": [Length(max=200)],
            "description": lazy_gettext("Empty: as the settings of the server say."),
        },
        "email": {"validators": [Optional(), Email(), Length(max=254)]},
        "place": {
            "validators": [Length(max=200)],
            "description": lazy_gettext("Stands before the date of letters."),
        },
        "number_format": {
            "validators": [
                InputRequired(),
                Length(max=60),
                Regexp(
                    r"(?=.*\{nomor\})(?=.*\{tahun\})([\w./ -]|\{nomor\}|\{tahun\})+\Z",
                    message=lazy_gettext(
                        "It names {nomor} and {tahun}; beside them letters, digits, blanks and . / - alone."
                    ),
                ),
            ],
            "description": lazy_gettext(
                "{nomor} counts up in a year, {tahun} is the year."
            ),
        },
        "report_months": {"validators": [InputRequired(), NumberRange(1, 24)]},
        "answer_days": {"validators": [InputRequired(), NumberRange(0, 250)]},
        "hears_public": {
            "description": lazy_gettext(
                "The page of the service then has a form that needs no log-in."
            )
        },
        "notice_days": {
            "validators": [InputRequired(), NumberRange(0, 366)],
            "description": lazy_gettext(
                "So long those have who receive the data, to get ready. 0: they are told and"
                " nobody waits."
            ),
        },
        "asks_for_both": {
            "description": lazy_gettext(
                "Unchecked: a request is complete with either of the two documents."
            )
        },
    }
    form_extra_fields: ClassVar = {
        name: IntegerField(label, [InputRequired(), NumberRange(0, 250)])
        for name, label in zip(_STEPS, STEPS, strict=True)
    }
    form_groups: ClassVar = (
        (lazy_gettext("Letterhead"), _TEXTS[:7]),
        (lazy_gettext("Letters"), ("place", "head_title", "number_format")),
        (lazy_gettext("What a request takes"), ("report_months", "asks_for_both")),
        (lazy_gettext("Changes of contracts"), ("notice_days",)),
        (lazy_gettext("Complaints and questions"), _ANSWERS),
        (
            lazy_gettext("Working days of each step"),
            _STEPS,
        ),
    )
    column_labels: ClassVar = {
        "letterhead": lazy_gettext("Letterhead"),
        "name": lazy_gettext("Name of the office"),
        "government": lazy_gettext("Government"),
        "address": lazy_gettext("Address"),
        "phone": lazy_gettext("Telephone"),
        "fax": lazy_gettext("Fax"),
        "email": lazy_gettext("E-mail"),
        "website": lazy_gettext("Website"),
        "place": lazy_gettext("Place"),
        "head_title": lazy_gettext("Title of the head"),
        "number_format": lazy_gettext("Numbers of papers"),
        "report_months": lazy_gettext("Months from the complete file to the report"),
        "asks_for_both": lazy_gettext(
            "Design of the application and server, both of them"
        ),
        "notice_days": lazy_gettext("Days before a change that may break something"),
        "answer_days": lazy_gettext("Working days to the answer"),
        "hears_public": lazy_gettext("Everybody may send one"),
        "step_days": lazy_gettext("Working days of each step"),
    }
    column_formatters: ClassVar = {
        "letterhead": _letterhead,
        "hears_public": lambda _v, _c, m, _n: (
            gettext("yes") if m.hears_public else gettext("no")
        ),
        "asks_for_both": lambda _v, _c, m, _n: (
            gettext("yes") if m.asks_for_both else gettext("no")
        ),
        "step_days": lambda _v, _c, m, _n: "; ".join(
            f"{label}: {days}" for label, days in zip(STEPS, m.step_days, strict=True)
        ),
    }

    @property
    def can_create(self) -> bool:
        return False

    @property
    def can_edit(self) -> bool:
        return self._may_write()

    @expose("/")
    def index_view(self) -> Response:
        """Go to the one row."""
        ident = flask_db.session.scalars(sa.select(Office.id)).one()
        return redirect(self.get_url(".details_view", id=ident))

    def on_form_prefill(self, form: Any, id: Any) -> None:  # noqa: A002 - Flask-Admin's name
        for name, days in zip(_STEPS, self.get_one(id).step_days, strict=True):
            form[name].data = days

    def on_model_change(self, form: Any, model: Office, is_created: bool) -> None:  # noqa: FBT001 - theirs
        super().on_model_change(form, model, is_created)
        model.step_days = [form[name].data for name in _STEPS]


class HolidayView(ScopedView):
    """Days on which nobody works; a year's list comes in as a table."""

    read = Permission.REQUEST_READ
    write = Permission.OFFICE_WRITE
    lead = lazy_gettext(
        "Working days are counted without them: deadlines move as soon as one is changed."
    )
    import_key = ("day",)
    column_list = ("day", "name", "kind")
    column_default_sort = ("day", True)
    column_sortable_list = ("day", "name")
    column_details_list = ("day", "name", "kind")
    filters: ClassVar = (
        Filter(Holiday.kind, lazy_gettext("Kind"), named(*HolidayKind), quick=True),
        Filter(Holiday.day, lazy_gettext("Day")),
        Filter(Holiday.name, lazy_gettext("Name")),
    )
    form_columns = ("day", "name", "kind")
    form_overrides: ClassVar = {
        "name": StringField,
        "kind": SelectField,
        "day": DateField,
    }
    form_args: ClassVar = {
        "day": {"validators": [InputRequired()]},
        "name": {"validators": [InputRequired(), Length(max=120)]},
        "kind": {
            "choices": [
                SelectChoice(kind.value, state_label(kind)) for kind in HolidayKind
            ]
        },
    }
    column_labels: ClassVar = {
        "day": lazy_gettext("Day"),
        "name": lazy_gettext("Name"),
        "kind": lazy_gettext("Kind"),
    }
    column_formatters: ClassVar = {
        "day": lambda _v, _c, m, _n: moment(m.day, "EEEE, d MMM y"),
        "kind": lambda _v, _c, m, _n: state_name(m.kind),
    }


def name_reader(default: str) -> Callable[[], str]:
    """Return what tells the office's name, asked of the database every few seconds.

    Without a database the former name serves: the page that says so has a head as well.
    """
    known: list[tuple[float, str]] = []

    def read() -> str:
        if not known or monotonic() - known[0][0] >= REMEMBERED_SECONDS:
            with suppress(DBAPIError), db.unit_of_work() as session:
                known[:] = [(monotonic(), office_name(session, default))]
        return known[0][1] if known else default

    return read


def init_app(app: Flask, default: str) -> None:
    """Tell every page what the office is called."""
    read = name_reader(default)

    @app.context_processor
    def words() -> dict[str, Any]:
        return {"office_name": read()}
