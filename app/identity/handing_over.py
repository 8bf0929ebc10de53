"""The form by which duties go to somebody else, for the office's page and for one's own."""

from uuid import UUID

from flask import current_app, flash
from flask_babel import gettext

from app.core.errors import RejectedError
from app.core.words import message_id
from app.identity import duties
from app.identity.events import happened
from app.identity.forms import HandOverForm
from app.identity.models import Duty, User
from app.web.extensions import db
from app.web.views import flash_rejected


def hand_over_form(holder: User) -> HandOverForm:
    """Return the form for a person's duties, filled as it was sent."""
    return HandOverForm(
        colleagues=duties.colleagues_of(db.session(), holder), position=holder.job_title
    )


def hand_over(holder: User, form: HandOverForm) -> None:
    """Do what the form says, and tell what came of it."""
    if not form.validate_on_submit():
        wrong = "; ".join(
            f"{field.label.text}: {' '.join(field.errors)}"
            for field in form
            if field.errors
        )
        flash(gettext("Not handed over. %(what)s", what=wrong), "danger")
        return
    successor = db.session.get_one(User, UUID(form.successor.data))
    zone = current_app.extensions["simpul_settings"].time_zone
    try:
        duty = duties.hand_over(db.session(), holder, successor, form.given(), zone)
        _tell(duty)
        db.session.commit()
    except RejectedError as error:
        db.session.rollback()
        flash_rejected(error)
    else:
        flash(
            gettext("Handed over to %(name)s; it ends by itself.", name=successor.name),
            "success",
        )


def _tell(duty: Duty) -> None:
    """Tell both of it: who acts from now on, and for whom."""
    words = (
        (duty.user, duty.for_user, message_id("You act for %(name)s as: %(what)s.")),
        (duty.for_user, duty.user, message_id("%(name)s acts for you as: %(what)s.")),
    )
    for told, other, message in words:
        happened.send(
            session=db.session(),
            user_id=told.id,
            message=message,
            params={"name": other.name, "what": duty.position},
        )
