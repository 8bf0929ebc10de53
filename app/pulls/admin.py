"""The page of records that broke their contract."""

from uuid import UUID

from flask import request
from flask_admin import expose

from app.core import db
from app.core.policy import Permission
from app.core.scope import get_visible
from app.pulls import queries
from app.pulls.models import QuarantinedRecord
from app.web.guard import needs, principal_now
from app.web.paging import page_number
from app.web.views import Page


class QuarantinePage(Page):
    """Records set aside: which, why, and as they came."""

    @expose("/")
    @needs(Permission.QUARANTINE_READ)
    def index(self) -> str:
        page, principal = page_number(), principal_now()
        run_id, source_id = _uuid("run"), _uuid("source")
        search = request.args.get("search", "").replace("\0", "")[:200]
        with db.unit_of_work() as session:
            records, count = queries.quarantine_page(
                session,
                principal,
                run_id=run_id,
                source_id=source_id,
                search=search,
                page=page,
            )
            text: str = self.render(
                "pulls/quarantine.html",
                records=records,
                count=count,
                page=page,
                page_size=queries.PAGE_SIZE,
                search=search,
                run_id=run_id,
                source_id=source_id,
                sources=queries.sources_seen(session, principal),
                reasons=queries.reasons_of(session, principal, run_id) if run_id else (),
            )
        return text

    @expose("/<ident>")
    @needs(Permission.QUARANTINE_READ)
    def show(self, ident: str) -> str:
        with db.unit_of_work() as session:
            record = get_visible(session, QuarantinedRecord, ident, principal_now())
            raw = record.raw.decode("utf-8", "backslashreplace")
            text: str = self.render("pulls/record.html", record=record, raw=raw)
        return text


def _uuid(name: str) -> UUID | None:
    """Return a key out of the address; what is none narrows to nothing that exists."""
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)
