"""Mails about a person's own account: what Flask-Security wants to send goes to the outbox."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from flask import Flask, current_app
from flask_babel import force_locale, gettext
from flask_security import (
    MailUtil,
    password_changed,
    password_reset,
    reset_password_instructions_sent,
    tf_disabled,
    tf_profile_changed,
    wan_deleted,
    wan_registered,
)
from sqlalchemy.orm import Session

from app.core.words import message_id
from app.identity.events import happened
from app.identity.passwords import hash_of
from app.notifications import notices, outbox
from app.notifications.letters import Letter
from app.notifications.states import NoticeKind
from app.office.queries import office_name
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
    """Hear of what happens to accounts."""
    reset_password_instructions_sent.connect(_commit, app)
    for signal, message in _HAPPENINGS:
        signal.connect(partial(_tell_owner, message), app, weak=False)
    happened.connect(_tell_of)


def _commit(_app: Flask, **_: Any) -> None:
    """Commit a link: a request to reset a password changes nothing that would be committed."""
    db.session.commit()
    hash_of("not-a-password")  # as long as for an address that nobody has


def _tell_owner(message: str, _app: Flask, *, user: Any, **_: Any) -> None:
    _tell_of(None, session=db.session(), user_id=user.id, message=message)


def _tell_of(
    _sender: object,
    *,
    session: Session,
    user_id: UUID,
    message: str,
    params: Given = MappingProxyType({}),
) -> None:
    """Tell a person what happened to their account, in the transaction of it."""
    notices.tell(
        session, NoticeKind.ACCOUNT, message, params, path="/account/", user_id=user_id
    )


def _letter(
    user: Any, subject: str, *paragraphs: str, action: tuple[str, str] | None = None
) -> Letter:
    return Letter(
        subject=subject,
        paragraphs=(gettext("Dear %(name)s,", name=user.name), *paragraphs),
        office=office_name(
            db.session(), current_app.extensions["simpul_settings"].office_name
        ),
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
    "invitation": _invitation,
}
_HAPPENINGS = (
    (password_changed, message_id("Your password was changed. If it was not you, tell the administrators at once.")),
    (password_reset, message_id("Your password was replaced by a link that was mailed to you. If it was not you, tell the administrators at once.")),
    (tf_profile_changed, message_id("An authenticator app was set up for your account.")),
    (tf_disabled, message_id("Your account does without a second factor from now on.")),
    (wan_registered, message_id("A passkey was added to your account.")),
    (wan_deleted, message_id("A passkey of your account was taken away.")),
)  # fmt: skip
# Letters with a link that opens something.
_OPENING = frozenset({"reset_instructions", "invitation"})
