"""A person's own page: their log-ins, and what they log in with."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from flask import Response, current_app, flash, g
from flask_admin import expose
from flask_babel import gettext
from flask_login import current_user

from app.core.clock import utc_now
from app.core.errors import RejectedError
from app.core.scope import NotFoundError, get_visible
from app.identity import duties, login_sessions, session as log_in
from app.identity.handing_over import hand_over, hand_over_form
from app.identity.models import Duty, Passkey, User
from app.identity.states import DutyKind
from app.web.extensions import db
from app.web.guard import as_log_in, principal_now, signed_in
from app.web.views import Page, back_to, flash_rejected


class AccountPage(Page):
    """What belongs to the person who is logged in, and to nobody else."""

    @expose("/")
    @signed_in
    def index(self) -> str:
        own = db.session.get_one(User, _own_id())
        limits = log_in.limits(current_app.extensions["simpul_settings"])
        text: str = self.render(
            "identity/account.html",
            person=current_user,
            passkeys=_own_passkeys(),
            duties=duties.duties_of(db.session(), own),
            hand_over_form=hand_over_form(own),
            now=utc_now(),
            sessions=login_sessions.living(db.session(), _own_id(), limits),
            present=g.login_session_id,
            device_of=login_sessions.device_of,
            limits=limits,
        )
        return text

    @expose("/delegate", methods=("POST",))
    @signed_in
    def delegate(self) -> Response:
        """Let a colleague act for oneself for some days."""
        own = db.session.get_one(User, _own_id())
        form = hand_over_form(own)
        form.kind.data = DutyKind.DELEGATION.value
        hand_over(own, form)
        return back_to("account.index")

    @expose("/duties/<ident>/end", methods=("POST",))
    @signed_in
    def end_duty(self, ident: str) -> Response:
        """End what a colleague does for oneself."""
        duty = get_visible(db.session(), Duty, ident, principal_now())
        if duty.for_user_id != _own_id():
            raise NotFoundError
        try:
            duties.end_early(duty)
            db.session.commit()
            flash(gettext("The duty is over."), "success")
        except RejectedError as error:
            flash_rejected(error)
        return back_to("account.index")

    @expose("/stop-viewing", methods=("POST",))
    @signed_in
    def stop_viewing(self) -> Response:
        """Be oneself again after looking on as an agency."""
        with as_log_in() as session:
            login_sessions.look_on(session, g.login_session_id, None)
        return back_to("home.index")

    @expose("/sessions/<ident>/end", methods=("POST",))
    @signed_in
    def end(self, ident: str) -> Response:
        """End one of one's own log-ins."""
        if not login_sessions.end(db.session(), _own_id(), _key(ident)):
            raise NotFoundError
        db.session.commit()
        flash(gettext("That log-in is over."), "success")
        return back_to("account.index")

    @expose("/sessions/end-others", methods=("POST",))
    @signed_in
    def end_others(self) -> Response:
        """End all of one's own log-ins but this one."""
        ended = login_sessions.end_others(db.session(), _own_id(), g.login_session_id)
        db.session.commit()
        flash(gettext("Ended: %(n)s other log-ins.", n=ended), "success")
        return back_to("account.index")


def _own_passkeys() -> Sequence[Passkey]:
    return db.session.scalars(
        sa.select(Passkey).where(Passkey.user_id == _own_id()).order_by(Passkey.name)
    ).all()


def _own_id() -> UUID:
    own = principal_now().user_id
    if own is None:
        raise NotFoundError
    return own


def _key(ident: str) -> UUID:
    try:
        return UUID(ident)
    except ValueError:
        raise NotFoundError from None
