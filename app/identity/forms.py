"""Forms about people beside those of Flask-Admin."""

from collections.abc import Sequence
from typing import Any

from wtforms import DateField, SelectChoice, SelectField, StringField
from wtforms.validators import DataRequired, Length

from app.identity.duties import HandOver
from app.identity.models import User
from app.identity.states import DutyKind
from app.web.context import state_label
from app.web.forms import Form
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
