"""Pages of agencies, people and roles."""

from typing import Any, ClassVar

from flask import Response, flash, g, request
from flask_admin import expose
from flask_babel import gettext
from flask_security.utils import send_mail
from wtforms import PasswordField, SelectMultipleField, StringField
from wtforms.validators import DataRequired, Email, Length, Optional, Regexp

from app.audit.recorder import record
from app.core.clock import utc_now
from app.core.errors import RejectedError
from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.core.words import message_id
from app.identity import (
    duties,
    factor_resets,
    invitations,
    login_sessions,
    services,
)
from app.identity.events import happened
from app.identity.forms import agency_options
from app.identity.handing_over import hand_over, hand_over_form
from app.identity.models import Agency, Duty, FactorReset, Role, User
from app.web.context import permission_name
from app.web.extensions import db
from app.web.format import moment
from app.web.guard import as_log_in, needs, principal_now
from app.web.i18n import lazy_gettext
from app.web.links import public_link, qr_image
from app.web.listing import yes_or_no
from app.web.views import ScopedView, back_to, flash_rejected


def _yes(_view: Any, _context: Any, model: Any, name: str) -> str:
    return str(gettext("yes") if getattr(model, name) else gettext("no"))


def _roles_to_give() -> Any:
    """Return the roles that the person at work may give: an agency's only agencies' ones."""
    roles = db.session.query(Role).order_by(Role.label)
    return roles if principal_now().is_office else roles.filter(Role.for_agency)


def _factor_words(user: User) -> str:
    """Say whether a person logs in with a second factor, as far as the office knows."""
    if user.tf_primary_method is not None:
        return str(gettext("authenticator app"))
    if user.needs_second_factor:
        return str(gettext("asked for by a role, not set up yet"))
    return str(gettext("none"))


def _role_names(user: User) -> str:
    """Name a person's roles; of many only the first two, and how many more there are."""
    labels = sorted(role.label for role in user.roles)
    shown = ", ".join(labels[:2])
    return f"{shown} (+{len(labels) - 2})" if len(labels) > 3 else ", ".join(labels)


class AgencyView(ScopedView):
    """Agencies whose data is joined up."""

    read = Permission.AGENCY_READ
    write = Permission.AGENCY_WRITE
    import_key = ("code",)
    details_template = "identity/agency.html"
    column_list = ("code", "name", "short_name", "active")
    column_default_sort = "name"
    filters: ClassVar = (
        Filter(Agency.active, lazy_gettext("Active"), yes_or_no, quick=True),
        Filter(Agency.code, lazy_gettext("Code")),
        Filter(Agency.name, lazy_gettext("Name")),
    )
    more_columns = ("email", "phone", "address")
    column_formatters: ClassVar = {"active": _yes}
    column_details_list = (
        "code",
        "name",
        "short_name",
        "email",
        "phone",
        "address",
        "active",
    )
    form_columns = ("code", "name", "short_name", "email", "phone", "address", "active")
    # One line each: Flask-Admin would make a text area of a column without a length.
    form_overrides: ClassVar = dict.fromkeys(
        ("code", "name", "short_name", "email", "phone"), StringField
    )
    column_labels: ClassVar = {
        "code": lazy_gettext("Code"),
        "name": lazy_gettext("Name"),
        "short_name": lazy_gettext("Short name"),
        "email": lazy_gettext("E-mail"),
        "phone": lazy_gettext("Telephone"),
        "address": lazy_gettext("Address"),
        "active": lazy_gettext("Active"),
    }
    form_args: ClassVar = {
        "code": {"validators": [DataRequired(), Length(max=40)]},
        "name": {"validators": [DataRequired(), Length(max=200)]},
        "short_name": {"validators": [Length(max=60)]},
        "email": {"validators": [Optional(), Email(), Length(max=254)]},
        "phone": {"validators": [Length(max=60)]},
        "address": {"validators": [Length(max=500)]},
        "active": {
            "description": lazy_gettext("People of an inactive agency cannot log in.")
        },
    }

    @expose("/<ident>/view-as", methods=("POST",))
    @needs(Permission.AGENCY_VIEW_AS)
    def view_as(self, ident: str) -> Response:
        """Look on as this agency, to help its people; nothing can be changed meanwhile."""
        agency = get_visible(db.session(), Agency, ident, principal_now())
        reason = request.form.get("reason", "").strip()[:500]
        if not reason:
            flash(gettext("Say why: it stands in the audit trail."), "danger")
            return back_to("agencies.details_view", id=agency.id)
        with as_log_in() as session:
            record(session, "view_as", session.get_one(Agency, agency.id), reason=reason)
            login_sessions.look_on(session, g.login_session_id, agency.id)
        return back_to("home.index")


class UserView(ScopedView):
    """People who log in."""

    read = Permission.USER_READ
    write = Permission.USER_WRITE
    import_key = ("email",)
    column_list = ("name", "email", "agency", "roles", "active", "last_login_at")
    narrow_columns = ("last_login_at",)
    column_default_sort = "name"
    column_sortable_list = ("name", "email", "active", "last_login_at")
    filters: ClassVar = (
        Filter(User.active, lazy_gettext("Active"), yes_or_no, quick=True),
        Filter(User.agency_id, lazy_gettext("Agency"), agency_options, quick=True),
        Filter(User.name, lazy_gettext("Name")),
        Filter(User.email, lazy_gettext("E-mail")),
        Filter(User.job_title, lazy_gettext("Job title")),
        Filter(User.last_login_at, lazy_gettext("Last log-in")),
        Filter(User.created_at, lazy_gettext("Since")),
    )
    more_columns = ("job_title", "created_at")
    column_details_list = (
        "name", "email", "job_title", "nip", "agency", "all_roles", "active", "created_at", "last_login_at",
        "second_factor",
    )  # fmt: skip
    details_template = "identity/user.html"
    form_columns = (
        "name", "email", "job_title", "nip", "agency", "roles", "active", "new_password",
    )  # fmt: skip
    form_groups: ClassVar = (
        (lazy_gettext("Person"), ("name", "email", "job_title", "nip")),
        (lazy_gettext("Work"), ("agency", "roles")),
        (lazy_gettext("Log-in"), ("active", "new_password")),
    )
    form_overrides: ClassVar = dict.fromkeys(
        ("name", "email", "job_title", "nip"), StringField
    )
    column_labels: ClassVar = {
        "name": lazy_gettext("Name"),
        "email": lazy_gettext("E-mail"),
        "job_title": lazy_gettext("Job title"),
        "nip": lazy_gettext("NIP"),
        "agency": lazy_gettext("Agency"),
        "roles": lazy_gettext("Roles"),
        "all_roles": lazy_gettext("Roles"),
        "active": lazy_gettext("Active"),
        "created_at": lazy_gettext("Since"),
        "last_login_at": lazy_gettext("Last log-in"),
        "second_factor": lazy_gettext("Second factor"),
    }
    column_formatters: ClassVar = {
        "active": _yes,
        "agency": lambda _v, _c, m, _n: (
            m.agency.name if m.agency else gettext("the office")
        ),
        "roles": lambda _v, _c, m, _n: _role_names(m),
        "all_roles": lambda _v, _c, m, _n: "; ".join(sorted(r.label for r in m.roles)),
        "last_login_at": lambda _v, _c, m, _n: moment(m.last_login_at, "d MMM y HH.mm"),
        "second_factor": lambda _v, _c, m, _n: _factor_words(m),
        "created_at": lambda _v, _c, m, _n: moment(m.created_at),
    }
    form_args: ClassVar = {
        "name": {"validators": [DataRequired(), Length(max=200)]},
        "email": {"validators": [DataRequired(), Email(), Length(max=254)]},
        "job_title": {"validators": [Length(max=200)]},
        "nip": {
            "validators": [
                Optional(),
                Regexp(r"[0-9]{18}\Z", message=lazy_gettext("A NIP has 18 digits.")),
            ],
            "description": lazy_gettext(
                "Stands below the name on papers that they sign."
            ),
        },
        "agency": {
            "description": lazy_gettext("Empty: the person works for the office itself."),
            "query_factory": lambda: db.session.query(Agency).order_by(Agency.name),
            "allow_blank": True,
            "blank_text": lazy_gettext("– the office itself –"),
        },
        "roles": {
            "description": lazy_gettext("A person may hold several roles."),
            "query_factory": _roles_to_give,
        },
    }
    form_extra_fields: ClassVar = {
        "new_password": PasswordField(
            lazy_gettext("New password"),
            validators=[Optional(), Length(max=1000)],
            description=lazy_gettext(
                "Empty: it stays as it is; a new person is invited instead. A new one ends"
                " every session of the person, who chooses an own one at the next log-in."
            ),
        )
    }

    def trimmed(self, form: Any) -> Any:
        """Leave an agency's administrator no choice of agency: it is their own."""
        if not principal_now().is_office:
            del form.agency
        return form

    def on_model_change(self, form: Any, model: User, is_created: bool) -> None:  # noqa: FBT001 - Flask-Admin's
        super().on_model_change(form, model, is_created)
        if is_created and not principal_now().is_office:
            model.agency = db.session.get_one(Agency, principal_now().agency_id)
        services.settle_user(
            db.session(),
            model,
            new_password=form.new_password.data or "",
            created=is_created,
        )

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.details_template:
            kwargs["factor_reset"] = factor_resets.open_reset_of(
                db.session(), kwargs["model"]
            )
            kwargs["own_id"] = principal_now().user_id
            kwargs["duties"] = duties.duties_of(db.session(), kwargs["model"])
            kwargs["hand_over_form"] = hand_over_form(kwargs["model"])
            kwargs["now"] = utc_now()
            kwargs["invitation"] = invitations.last_of(db.session(), kwargs["model"])
        return super().render(template, **kwargs)

    @expose("/<ident>/invite/<way>", methods=("POST",))
    @needs(Permission.USER_WRITE)
    def invite(self, ident: str, way: str) -> str | Response:
        """Invite a person, by mail or by a sheet of paper."""
        user = get_visible(db.session(), User, ident, principal_now())
        if way not in {"mail", "sheet"} or user.id == principal_now().user_id:
            raise NotFoundError
        invited = invitations.invite(db.session(), user)
        until = invited.invitation.expires_at
        link = public_link("welcome.invitation", code=invited.code)
        if way == "mail":
            send_mail("", user.email, "invitation", user=user, link=link, until=until)
        db.session.commit()
        if way == "mail":
            flash(
                gettext("The invitation is on its way to %(who)s.", who=user.email),
                "success",
            )
            return back_to("users.details_view", id=user.id)
        text: str = self.render(
            "identity/sheet.html",
            user=user,
            code=invited.code,
            until=until,
            picture=qr_image(link),
            address=public_link("welcome.index"),
        )
        return text

    @expose("/<ident>/hand-over", methods=("POST",))
    @needs(Permission.USER_WRITE)
    def hand_over(self, ident: str) -> Response:
        """Hand all duties of a person over to another, in one action."""
        holder = get_visible(db.session(), User, ident, principal_now())
        hand_over(holder, hand_over_form(holder))
        return back_to("users.details_view", id=holder.id)

    @expose("/duty/<ident>/end", methods=("POST",))
    @needs(Permission.USER_WRITE)
    def end_duty(self, ident: str) -> Response:
        """End a duty before its last day."""
        duty = get_visible(db.session(), Duty, ident, principal_now())
        holder_id = duty.for_user_id
        try:
            duties.end_early(duty)
            db.session.commit()
            flash(gettext("The duty is over."), "success")
        except RejectedError as error:
            flash_rejected(error)
        return back_to("users.details_view", id=holder_id)

    def get_save_return_url(self, model: User, is_created: bool = False) -> str:  # noqa: FBT001, FBT002 - Flask-Admin's
        """Go from a new person to the page on which they are invited."""
        if is_created and model.password is None:
            return str(self.get_url(".details_view", id=model.id))
        return str(super().get_save_return_url(model, is_created))

    @expose("/<ident>/factor-reset", methods=("POST",))
    @needs(Permission.USER_WRITE)
    def ask_factor_reset(self, ident: str) -> Response:
        """Ask that a person's lost second factor be taken away."""
        user = get_visible(db.session(), User, ident, principal_now())
        reason = request.form.get("reason", "").strip()[:500]
        if not reason:
            flash(gettext("Say why: it stands in the audit trail."), "danger")
            return back_to("users.details_view", id=user.id)
        try:
            factor_resets.ask(db.session(), user, reason)
            db.session.commit()
        except RejectedError as error:
            flash_rejected(error)
        else:
            flash(gettext("Asked. A second person has to confirm it."), "success")
        return back_to("users.details_view", id=ident)

    @expose("/factor-reset/<ident>/<answer>", methods=("POST",))
    @needs(Permission.USER_WRITE)
    def answer_factor_reset(self, ident: str, answer: str) -> Response:
        """Confirm such a wish, or withdraw it."""
        wish = get_visible(db.session(), FactorReset, ident, principal_now())
        if answer not in {"confirm", "withdraw"}:
            raise NotFoundError
        try:
            self._settle(wish, granted=answer == "confirm")
        except RejectedError as error:
            flash_rejected(error)
        return back_to("users.details_view", id=wish.user_id)

    def _settle(self, wish: FactorReset, *, granted: bool) -> None:
        if not granted:
            factor_resets.withdraw(wish)
            db.session.commit()
            flash(gettext("Withdrawn; the second factor stays."), "success")
            return
        with as_log_in() as session:
            factor_resets.confirm(session, session.get_one(FactorReset, wish.id))
            happened.send(
                session=session,
                user_id=wish.user_id,
                message=message_id(
                    "Your lost second factor was taken away by two administrators."
                ),
            )
        flash(
            gettext(
                "The second factor is gone, and every session of the person is over."
            ),
            "success",
        )


class RoleView(ScopedView):
    """Roles: how they are called, what they allow, what a log-in with them must show."""

    read = Permission.USER_READ
    write = Permission.USER_WRITE
    form_columns = ("label", "description", "permissions", "second_factor")
    can_create = False
    can_edit = property(lambda self: self._may_write() and principal_now().is_office)
    lead = lazy_gettext("What each role may do. A person may hold several.")
    column_list = ("label", "description", "for_agency", "second_factor", "permissions")
    column_default_sort = "label"
    wide_details = ("permissions",)
    narrow_columns = ("permissions",)
    column_sortable_list = ("label",)
    column_details_list = (
        "label", "name", "description", "for_agency", "second_factor", "permissions",
    )  # fmt: skip
    column_labels: ClassVar = {
        "label": lazy_gettext("Role"),
        "name": lazy_gettext("Name in the system"),
        "description": lazy_gettext("Description"),
        "for_agency": lazy_gettext("For people of agencies"),
        "second_factor": lazy_gettext("Second factor required"),
        "permissions": lazy_gettext("May"),
    }
    form_overrides: ClassVar = {"label": StringField, "permissions": SelectMultipleField}
    form_args: ClassVar = {
        "label": {"validators": [DataRequired(), Length(max=200)]},
        "description": {"validators": [Length(max=2000)]},
        "permissions": {
            "choices": lambda: [
                (str(each), permission_name(each)) for each in Permission
            ],
            "description": lazy_gettext(
                "Holds from the next page that a person with this role opens."
            ),
        },
        "second_factor": {
            "description": lazy_gettext(
                "Who holds the role sets one up at the next page that they open."
            )
        },
    }

    column_formatters: ClassVar = {
        "for_agency": _yes,
        "second_factor": _yes,
        "permissions": lambda _v, _c, m, _n: gettext(
            "%(n)s permissions", n=len(m.permissions)
        ),
    }
    column_formatters_detail: ClassVar = {
        **column_formatters,
        "permissions": lambda _v, _c, m, _n: ", ".join(
            permission_name(each) for each in sorted(m.permissions)
        ),
    }

    def save(self, model: Role, *, created: bool) -> None:
        del created
        services.settle_role(db.session(), model)
