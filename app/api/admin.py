"""Pages of access by programs: clients and keys, grants, what was exchanged, how to begin."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from flask import Response, abort, current_app, flash, request
from flask_admin import expose
from flask_babel import gettext
from sqlalchemy.orm import Session
from wtforms import BooleanField, DateField, IntegerField, StringField
from wtforms.validators import DataRequired, Length, NumberRange, Optional

from app.api import queries, services
from app.api.models import ApiClient, ApiGrant, ApiKey
from app.api.samples import samples
from app.core import clock, db
from app.core.errors import RejectedError
from app.core.filters import Filter, Options
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible, visible
from app.datasets.models import Dataset
from app.datasets.queries import dataset_by_slug, reading_of
from app.datasets.reading import PERSONAL
from app.exports.models import ExchangeLog
from app.web.context import state_name
from app.web.extensions import db as flask_db
from app.web.format import moment, number, size
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext
from app.web.listing import named
from app.web.views import (
    Page,
    ReadOnlyView,
    ScopedView,
    back_to,
    flash_rejected,
)

_LIMITS = ("requests_per_minute", "requests_per_day", "rows_per_day", "concurrency")


def _yes(_view: Any, _context: Any, model: Any, name: str) -> str:
    return str(gettext("yes") if getattr(model, name) else gettext("no"))


def _end_of_day(day: date) -> datetime:
    """Return the end of a day on the office's clock."""
    return clock.end_of(day, current_app.extensions["simpul_settings"].time_zone)


class ClientView(ScopedView):
    """Programs that fetch data, and their keys."""

    read = Permission.API_READ
    write = Permission.API_WRITE
    lead = lazy_gettext(
        "Programs of agencies that fetch data, with the limits that all their keys share."
    )
    details_template = "api/client.html"
    import_key = ("name",)
    column_list = ("name", "agency", "contact", "enabled", "created_at")
    column_default_sort = "name"
    column_sortable_list = ("name", "enabled", "created_at")
    column_details_list = ("name", "agency", "contact", "enabled", *_LIMITS, "created_at")
    form_columns = ("name", "agency", "contact", "enabled", *_LIMITS)
    form_overrides: ClassVar = {
        "name": StringField,
        "contact": StringField,
        **dict.fromkeys(_LIMITS, IntegerField),
    }
    column_labels: ClassVar = {
        "name": lazy_gettext("Program"),
        "agency": lazy_gettext("Agency"),
        "contact": lazy_gettext("Contact"),
        "enabled": lazy_gettext("May fetch data"),
        "requests_per_minute": lazy_gettext("Requests a minute"),
        "requests_per_day": lazy_gettext("Requests a day"),
        "rows_per_day": lazy_gettext("Rows a day"),
        "concurrency": lazy_gettext("Requests at once"),
        "created_at": lazy_gettext("Since"),
    }
    column_formatters: ClassVar = {
        "enabled": _yes,
        "agency": lambda _v, _c, m, _n: m.agency.name if m.agency else "–",
        "created_at": lambda _v, _c, m, _n: moment(m.created_at),
        **dict.fromkeys(_LIMITS, lambda _v, _c, m, n: number(getattr(m, n))),
    }
    form_args: ClassVar = {
        "name": {"validators": [DataRequired(), Length(max=120)]},
        "agency": {"validators": [DataRequired()]},
        "contact": {"validators": [Length(max=200)]},
        "enabled": {"default": True},
        "requests_per_minute": {
            "default": 600,
            "validators": [NumberRange(1, 1_000_000)],
        },
        "requests_per_day": {"default": 100_000, "validators": [NumberRange(1, 10**9)]},
        "rows_per_day": {"default": 10_000_000, "validators": [NumberRange(1, 10**12)]},
        "concurrency": {"default": 4, "validators": [NumberRange(1, 64)]},
    }

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.details_template:
            session, client = flask_db.session(), kwargs["model"]
            kwargs["keys"] = queries.keys_of(session, client)
            kwargs["grants"] = queries.grants_of(session, client, principal_now())
            kwargs["is_working"] = queries.is_working
        return super().render(template, **kwargs)

    @expose("/<ident>/keys", methods=("POST",))
    @needs(Permission.API_WRITE)
    def make_key(self, ident: str) -> Response | str:
        """Make a key and show it, this once."""
        networks = [
            each for each in request.form.get("networks", "").split(",") if each.strip()
        ]
        try:
            with db.unit_of_work() as session:
                client = get_visible(session, ApiClient, ident, principal_now())
                day = request.form.get("expires_on", "")
                ends = _end_of_day(datetime.fromisoformat(day).date()) if day else None
                key = services.make_key(
                    session, client, expires_at=ends, networks=networks
                )
        except ValueError:
            flash(gettext("The day could not be read."), "danger")
            return back_to("api_clients.details_view", id=ident)
        except RejectedError as error:
            flash_rejected(error)
            return back_to("api_clients.details_view", id=ident)
        text: str = self.render("api/key.html", client=client, key=key)
        return text

    @expose("/keys/<ident>/revoke", methods=("POST",))
    @needs(Permission.API_WRITE)
    def revoke_key(self, ident: str) -> Response:
        with db.unit_of_work() as session:
            key = get_visible(session, ApiKey, ident, principal_now())
            services.revoke_key(key)
        flash(gettext("The key is revoked: it opens nothing any more."), "success")
        return back_to("api_clients.details_view", id=key.client_id)


class GrantView(ScopedView):
    """Which program may read which dataset, within its agency's agreement."""

    read = Permission.API_READ
    write = Permission.API_WRITE
    lead = lazy_gettext(
        "Which program may read which dataset, within its agency's agreement, how long."
    )
    import_key = ("client", "dataset")
    column_list = ("client", "dataset", "valid_until", "revoked_at")
    column_default_sort = ("valid_from", True)
    column_sortable_list = ("valid_until", "revoked_at")
    column_details_list = (
        "client", "dataset", "fields", "sample", "valid_from", "valid_until", "revoked_at",
    )  # fmt: skip
    form_columns = ("client", "dataset", "field_names", "ends_on", "stopped")
    form_stands_for: ClassVar = {
        "fields": "field_names",
        "valid_until": "ends_on",
        "revoked_at": "stopped",
    }
    form_extra_fields: ClassVar = {
        "field_names": StringField(
            lazy_gettext("Fields"),
            validators=[Length(max=5000)],
            description=lazy_gettext(
                "Names with commas between them. Empty: all fields that are not personal."
            ),
        ),
        "ends_on": DateField(lazy_gettext("Last day"), validators=[Optional()]),
        "stopped": BooleanField(
            lazy_gettext("Withdrawn: the program reads nothing any more")
        ),
    }
    column_labels: ClassVar = {
        "client": lazy_gettext("Program"),
        "dataset": lazy_gettext("Dataset"),
        "fields": lazy_gettext("Fields"),
        "sample": lazy_gettext("Trial on masked rows"),
        "valid_from": lazy_gettext("From"),
        "valid_until": lazy_gettext("Until"),
        "revoked_at": lazy_gettext("Withdrawn"),
    }
    column_formatters: ClassVar = {
        "client": lambda _v, _c, m, _n: str(m.client or "–"),
        "dataset": lambda _v, _c, m, _n: str(m.dataset or "–"),
        "fields": lambda _v, _c, m, _n: (
            ", ".join(m.fields) or gettext("all that are not personal")
        ),
        "sample": _yes,
        "valid_from": lambda _v, _c, m, _n: moment(m.valid_from),
        "valid_until": lambda _v, _c, m, _n: moment(m.valid_until),
        "revoked_at": lambda _v, _c, m, _n: moment(m.revoked_at),
    }
    form_args: ClassVar = {
        "client": {"validators": [DataRequired()]},
        "dataset": {"validators": [DataRequired()]},
    }

    def on_form_prefill(self, form: Any, id: Any) -> None:  # noqa: A002 - Flask-Admin's name
        grant = self.get_one(id)
        form.field_names.data = ", ".join(grant.fields)
        form.stopped.data = grant.revoked_at is not None
        if grant.valid_until:
            zone = ZoneInfo(current_app.extensions["simpul_settings"].time_zone)
            last = grant.valid_until.astimezone(zone) - timedelta(seconds=1)
            form.ends_on.data = last.date()

    def on_model_change(self, form: Any, model: ApiGrant, is_created: bool) -> None:  # noqa: FBT001 - Flask-Admin's
        super().on_model_change(form, model, is_created)
        names = (form.field_names.data or "").split(",")
        model.fields = [name.strip() for name in names if name.strip()]
        day = form.ends_on.data
        model.valid_until = _end_of_day(day) if day else None
        if not form.stopped.data:
            model.revoked_at = None
        elif model.revoked_at is None:
            model.revoked_at = clock.utc_now()
        services.settle_grant(flask_db.session(), model)


def _parties(which: int) -> Callable[[], Options]:
    """Return a choice out of the datasets, receivers or programs of the log."""

    def options() -> Options:
        found = queries.parties(flask_db.session(), principal_now())[which]
        return [(str(each.id), str(each)) for each in found]

    return options


class ExchangeView(ReadOnlyView):
    """What was handed out: to whom, by which agreement, how much."""

    read = Permission.EXCHANGE_READ
    lead = lazy_gettext(
        "Everything that was handed out: to whom, when, how much, on what ground."
    )
    column_list = (
        "at", "agency", "dataset", "channel", "phase", "times", "row_count", "key_prefix",
    )  # fmt: skip
    column_default_sort = ("id", True)
    narrow_columns = ("at", "channel", "phase", "times", "row_count", "key_prefix")
    column_sortable_list = ("at",)
    sorted_as: ClassVar = {"at": "id"}  # the order in which they came
    filters: ClassVar = (
        Filter(
            ExchangeLog.channel, lazy_gettext("Way"), named("api", "xlsx"), quick=True
        ),
        Filter(
            ExchangeLog.phase,
            lazy_gettext("Part"),
            named("whole", "begin", "end", "broken"),
            quick=True,
        ),
        Filter(ExchangeLog.at, lazy_gettext("When")),
        Filter(ExchangeLog.dataset_id, lazy_gettext("Dataset"), _parties(0), quick=True),
        Filter(ExchangeLog.agency_id, lazy_gettext("Received by"), _parties(1)),
        Filter(ExchangeLog.client_id, lazy_gettext("Program"), _parties(2)),
        Filter(ExchangeLog.key_prefix, lazy_gettext("Key")),
        Filter(ExchangeLog.agreement, lazy_gettext("Agreement")),
        Filter(ExchangeLog.status, lazy_gettext("Answer")),
        Filter(ExchangeLog.row_count, lazy_gettext("Rows")),
        Filter(ExchangeLog.request_id, lazy_gettext("Request")),
    )
    more_columns = ("status", "byte_count", "duration_ms", "agreement", "remote_ip")
    wide_details = ("query", "fields")
    column_details_list = (
        "at", "agency", "dataset", "channel", "phase", "status", "times", "row_count", "byte_count",
        "duration_ms", "agreement", "key_prefix", "remote_ip", "etag", "request_id", "query",
        "fields",
    )  # fmt: skip
    column_labels: ClassVar = {
        "at": lazy_gettext("When"),
        "agency": lazy_gettext("Received by"),
        "dataset": lazy_gettext("Dataset"),
        "channel": lazy_gettext("Way"),
        "phase": lazy_gettext("Part"),
        "status": lazy_gettext("Answer"),
        "times": lazy_gettext("Times"),
        "row_count": lazy_gettext("Rows"),
        "byte_count": lazy_gettext("Size"),
        "duration_ms": lazy_gettext("Milliseconds"),
        "agreement": lazy_gettext("Agreement"),
        "key_prefix": lazy_gettext("Key"),
        "remote_ip": lazy_gettext("From the address"),
        "etag": lazy_gettext("Mark of the answer"),
        "request_id": lazy_gettext("Request"),
        "query": lazy_gettext("Asked for"),
        "fields": lazy_gettext("Fields"),
    }
    column_formatters: ClassVar = {
        "at": lambda _v, _c, m, _n: moment(m.at),
        "agency": lambda _v, _c, m, _n: (
            m.agency.name if m.agency else gettext("the office")
        ),
        "dataset": lambda _v, _c, m, _n: str(m.dataset or "–"),
        "channel": lambda _v, _c, m, _n: state_name(m.channel),
        "phase": lambda _v, _c, m, _n: state_name(m.phase),
        "times": lambda _v, _c, m, _n: number(m.times),
        "row_count": lambda _v, _c, m, _n: number(m.row_count),
        "byte_count": lambda _v, _c, m, _n: size(m.byte_count),
        "duration_ms": lambda _v, _c, m, _n: number(round(m.duration_ms, 1)),
        "query": lambda _v, _c, m, _n: m.query or "–",
        "fields": lambda _v, _c, m, _n: ", ".join(m.fields) or "–",
    }


class DeveloperPage(Page):
    """How a program reads a dataset: dictionary, samples, a trial key."""

    @expose("/")
    @needs(Permission.API_READ)
    def index(self) -> str:
        with db.unit_of_work() as session:
            text: str = self.render("api/developers.html", datasets=_readable(session))
        return text

    @expose("/<slug>")
    @needs(Permission.API_READ)
    def show(self, slug: str) -> str:
        return self._page(slug)

    @expose("/<slug>/trial", methods=("POST",))
    @needs(Permission.API_READ)
    def trial(self, slug: str) -> Response | str:
        """Make a trial key and show it, this once.

        The office makes one for the dataset's own agency; another agency one for itself.
        """
        principal = principal_now()
        with db.unit_of_work() as session:
            dataset = _one(session, slug)
            if principal.may(Permission.API_WRITE):
                key = services.make_trial(session, dataset, dataset.agency_id)[1]
        if not principal.may(Permission.API_WRITE):
            try:
                key = services.make_own_trial(dataset, principal)
            except NotFoundError:
                abort(403)
            except RejectedError as error:
                flash_rejected(error)
                return back_to("developers.show", slug=slug)
        return self._page(slug, key=key)

    def _page(self, slug: str, key: str = "") -> str:
        principal = principal_now()
        with db.unit_of_work() as session:
            dataset = _one(session, slug)
            reading = reading_of(session, dataset, principal.agency_id)
            granted: Any = ()
            if principal.agency_id and not reading.is_whole:
                granted = queries.granted_fields(session, dataset, principal.agency_id)
            text: str = self.render(
                "api/developer.html",
                dataset=dataset,
                fields=granted or reading.fields,
                may_try=bool(granted) or principal.may(Permission.API_WRITE),
                personal=PERSONAL,
                samples=samples(request.url_root, slug),
                base=request.url_root.rstrip("/"),
                key=key,
                days=services.TRIAL_DAYS,
            )
        return text


def _readable(session: Session) -> Sequence[Dataset]:
    return session.scalars(
        sa.select(Dataset)
        .where(visible(Dataset, principal_now()))
        .order_by(Dataset.title)
    ).all()


def _one(session: Session, slug: str) -> Dataset:
    return dataset_by_slug(session, slug, principal_now())
