"""Mails about a person's own account: what Flask-Security wants to send goes to the outbox."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, current_app
from flask_babel import force_locale, gettext
from flask_security import MailUtil, reset_password_instructions_sent

from app.identity.passwords import hash_of
from app.notifications import outbox
from app.notifications.letters import Letter
from app.web.extensions import db
from app.web.format import moment
from app.web.links import public_link

Given = Mapping[str, Any]


class OutboxMail(MailUtil):
    """Writes Flask-Security's mails into the outbox, in the transaction of what they tell of."""

    def send_mail(
        self,
        template: str,
        subject: str,
        recipient: str | tuple[str, str],
        sender: str | tuple[str, str],
        body: str | None,
        html: str | None,
        **kwargs: Any,
    ) -> None:
        """Write one mail, in words of ours and in the person's language."""
        del subject, recipient, sender, body, html
        name = template.rpartition("/")[2]
        user = kwargs["user"]
        with force_locale(user.language):
            outbox.put(
                db.session(),
                _LETTERS[name](kwargs),
                recipient=user.email,
                user_id=user.id,
                confidential=name in _OPENING,
            )


def init_app(app: Flask) -> None:
    """Commit what nobody else does: a request to reset a password changes nothing itself."""

    def commit(_app: Flask, **_: Any) -> None:
        db.session.commit()
        # As long as for an address that nobody has.
        hash_of("not-a-password")

    reset_password_instructions_sent.connect(commit, app, weak=False)


def _letter(
    user: Any, subject: str, *paragraphs: str, action: tuple[str, str] | None = None
) -> Letter:
    return Letter(
        subject=subject,
        paragraphs=(gettext("Dear %(name)s,", name=user.name), *paragraphs),
        office=current_app.extensions["simpul_settings"].office_name,
        language=user.language,
        action=action,
    )


def _reset(given: Given) -> Letter:
    return _letter(
        given["user"],
        gettext("Choosing a new password"),
        gettext(
            "Somebody, probably you, asked for a new password for your account. This link"
            " opens the page for it, once and within an hour."
        ),
        gettext("If it was not you, do nothing: your password stays as it is."),
        action=(
            gettext("Choose a new password"),
            public_link("security.reset_password", token=given["reset_token"]),
        ),
    )


def _changed(given: Given) -> Letter:
    return _letter(
        given["user"],
        gettext("Your password was changed"),
        gettext(
            "The password of your account was changed just now. All log-ins are over."
        ),
        gettext("If it was not you, tell the administrators of the office at once."),
    )


def _invitation(given: Given) -> Letter:
    return _letter(
        given["user"],
        gettext("Your account"),
        gettext(
            "An account was made for you. This link opens the page on which you choose your"
            " password. It works once, until %(when)s.",
            when=moment(given["until"], "d MMM y HH.mm"),
        ),
        action=(gettext("Choose a password"), given["link"]),
    )


_LETTERS: Mapping[str, Callable[[Given], Letter]] = {
    "reset_instructions": _reset,
    "reset_notice": _changed,
    "change_notice": _changed,
    "invitation": _invitation,
}
# Letters with a link that opens something.
_OPENING = frozenset({"reset_instructions", "invitation"})
