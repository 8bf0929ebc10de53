"""The page of what comes to an end, so that nothing ends unnoticed."""

from datetime import date, timedelta
from itertools import groupby

from flask import current_app
from flask_admin import expose

from app.core import clock, db
from app.core.policy import Permission
from app.core.words import message_id as _
from app.integrations.expiring import MOST, Ending, endings
from app.web.guard import needs, principal_now
from app.web.views import Page

OVER = _("Over")
_STRETCHES = (
    (30, _("In the next 30 days")),
    (90, _("In the next 90 days")),
    (10_000, _("Later this year")),
)


def stretch_of(day: date, today: date) -> str:
    """Name the stretch of time in which a last day lies, as a message id."""
    if day < today:
        return OVER
    return next(name for days, name in _STRETCHES if day < today + timedelta(days=days))


class ExpiringPage(Page):
    """Agreements, keys, certificates, lists of staff, duties: by their last day."""

    @expose("/")
    @needs(Permission.CONTRACT_READ)
    def index(self) -> str:
        zone = current_app.extensions["simpul_settings"].time_zone
        now = clock.utc_now()
        today = clock.in_zone(now, zone).date()
        with db.unit_of_work() as session:
            found = endings(session, principal_now(), now, zone)

            def stretch(each: Ending) -> str:
                return stretch_of(each.day, today)

            text: str = self.render(
                "integrations/expiring.html",
                stretches=[
                    (name, list(rows)) for name, rows in groupby(found.rows, stretch)
                ],
                most=MOST if found.is_cut else 0,
                today=today,
                over=OVER,
            )
        return text
