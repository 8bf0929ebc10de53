"""Pages of changes that may break something: whom they hit, and what the hit ones answer."""

from typing import Any, ClassVar

import msgspec
from flask import Response, flash, request
from flask_admin import expose
from flask_babel import gettext

from app.contracts import drafts
from app.contracts.changes import Change
from app.contracts.models import ContractVersion
from app.contracts.states import VersionStatus
from app.core import db
from app.core.errors import RejectedError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.datasets import announcing
from app.datasets.models import ChangeNotice
from app.identity.forms import agency_options
from app.web.format import moment, person
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext
from app.web.views import ReadOnlyView, back_to, flash_rejected


class ChangeView(ReadOnlyView):
    """What changes about data that one receives, and since when it is known."""

    read = Permission.AGREEMENT_READ
    lead = lazy_gettext(
        "Before a change that may break what receivers do with the data, each of them is"
        " told and answers."
    )
    details_template = "datasets/change.html"
    column_list = ("title", "agency", "sent_at", "due_at", "answered_at")
    column_default_sort = ("sent_at", True)
    column_sortable_list = ("sent_at", "due_at", "answered_at")
    narrow_columns = ("sent_at", "due_at", "answered_at")
    column_details_list = (
        "title", "agency", "sent_at", "sent_by", "due_at", "answered_at", "answered_by",
        "remark",
    )  # fmt: skip
    wide_details = ("remark",)
    filters: ClassVar = (
        Filter(
            ChangeNotice.agency_id,
            lazy_gettext("Received by"),
            agency_options,
            quick=True,
        ),
        Filter(ChangeNotice.answered_at, lazy_gettext("Answered")),
        Filter(ChangeNotice.due_at, lazy_gettext("Waits until")),
    )
    column_labels: ClassVar = {
        "title": lazy_gettext("What changes"),
        "agency": lazy_gettext("Received by"),
        "sent_at": lazy_gettext("Told"),
        "sent_by": lazy_gettext("Told by"),
        "due_at": lazy_gettext("Waits until"),
        "answered_at": lazy_gettext("Answered"),
        "answered_by": lazy_gettext("Answered by"),
        "remark": lazy_gettext("Remark"),
    }
    column_formatters: ClassVar = {
        "agency": lambda _v, _c, m, _n: m.agency.name,
        **{
            name: lambda _v, _c, m, n: person(getattr(m, n))
            for name in ("sent_by", "answered_by")
        },
        **{
            name: lambda _v, _c, m, n: moment(getattr(m, n)) if getattr(m, n) else "–"
            for name in ("sent_at", "due_at", "answered_at")
        },
    }

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.details_template:
            notice, principal = kwargs["model"], principal_now()
            kwargs["changes"] = [msgspec.convert(each, Change) for each in notice.changes]
            kwargs["told"] = drafts.told
            is_theirs = principal.agency_id == notice.agency_id
            kwargs["may_answer"] = is_theirs and notice.answered_at is None
        return super().render(template, **kwargs)

    @expose("/<ident>/answer", methods=("POST",))
    @needs(Permission.AGREEMENT_READ)
    def answer(self, ident: str) -> Response:
        """Say for the receiver that it is ready."""
        try:
            with db.unit_of_work() as session:
                notice = get_visible(session, ChangeNotice, ident, principal_now())
                announcing.answer(session, notice, request.form.get("remark", ""))
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("Answered: the office sees that you are ready."), "success")
        return back_to("changes.details_view", id=ident)

    @expose("/of/<ident>")
    @needs(Permission.CONTRACT_WRITE)
    def impact(self, ident: str) -> str:
        """Show what a draft changes, whom it hits, and who knows."""
        with db.unit_of_work() as session:
            version = _draft(session, ident)
            impact = announcing.impact_of(session, version)
            text: str = self.render(
                "datasets/impact.html",
                version=version,
                impact=impact,
                told=drafts.told,
            )
        return text

    @expose("/of/<ident>", methods=("POST",))
    @needs(Permission.CONTRACT_WRITE)
    def announce(self, ident: str) -> Response:
        """Tell all whom a draft hits."""
        try:
            with db.unit_of_work() as session:
                count = announcing.announce(session, _draft(session, ident))
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("Agencies that were told: %(count)s.", count=count), "success")
        return back_to("changes.impact", ident=ident)


def _draft(session: Any, ident: str) -> ContractVersion:
    version: ContractVersion = get_visible(
        session, ContractVersion, ident, principal_now()
    )
    if version.status is not VersionStatus.DRAFT:
        raise NotFoundError
    return version
