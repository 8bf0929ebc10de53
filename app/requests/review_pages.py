"""How the service does: how long cases took, why they were sent back, what was done alone."""

from flask import current_app
from flask_admin import expose
from sqlalchemy.orm import Session

from app.core import db
from app.core.policy import Permission
from app.requests import queries
from app.requests.clocks import clocks_of
from app.requests.models import IntegrationRequest
from app.requests.states import Step
from app.web.guard import needs, principal_now
from app.web.views import Page

LOOKED_AT = 1_000  # closed cases, the newest ones
ALONE = 100


class ReviewPages(Page):
    """What of the cases is looked at together; ``RequestPage`` has it as its own."""

    @expose("/review")
    @needs(Permission.REQUEST_READ)
    def review(self) -> str:
        """Show figures of the cases that one sees."""
        principal = principal_now()
        with db.unit_of_work() as session:
            alone = queries.done_alone(session, principal, ALONE)
            numbers = {
                case.id: case
                for case in session.scalars(
                    queries.cases(principal).where(
                        IntegrationRequest.id.in_([event.case_id for event in alone])
                    )
                )
            }
            text: str = self.render(
                "requests/review.html",
                times=_times(session),
                sent=queries.sent_back(session, principal),
                alone=[(event, numbers[event.case_id]) for event in alone],
                most=LOOKED_AT,
            )
        return text


def _times(session: Session) -> dict[str, int]:
    """Return how many cases were closed, how many of them in time, and their days."""
    closed = session.scalars(
        queries.cases(principal_now())
        .where(
            IntegrationRequest.step == Step.CLOSED,
            IntegrationRequest.accepted_at.is_not(None),
        )
        .order_by(IntegrationRequest.ended_at.desc())
        .limit(LOOKED_AT)
    ).all()
    zone = current_app.extensions["simpul_settings"].time_zone
    clocks = clocks_of(session, closed, zone).values()
    days = sorted(clock.gross for clock in clocks if clock.gross is not None)
    in_time = sum(not clock.is_endangered for clock in clocks)
    return {
        "closed": len(closed),
        "in_time": in_time,
        "median": days[len(days) // 2] if days else 0,
        "longest": days[-1] if days else 0,
        "loops_a": sum(case.loops_a for case in closed),
        "loops_b": sum(case.loops_b for case in closed),
    }
