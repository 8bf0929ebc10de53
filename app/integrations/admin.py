"""Pages of integrations: the register, and one page for all that belongs to one of them."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, ClassVar

from flask import current_app, g
from wtforms import DateField, StringField, TextAreaField
from wtforms.validators import DataRequired, Email, Length, Optional

from app.core import clock
from app.core.filters import Filter
from app.core.policy import Permission
from app.identity.forms import agency_options
from app.integrations import services
from app.integrations.models import Integration
from app.integrations.queries import Parts, parts_of
from app.integrations.states import health_of, reasons_of
from app.web.context import state_name
from app.web.extensions import db
from app.web.format import moment
from app.web.guard import principal_now
from app.web.i18n import lazy_gettext as _
from app.web.views import ScopedView

_DATES = ("running_since", "review_on", "tls_until", "staff_until")


def _standing(integrations: Sequence[Integration]) -> dict[Any, Parts]:
    """Return the parts of what a page shows, read once for all of it."""
    known: dict[Any, Parts] = g.setdefault("integration_parts", {})
    missing = [each for each in integrations if each.id not in known]
    if missing:
        known |= parts_of(db.session(), principal_now(), missing)
    return known


def _now() -> tuple[datetime, date]:
    """Return this moment, and the day of it on the office's clock."""
    zone = current_app.extensions["simpul_settings"].time_zone
    now = clock.utc_now()
    return now, clock.in_zone(now, zone).date()


def _health(integration: Integration) -> str:
    facts = _standing([integration])[integration.id].facts(integration)
    return state_name(health_of(facts, *_now()))


def _next(integration: Integration) -> str:
    due = _standing([integration])[integration.id].facts(integration).next_due_at
    return moment(due) if due else "–"


class IntegrationView(ScopedView):
    """Which integrated services there are, who answers for them, and how they do."""

    read = Permission.CONTRACT_READ
    write = Permission.CONTRACT_WRITE
    lead = _(
        "Every integrated service with its agency, system, contacts and health. A case that"
        " closes enters its own; what ran before is taken over with its document and a reason."
    )
    import_key = ("contract",)
    details_template = "integrations/show.html"
    column_list = ("contract", "agency", "system", "health", "next_run", "review_on")
    more_columns = ("server", "contact", "document", "running_since")
    column_default_sort = ("running_since", True)
    column_sortable_list = ("system", "review_on", "running_since")
    narrow_columns = ("health", "next_run", "review_on")
    column_details_list = (
        "agency", "system", "server", "contact", "contact_phone", "contact_email",
        "document", "reason", "running_since", "review_on", "tls_until", "staff_until",
    )  # fmt: skip
    wide_details = ("reason",)
    filters: ClassVar = (
        Filter(Integration.agency_id, _("Agency"), agency_options, quick=True),
        Filter(Integration.review_on, _("Review on")),
        Filter(Integration.running_since, _("Runs since")),
        Filter(Integration.tls_until, _("Certificate of the server until")),
        Filter(Integration.system, _("System of the agency")),
    )
    form_columns = (
        "contract", "system", "server", "contact", "contact_phone", "contact_email",
        "document", "reason", "running_since", "review_on", "tls_until", "staff_until",
    )  # fmt: skip
    form_groups: ClassVar = (
        (_("What runs"), ("contract", "system", "server", "running_since")),
        (_("Who answers for it"), ("contact", "contact_phone", "contact_email")),
        (_("What it rests on"), ("document", "reason")),
        (_("What comes to an end"), ("review_on", "tls_until", "staff_until")),
    )
    form_overrides: ClassVar = {
        **dict.fromkeys(
            ("system", "server", "contact", "contact_phone", "contact_email", "document"),
            StringField,
        ),
        **dict.fromkeys(_DATES, DateField),
        "reason": TextAreaField,
    }
    column_labels: ClassVar = {
        "contract": _("Contract"),
        "agency": _("Agency"),
        "system": _("System of the agency"),
        "server": _("Server"),
        "contact": _("Contact"),
        "contact_phone": _("Telephone"),
        "contact_email": _("E-mail"),
        "document": _("Request or document"),
        "reason": _("Why without the twelve steps"),
        "health": _("Health"),
        "next_run": _("Next pull"),
        "running_since": _("Runs since"),
        "review_on": _("Review on"),
        "tls_until": _("Certificate of the server until"),
        "staff_until": _("List of staff until"),
    }
    column_formatters: ClassVar = {
        "contract": lambda _v, _c, m, _n: m.contract.title,
        "agency": lambda _v, _c, m, _n: m.agency.name,
        "health": lambda _v, _c, m, _n: _health(m),
        "next_run": lambda _v, _c, m, _n: _next(m),
        **{
            name: lambda _v, _c, m, n: (
                moment(getattr(m, n), "d MMM y") if getattr(m, n) else "–"
            )
            for name in _DATES
        },
    }
    form_args: ClassVar = {
        "contract": {"validators": [DataRequired()]},
        "system": {"validators": [DataRequired(), Length(max=200)]},
        "server": {"validators": [Length(max=200)]},
        "contact": {
            "validators": [Length(max=200)],
            "description": _("Whom the office calls when something stands still."),
        },
        "contact_phone": {"validators": [Length(max=60)]},
        "contact_email": {"validators": [Optional(), Email(), Length(max=254)]},
        "document": {
            "validators": [DataRequired(), Length(max=300)],
            "description": _("Number of the request, or of the paper that it rests on."),
        },
        "reason": {
            "validators": [Length(max=2000)],
            "description": _(
                "For what ran before and is taken over. Empty for what a case has built."
            ),
        },
        "running_since": {"validators": [DataRequired()]},
        "review_on": {
            "validators": [Optional()],
            "description": _(
                "The day on which both sides look whether it is still right."
            ),
        },
        "tls_until": {"validators": [Optional()]},
        "staff_until": {"validators": [Optional()]},
    }

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.list_template:
            _standing(kwargs["page"].rows)
        if template == self.details_template:
            integration = kwargs["model"]
            parts = _standing([integration])[integration.id]
            facts, now = parts.facts(integration), _now()
            kwargs |= {
                "parts": parts,
                "may_amend": principal_now().agency_id == integration.agency_id
                and principal_now().may(Permission.REQUEST_ACT),
                "facts": facts,
                "health": health_of(facts, *now),
                "reasons": reasons_of(facts, *now),
            }
        return super().render(template, **kwargs)

    def save(self, model: Integration, *, created: bool) -> None:
        del created
        services.take_over(model)
        model.agency_id = model.contract.agency_id
