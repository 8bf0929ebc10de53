"""Pages that everybody may open: the service as published, where a request stands, whether a
paper is one of ours.
"""

from http import HTTPStatus

import sqlalchemy as sa
from flask import current_app, request
from flask_admin import expose

from app.contracts.models import Contract
from app.core import db
from app.core.policy import ANONYMOUS, acting_as
from app.datasets.models import Dataset
from app.office.models import Office
from app.requests import names, queries
from app.requests.clocks import clocks_of
from app.requests.documents import DOCUMENTS, STEP_DOCUMENTS
from app.requests.saying import line_of, step_name
from app.requests.signing import signings
from app.requests.states import Step
from app.web.extensions import limiter
from app.web.guard import open_to_all
from app.web.views import Page

LONGEST_MARK = 80
GUESSES = "30 per minute; 300 per hour"  # of marks that are nobody's, from one address
Answer = str | tuple[str, int]


def is_wrong_mark(answer: object) -> bool:
    return getattr(answer, "status_code", 0) == HTTPStatus.NOT_FOUND


class PublicPage(Page):
    """A page without a log-in."""

    def is_accessible(self) -> bool:
        return False  # it stands in no menu


class ServicePage(PublicPage):
    """The service as published, and where a request of it stands."""

    @expose("/")
    @open_to_all
    def index(self) -> str:
        """Show what is asked for, what happens, how long it takes, what has come of it."""
        with acting_as(ANONYMOUS), db.unit_of_work() as session:
            office = session.scalars(sa.select(Office)).one()
            datasets = session.scalars(
                sa.select(Dataset)
                .join(Dataset.contract)
                .where(Dataset.published_at.is_not(None), Contract.is_listed)
                .order_by(Dataset.title)
            ).all()
            page: str = self.render(
                "public/service.html",
                office=office,
                steps=[step for step in Step if step.number],
                step_name=step_name,
                asked=names.ASKED,
                documents=[DOCUMENTS[kind] for kind in STEP_DOCUMENTS[Step.DRAFT]],
                datasets=datasets,
            )
        return page

    @expose("/status")
    @open_to_all
    @limiter.limit(GUESSES, deduct_when=is_wrong_mark)
    def status(self) -> Answer:
        """Show where a request stands, to who holds its number and the code of a paper."""
        number, code = asked("number"), asked("code")
        zone = current_app.extensions["simpul_settings"].time_zone
        with acting_as(ANONYMOUS), db.unit_of_work() as session:
            case = queries.case_by_marks(session, number, code)
            page: str = self.render(
                "public/status.html",
                number=number,
                code=code,
                case=case,
                step_name=step_name,
                names=names,
                line=line_of(case, queries.events_of(session, case)) if case else (),
                clock=clocks_of(session, [case], zone)[case.id] if case else None,
            )
        is_wrong = case is None and bool(number or code)
        return (page, HTTPStatus.NOT_FOUND) if is_wrong else page


class VerifyPage(PublicPage):
    """Tells whether a paper was issued here, by its code or digest, and nothing of what it says."""

    @expose("/")
    @open_to_all
    @limiter.limit(GUESSES, deduct_when=is_wrong_mark)
    def index(self) -> Answer:
        mark = asked("code")
        paper = found = None
        if mark:
            with acting_as(ANONYMOUS), db.unit_of_work() as session:
                paper = queries.paper_by_mark(session, mark)
                if paper is not None:
                    found = signings(session, [paper])[paper.id]
        page: str = self.render(
            "requests/verify.html", mark=mark, paper=paper, signing=found
        )
        return page if paper or not mark else (page, HTTPStatus.NOT_FOUND)


def asked(name: str) -> str:
    return request.args.get(name, "").replace("\0", "").strip()[:LONGEST_MARK]
