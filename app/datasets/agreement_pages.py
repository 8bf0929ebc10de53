"""Pages of agreements: the office proposes, whose data it is agrees or declines."""

from datetime import timedelta
from typing import Any, ClassVar

from flask import Response, current_app, flash, request
from flask_admin import expose
from flask_babel import gettext
from wtforms import DateField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length

from app.core import clock, db
from app.core.errors import RejectedError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import get_visible
from app.datasets import agreements
from app.datasets.models import Agreement, Dataset
from app.datasets.states import AgreementState
from app.identity.forms import agency_options
from app.identity.models import Agency
from app.web.context import state_name
from app.web.extensions import db as flask_db
from app.web.format import moment
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext
from app.web.views import ScopedView, back_to, flash_rejected


def _zone() -> str:
    zone: str = current_app.extensions["simpul_settings"].time_zone
    return zone


def _listed(text: str | None) -> list[str]:
    return [each.strip() for each in (text or "").split(",") if each.strip()]


class AgreementView(ScopedView):
    """Which agency receives which other agency's data, what of it, for what, how long."""

    read = Permission.AGREEMENT_READ
    write = Permission.AGREEMENT_WRITE
    lead = lazy_gettext(
        "What one agency's data is opened to another for: the fields, the rows, the purpose and"
        " the last day. Nothing is read before whose data it is has agreed."
    )
    details_template = "datasets/agreement.html"
    column_list = ("number", "dataset", "agency", "state", "valid_until")
    column_default_sort = ("valid_from", True)
    column_sortable_list = ("number", "valid_until")
    narrow_columns = ("state", "valid_until")
    column_details_list = (
        "dataset", "producer", "agency", "fields", "row_field", "row_values", "purpose",
        "valid_from", "valid_until", "proposed_by", "consented_by", "consented_at",
        "ended_at", "ended_because",
    )  # fmt: skip
    wide_details = ("purpose", "fields", "row_values", "ended_because")
    filters: ClassVar = (
        Filter(
            Agreement.agency_id, lazy_gettext("Received by"), agency_options, quick=True
        ),
        Filter(
            Agreement.producer_id,
            lazy_gettext("Whose data"),
            agency_options,
            quick=True,
        ),
        Filter(Agreement.valid_until, lazy_gettext("Last day")),
        Filter(Agreement.ended_at, lazy_gettext("Ended")),
        Filter(Agreement.number, lazy_gettext("Number of the agreement")),
    )
    form_columns = (
        "number", "dataset", "agency", "field_names", "row_field", "values", "purpose",
        "ends_on",
    )  # fmt: skip
    form_groups: ClassVar = (
        (lazy_gettext("Who and what"), ("number", "dataset", "agency")),
        (
            lazy_gettext("What of it is opened"),
            ("field_names", "row_field", "values"),
        ),
        (lazy_gettext("For what and how long"), ("purpose", "ends_on")),
    )
    form_stands_for: ClassVar = {
        "fields": "field_names",
        "row_values": "values",
        "valid_until": "ends_on",
    }
    form_overrides: ClassVar = {
        "number": StringField,
        "row_field": StringField,
        "purpose": TextAreaField,
    }
    form_extra_fields: ClassVar = {
        "field_names": StringField(
            lazy_gettext("Fields"),
            validators=[Length(max=5000)],
            description=lazy_gettext(
                "Names with commas between them. Empty: all fields that are not personal."
            ),
        ),
        "values": StringField(
            lazy_gettext("Values in it"),
            validators=[Length(max=20_000)],
            description=lazy_gettext(
                "With commas between them, such as 14.01, 14.02. Empty: all rows."
            ),
        ),
        "ends_on": DateField(lazy_gettext("Last day"), validators=[DataRequired()]),
    }
    column_labels: ClassVar = {
        "number": lazy_gettext("Number of the agreement"),
        "dataset": lazy_gettext("Dataset"),
        "agency": lazy_gettext("Received by"),
        "producer": lazy_gettext("Whose data"),
        "state": lazy_gettext("Status"),
        "fields": lazy_gettext("Fields"),
        "row_field": lazy_gettext("Only rows chosen by the field"),
        "row_values": lazy_gettext("Values in it"),
        "purpose": lazy_gettext("Purpose"),
        "valid_from": lazy_gettext("From"),
        "valid_until": lazy_gettext("Until"),
        "proposed_by": lazy_gettext("Proposed by"),
        "consented_by": lazy_gettext("Agreed by"),
        "consented_at": lazy_gettext("Agreed"),
        "ended_at": lazy_gettext("Ended"),
        "ended_because": lazy_gettext("Why it ended"),
    }
    column_formatters: ClassVar = {
        "dataset": lambda _v, _c, m, _n: str(m.dataset or "–"),
        "agency": lambda _v, _c, m, _n: m.agency.name if m.agency else "–",
        "producer": lambda _v, _c, m, _n: m.producer.name if m.producer else "–",
        "state": lambda _v, _c, m, _n: state_name(m.state),
        "fields": lambda _v, _c, m, _n: (
            ", ".join(m.fields) or gettext("all that are not personal")
        ),
        "row_field": lambda _v, _c, m, _n: m.row_field or gettext("all rows"),
        "row_values": lambda _v, _c, m, _n: ", ".join(m.row_values),
        **{
            name: lambda _v, _c, m, n: moment(getattr(m, n))
            for name in ("valid_from", "valid_until", "consented_at", "ended_at")
        },
    }
    form_args: ClassVar = {
        "number": {
            "validators": [DataRequired(), Length(max=300)],
            "description": lazy_gettext(
                "Of the letter or the cooperation agreement that it rests on."
            ),
        },
        "dataset": {"validators": [DataRequired()]},
        "agency": {"validators": [DataRequired()]},
        "row_field": {
            "validators": [Length(max=60)],
            "description": lazy_gettext(
                "A field of text or whole numbers, such as a region code. Empty: all rows."
            ),
        },
        "purpose": {
            "validators": [DataRequired(), Length(max=2000)],
            "description": lazy_gettext("What the data is used for, and by what right."),
        },
    }

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.details_template:
            agreement, principal = kwargs["model"], principal_now()
            is_owner = principal.agency_id == agreement.producer_id
            may_consent = is_owner and principal.may(Permission.AGREEMENT_CONSENT)
            kwargs["is_proposed"] = agreement.state is AgreementState.PROPOSED
            kwargs["may_consent"] = may_consent and kwargs["is_proposed"]
            may_end = agreements.may_end(agreement, principal)
            kwargs["may_end"] = may_end and agreement.ended_at is None
        return super().render(template, **kwargs)

    def create_form(self, obj: Any = None) -> Any:
        """Return the form of a new one; a case's page says what it is about."""
        form = super().create_form(obj)
        if request.method == "GET":
            form.number.data = request.args.get("number", "")[:300]
            form.purpose.data = request.args.get("purpose", "")[:2000]
            principal = principal_now()
            for name, model in (("dataset", Dataset), ("agency", Agency)):
                if request.args.get(name):
                    form[name].data = get_visible(
                        flask_db.session(), model, request.args[name], principal
                    )
        return form

    def on_form_prefill(self, form: Any, id: Any) -> None:  # noqa: A002 - Flask-Admin's name
        agreement = self.get_one(id)
        form.field_names.data = ", ".join(agreement.fields)
        form.values.data = ", ".join(agreement.row_values)
        if agreement.valid_until:
            last = agreement.valid_until - timedelta(seconds=1)
            form.ends_on.data = clock.in_zone(last, _zone()).date()

    def on_model_change(self, form: Any, model: Agreement, is_created: bool) -> None:  # noqa: FBT001 - Flask-Admin's
        super().on_model_change(form, model, is_created)
        model.fields = _listed(form.field_names.data)
        model.row_values = _listed(form.values.data)
        model.row_field = (model.row_field or "").strip()
        model.valid_until = clock.end_of(form.ends_on.data, _zone())
        agreements.propose(flask_db.session(), model)

    @expose("/<ident>/consent", methods=("POST",))
    @needs(Permission.AGREEMENT_CONSENT)
    def consent(self, ident: str) -> Response:
        seen = request.form.get("seen", "")
        try:
            with db.unit_of_work() as session:
                agreement = get_visible(session, Agreement, ident, principal_now())
                version = int(seen) if seen.isascii() and seen.isdigit() else 0
                agreements.consent(session, agreement, version)
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("Agreed: the rows are open from now on."), "success")
        return back_to("agreements.details_view", id=ident)

    @expose("/<ident>/end", methods=("POST",))
    @needs(Permission.AGREEMENT_READ)
    def end(self, ident: str) -> Response:
        """End it: for whom, says the service."""
        try:
            with db.unit_of_work() as session:
                agreement = get_visible(session, Agreement, ident, principal_now())
                agreements.end(session, agreement, request.form.get("because", ""))
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(
                gettext("Ended: list, file and API are closed from this moment."),
                "success",
            )
        return back_to("agreements.details_view", id=ident)
