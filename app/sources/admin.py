"""Pages of sources: the list, and the form. Running and scheduling are the pulls' pages."""

from typing import Any

import sqlalchemy as sa
from flask import Response, current_app, request
from flask_admin import expose
from sqlalchemy.exc import IntegrityError
from wtforms import SelectChoice

from app.contracts.models import Contract
from app.core import db
from app.core.errors import RejectedError
from app.core.policy import Permission
from app.core.scope import get_visible, visible
from app.sources import services
from app.sources.forms import SourceForm
from app.sources.models import Source
from app.web.guard import needs, principal_now
from app.web.views import Page, back_to, flash_rejected, flash_taken


class SourcePage(Page):
    """Web services of agencies."""

    @expose("/")
    @needs(Permission.SOURCE_READ)
    def index(self) -> str:
        with db.unit_of_work() as session:
            sources = session.scalars(
                sa.select(Source)
                .where(visible(Source, principal_now()))
                .order_by(Source.name)
            ).all()
            text: str = self.render(
                "sources/list.html", sources=sources, approved=_approved
            )
        return text

    @expose("/new", methods=("GET", "POST"))
    @needs(Permission.SOURCE_WRITE)
    def new(self) -> Response | str:
        return self._form(None)

    @expose("/<ident>/edit", methods=("GET", "POST"))
    @needs(Permission.SOURCE_WRITE)
    def edit(self, ident: str) -> Response | str:
        return self._form(ident)

    @expose("/<ident>/approve", methods=("POST",))
    @needs(Permission.SOURCE_APPROVE)
    def approve(self, ident: str) -> Response:
        """Let requests go to the host and port that the approver has seen."""
        host = request.form.get("host", "")
        reason = request.form.get("reason", "").strip()[:500]
        try:
            with db.unit_of_work() as session:
                source = get_visible(session, Source, ident, principal_now())
                services.approve_host(session, source, host, reason)
        except RejectedError as error:
            flash_rejected(error)
        return back_to("pulls.source", ident=ident)

    def _form(self, ident: str | None) -> Response | str:
        form = SourceForm()
        with db.unit_of_work() as session:
            source = (
                get_visible(session, Source, ident, principal_now()) if ident else None
            )
            form.contract.choices = _contracts(session, source)
            if request.method == "GET":
                _fill(form, source)
        if form.validate_on_submit():
            saved = _save(form, ident)
            if saved is not None:
                return back_to("pulls.source", ident=saved)
        # Only now: a page shows the messages that were there when it was first drawn.
        text: str = self.render("sources/form.html", form=form, source=source)
        return text


def _fill(form: SourceForm, source: Source | None) -> None:
    if source is None:
        form.contract.data = request.args.get("contract", "")
        return
    form.name.data, form.enabled.data = source.name, source.enabled
    form.contract.data = str(source.contract_id)
    form.show(source.settings)


def _contracts(session: Any, source: Source | None) -> list[SelectChoice]:
    """Return the contracts to choose from; a source keeps the one it was made for.

    Its schedule and its waiting runs keep apart by contract: they would not know.
    """
    if source is not None:
        rows = [source.contract]
    else:
        rows = session.scalars(
            sa.select(Contract)
            .where(visible(Contract, principal_now()))
            .order_by(Contract.title)
        ).all()
    return [SelectChoice(str(c.id), f"{c.title} ({c.agency.name})") for c in rows]


def _save(form: SourceForm, ident: str | None) -> str | None:
    """Write the form; return the source's id, or None after saying why not."""
    try:
        with db.unit_of_work() as session:
            principal = principal_now()
            source = (
                get_visible(session, Source, ident, principal)
                if ident
                else Source(kind="rest_json")
            )
            source.contract = get_visible(
                session, Contract, form.contract.data, principal
            )
            source.name, source.enabled = form.name.data.strip(), form.enabled.data
            services.save_source(
                session, source, form.settings(), secret=form.secret.data or ""
            )
            session.flush()  # its id is where we go next
            return str(source.id)
    except RejectedError as error:
        flash_rejected(error)
    except IntegrityError:
        flash_taken()
    return None


def _approved(source: Source) -> bool:
    settings = current_app.extensions["simpul_settings"]
    return services.is_approved(source, settings.approved_hosts)
