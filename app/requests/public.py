"""Pages that everybody may open: whether a paper is one of ours."""

from http import HTTPStatus

from flask import request
from flask_admin import expose

from app.core import db
from app.core.policy import ANONYMOUS, acting_as
from app.requests import queries
from app.requests.signing import signings
from app.web.extensions import limiter
from app.web.guard import open_to_all
from app.web.views import Page

LONGEST_MARK = 80
GUESSES = "30 per minute; 300 per hour"  # of marks that are nobody's, from one address
Answer = str | tuple[str, int]


class VerifyPage(Page):
    """Tells whether a paper was issued here, by its code or digest, and nothing of what it says."""

    def is_accessible(self) -> bool:
        return False  # it stands in no menu

    @expose("/")
    @open_to_all
    @limiter.limit(
        GUESSES, deduct_when=lambda answer: answer.status_code == HTTPStatus.NOT_FOUND
    )
    def index(self) -> Answer:
        mark = request.args.get("code", "").replace("\0", "").strip()[:LONGEST_MARK]
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
