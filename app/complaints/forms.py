"""What anybody says, an agency's person sends, and staff enter."""

from wtforms import DateField, SelectChoice, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, Length, Optional

from app.complaints.services import MAX_CONTACT, MAX_SUBJECT, MAX_TEXT
from app.complaints.states import ENTERED, Kind
from app.web.context import state_label
from app.web.forms import Form
from app.web.i18n import lazy_gettext as _


class SayForm(Form):
    """What anybody says."""

    kind = SelectField(
        _("Kind"), choices=[SelectChoice(kind.value, state_label(kind)) for kind in Kind]
    )
    subject = StringField(
        _("What it is about"), [DataRequired(), Length(max=MAX_SUBJECT)]
    )
    text = TextAreaField(_("What is meant"), [DataRequired(), Length(max=MAX_TEXT)])


class SendForm(SayForm):
    """What an agency's person sends."""

    case_number = StringField(
        _("Number of the request, if it is about one"), [Length(max=80)]
    )


class EnterForm(SendForm):
    """What staff enter of what came to the office."""

    channel = SelectField(
        _("Came by"),
        choices=[SelectChoice(each.value, state_label(each)) for each in ENTERED],
    )
    lapor_number = StringField(
        _("Tracking number of LAPOR!"),
        [Length(max=40)],
        description=_("Only for what came through LAPOR!"),
    )
    received_on = DateField(_("Received"), [Optional()], description=_("Empty: today."))
    sender = StringField(_("Who sent it"), [Length(max=MAX_CONTACT)])
    contact = StringField(
        _("How to reach them"),
        [Length(max=MAX_CONTACT)],
        description=_("The office alone sees who sent it and how to reach them."),
    )
