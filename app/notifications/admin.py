"""Pages of what people are told: the outbox of mails."""

from typing import Any, ClassVar

from flask import Response, current_app, flash
from flask_admin import expose
from flask_babel import gettext

from app.core.policy import Permission
from app.core.scope import get_visible
from app.notifications import outbox
from app.notifications.models import Mail
from app.notifications.smtp import Server
from app.notifications.states import MailState
from app.web.context import state_name
from app.web.extensions import db
from app.web.format import moment
from app.web.guard import needs, principal_now
from app.web.i18n import lazy_gettext
from app.web.views import ReadOnlyView, back_to
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
    column_searchable_list = ("recipient", "subject")
    column_sortable_list = ("created_at",)
    named_filters: ClassVar = {"state": tuple(MailState)}
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
