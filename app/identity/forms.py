"""Forms about people beside those of Flask-Admin."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from wtforms import DateField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, Length

from app.core.filters import Options
from app.core.scope import visible
from app.identity.duties import HandOver
from app.identity.models import Agency, User
from app.identity.states import DutyKind
from app.web.context import state_label
from app.web.extensions import db
from app.web.forms import Form
from app.web.guard import principal_now
from app.web.i18n import lazy_gettext


class HandOverForm(Form):
    """Who acts for somebody, as what, on what basis, and for which days."""

    successor = SelectField(lazy_gettext("To"), validators=[DataRequired()])
    kind = SelectField(
        lazy_gettext("As"),
        choices=[SelectChoice(kind.value, state_label(kind)) for kind in DutyKind],
    )
    position = StringField(
        lazy_gettext("Position"), validators=[DataRequired(), Length(max=200)]
    )
    basis = StringField(
        lazy_gettext("Basis (number of the letter)"),
        validators=[DataRequired(), Length(max=200)],
    )
    first_day = DateField(lazy_gettext("From"), validators=[DataRequired()])
    last_day = DateField(
        lazy_gettext("Until, this day included"), validators=[DataRequired()]
    )

    def __init__(self, *args: Any, colleagues: Sequence[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.successor.choices = [
            SelectChoice(str(each.id), f"{each.name} ({each.job_title or each.email})")
            for each in colleagues
        ]

    def given(self) -> HandOver:
        """Return what was filled in."""
        return HandOver(
            kind=DutyKind(self.kind.data),
            position=self.position.data.strip(),
            basis=self.basis.data.strip(),
            first_day=self.first_day.data,
            last_day=self.last_day.data,
        )


def agency_options() -> Options:
    """Return the agencies that one sees, to choose from."""
    found = sa.select(Agency.id, Agency.name).where(visible(Agency, principal_now()))
    rows = db.session.execute(found.order_by(Agency.name))
    return [(str(row.id), row.name) for row in rows]
