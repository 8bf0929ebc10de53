"""The door for who was invited: a code, then a password of one's own."""

from dataclasses import replace
from http import HTTPStatus

from flask import Response, flash, request
from flask_admin import expose
from flask_babel import gettext
from flask_login import logout_user

from app.core.db import unit_of_work
from app.core.errors import RejectedError
from app.core.policy import DbRole, acting_as
from app.identity import invitations
from app.identity.errors import InvitationOverError
from app.identity.models import User
from app.identity.principals import principal_of
from app.web.extensions import db, limiter
from app.web.guard import open_to_all
from app.web.views import Page, back_to, flash_rejected

LONGEST_CODE = 60
GUESSES = "20 per minute; 100 per hour"  # of codes that open nothing, from one address
Answer = str | Response | tuple[str, int]


class WelcomePage(Page):
    """Open to everybody; what it shows, only a living code opens."""

    def is_accessible(self) -> bool:
        return False  # it stands in no menu

    @expose("/", methods=("GET", "POST"))
    @open_to_all
    def index(self) -> Answer:
        """Ask for the code of the sheet."""
        if request.method == "POST":
            code = request.form.get("code", "").strip()[:LONGEST_CODE]
            return back_to("welcome.invitation", code=code or "-")
        text: str = self.render("identity/welcome.html", invitation=None)
        return text

    @expose("/<code>", methods=("GET", "POST"))
    @open_to_all
    @limiter.limit(
        GUESSES, deduct_when=lambda response: response.status_code == HTTPStatus.GONE
    )
    def invitation(self, code: str) -> Answer:
        """Show whom a code invites; take the password of their choice."""
        try:
            invitation = invitations.open_invitation(db.session(), code[:LONGEST_CODE])
        except InvitationOverError as error:
            flash_rejected(error)
            return self.render("identity/welcome.html", invitation=None), HTTPStatus.GONE
        if request.method == "POST" and self._accept(invitation.user, code):
            return back_to("security.login")
        text: str = self.render("identity/welcome.html", invitation=invitation, code=code)
        return text

    def _accept(self, user: User, code: str) -> bool:
        """Take the password; tell whether it will do."""
        password = request.form.get("password", "")
        if password != request.form.get("password_again", ""):
            flash(gettext("The two passwords are not the same."), "danger")
            return False
        try:
            # In the person's own name: they are not logged in yet.
            person = replace(principal_of(user), db_role=DbRole.SYSTEM)
            with acting_as(person), unit_of_work() as session:
                invitations.accept(session, code[:LONGEST_CODE], password)
        except RejectedError as error:
            flash_rejected(error)
            return False
        logout_user()
        flash(gettext("Your password is set. Log in with it now."), "success")
        return True
