"""Pages of what people are told: notices under the bell, and the outbox of mails."""

from typing import Any, ClassVar
from uuid import UUID

from flask import Flask, Response, current_app, flash, redirect, request
from flask_admin import expose
from flask_babel import gettext

from app.core.filters import Filter
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.notifications import notices, outbox
from app.notifications.kinds import KINDS
from app.notifications.models import Mail, Notification
from app.notifications.smtp import Server
from app.notifications.states import MailState, Wish
from app.web.context import state_name
from app.web.extensions import db
from app.web.format import moment
from app.web.guard import needs, principal_now, signed_in
from app.web.i18n import lazy_gettext, say
from app.web.listing import named
from app.web.views import Page, ReadOnlyView, back_to
from config import Mode, Settings


def _settings() -> Settings:
    settings: Settings = current_app.extensions["simpul_settings"]
    return settings


class OutboxView(ReadOnlyView):
    """Mails that wait, went out, or could not be delivered."""

    read = Permission.MAIL_READ
    details_template = "notifications/mail.html"
    column_list = (
        "created_at",
        "recipient",
        "subject",
        "state",
        "attempts",
        "last_error",
    )
    column_default_sort = ("created_at", True)
    narrow_columns = ("created_at", "state")
    column_sortable_list = ("created_at",)
    filters: ClassVar = (
        Filter(Mail.state, lazy_gettext("Status"), named(*MailState), quick=True),
        Filter(Mail.recipient, lazy_gettext("To")),
        Filter(Mail.subject, lazy_gettext("Subject")),
        Filter(Mail.created_at, lazy_gettext("Written")),
    )
    column_details_list = (
        "recipient", "subject", "state", "created_at", "sent_at", "attempts", "not_before",
        "last_error",
    )  # fmt: skip
    column_labels: ClassVar = {
        "created_at": lazy_gettext("Written"),
        "recipient": lazy_gettext("To"),
        "subject": lazy_gettext("Subject"),
        "state": lazy_gettext("Status"),
        "attempts": lazy_gettext("Tries"),
        "last_error": lazy_gettext("What was wrong"),
        "not_before": lazy_gettext("Next try"),
        "sent_at": lazy_gettext("Sent"),
    }
    column_formatters: ClassVar = {
        "created_at": lambda _v, _c, m, _n: moment(m.created_at),
        "sent_at": lambda _v, _c, m, _n: moment(m.sent_at),
        "not_before": lambda _v, _c, m, _n: (
            moment(m.not_before) if m.state is MailState.WAITING else "–"
        ),
        "state": lambda _v, _c, m, _n: state_name(m.state),
    }

    @property
    def lead(self) -> str:
        """Say whether mails leave the house, and by which server."""
        settings = _settings()
        if not settings.smtp_url:
            return str(
                gettext(
                    "No mail server is set (SMTP_URL): nothing leaves, all mails wait here."
                )
            )
        server = Server.of(settings.smtp_url, settings.mail_from)
        return str(
            gettext(
                "Mails leave by %(host)s, as %(sender)s.",
                host=server.host,
                sender=server.sender,
            )
        )

    def render(self, template: str, **kwargs: Any) -> str:
        if template == self.details_template:
            settings = _settings()
            # Without a mail server, a demo shows on this page what would have come by mail.
            shows_all = settings.mode is not Mode.PRODUCTION and not settings.smtp_url
            kwargs["may_read_words"] = shows_all or not kwargs["model"].confidential
            kwargs["mails_leave"] = bool(settings.smtp_url)
        return super().render(template, **kwargs)

    @expose("/<ident>/again", methods=("POST",))
    @needs(Permission.MAIL_WRITE)
    def again(self, ident: str) -> Response:
        """Have an undeliverable mail tried anew."""
        mail = get_visible(db.session(), Mail, ident, principal_now())
        if mail.state is MailState.FAILED:
            outbox.send_again(mail)
            db.session.commit()
            flash(gettext("It will be tried again at once."), "success")
        return back_to("outbox.details_view", id=mail.id)


class NotificationsPage(Page):
    """What one is told, and when one wants to be."""

    def is_accessible(self) -> bool:
        return False  # it stands behind the bell

    @expose("/")
    @signed_in
    def index(self) -> str:
        page = notices.newest(db.session(), _own_id(), _before())
        text: str = self.render(
            "notifications/list.html",
            notices=page[: notices.PAGE],
            older=page[notices.PAGE - 1].id if len(page) > notices.PAGE else None,
            words_of=_words_of,
        )
        return text

    @expose("/read", methods=("POST",))
    @signed_in
    def read_all(self) -> Response:
        """Mark all as read."""
        notices.mark_read(db.session(), _own_id())
        db.session.commit()
        return back_to("notifications.index")

    @expose("/<number>/open", methods=("POST",))
    @signed_in
    def open(self, number: str) -> Response:
        """Mark one as read, and go where it leads."""
        notice = get_visible(db.session(), Notification, number, principal_now())
        path = notice.path
        notices.mark_read(db.session(), _own_id(), notice.id)
        db.session.commit()
        answer = redirect(path)
        if not isinstance(answer, Response):
            raise TypeError("a redirect is a Flask response")
        return answer

    @expose("/wishes", methods=("GET", "POST"))
    @signed_in
    def wishes(self) -> str | Response:
        """Say when one wants to be told of what."""
        if request.method == "POST":
            wanted = {
                kind: (_wish(f"{name}-in_app"), _wish(f"{name}-mail"))
                for name, kind in KINDS.items()
                if kind.may_silence
                and {f"{name}-in_app", f"{name}-mail"} & set(request.form)
            }
            known = {
                kind: (in_app, mail)
                for kind, (in_app, mail) in wanted.items()
                if in_app in notices.IN_APP_WISHES and mail is not None
            }
            if len(known) == len(wanted):
                for kind, (in_app, mail) in known.items():
                    notices.wish(db.session(), _own_id(), kind, in_app, mail)
                db.session.commit()
                flash(gettext("Remembered."), "success")
            else:
                flash(
                    gettext("Nothing was changed: choose one of the answers for each."),
                    "danger",
                )
            return back_to("notifications.wishes")
        text: str = self.render(
            "notifications/wishes.html",
            kinds=KINDS,
            wishes=notices.wishes_of(db.session(), _own_id()),
            in_app_choices=notices.IN_APP_WISHES,
            mail_choices=tuple(Wish),
        )
        return text


def _own_id() -> UUID:
    own = principal_now().user_id
    if own is None:
        raise NotFoundError
    return own


def _before() -> int | None:
    """Return the number that an older page begins below; none for what is no number."""
    text = request.args.get("before", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _wish(name: str) -> Wish | None:
    text = request.form.get(name, "")
    return Wish(text) if text in set(Wish) else None


def _words_of(notice: Notification) -> str:
    params = dict(notice.params)
    return say(params.pop("message", ""), params)


def init_app(app: Flask) -> None:
    """Let every page count what stands under the bell."""

    def unread_notices() -> int:
        own = principal_now().user_id  # on an error page nobody may be known yet
        return notices.unread_count(db.session(), own) if own is not None else 0

    app.context_processor(lambda: {"unread_notices": unread_notices})
