"""Log-in: Flask-Security on Flask-Login, and the principal that a session stands for."""

from http import HTTPStatus
from typing import Any

import email_validator
from flask import Flask
from flask_login import current_user, logout_user
from flask_security import Security, SQLAlchemyUserDatastore, user_authenticated

from app.core.clock import utc_now
from app.core.policy import ANONYMOUS, Principal
from app.identity.models import Role, User
from app.identity.principals import principal_of
from app.web.extensions import db, limiter

LOGIN_LIMIT = "10 per minute; 60 per hour"
datastore = SQLAlchemyUserDatastore(db, User, Role)


def load_principal() -> Principal:
    """Return the principal of the request's session; anonymous without a log-in."""
    if not current_user.is_authenticated:
        return ANONYMOUS
    user: Any = current_user._get_current_object()  # noqa: SLF001 - Flask-Login's proxy
    if not user.is_active:
        logout_user()  # or the log-in page would take them for logged in, and send them back
        return ANONYMOUS
    return principal_of(user)


def init_app(app: Flask, *, secret: str, translations: str, demo: bool) -> None:
    """Set Flask-Security up: argon2, no registration, generic answers, limited attempts."""
    # The demo's people have addresses under .test, which never lead anywhere.
    email_validator.TEST_ENVIRONMENT = demo
    app.config.update(
        SECURITY_PASSWORD_HASH="argon2",  # noqa: S106 - the name of a method
        # argon2 salts each hash itself; tied to our secret, passwords would die with it.
        SECURITY_PASSWORD_SINGLE_HASH=["argon2"],
        SECURITY_PASSWORD_SALT=secret,
        SECURITY_REGISTERABLE=False,
        SECURITY_RECOVERABLE=False,
        SECURITY_CHANGEABLE=True,
        SECURITY_CHANGE_URL="/change-password",
        SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
        SECURITY_PASSWORD_LENGTH_MIN=12,
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
        SECURITY_POST_LOGIN_VIEW="/",
        SECURITY_POST_LOGOUT_VIEW="/login",
        SECURITY_LOGIN_USER_TEMPLATE="security/login_user.html",
        SECURITY_CHANGE_PASSWORD_TEMPLATE="security/change_password.html",  # noqa: S106
        SECURITY_I18N_DIRNAME=["builtin", translations],
        SECURITY_STATIC_FOLDER=None,
        SECURITY_REDIRECT_VALIDATE_MODE=["absolute", "regex"],
    )
    Security(app, datastore)
    user_authenticated.connect(_note_login, app)
    login: Any = app.view_functions["security.login"]
    # Only what failed counts: a whole office may sit behind one address.
    limited: Any = limiter.limit(
        LOGIN_LIMIT,
        methods=["POST"],
        deduct_when=lambda response: response.status_code != HTTPStatus.FOUND,
    )(login)
    app.view_functions["security.login"] = limited


def _note_login(_app: Flask, user: User, **_: Any) -> None:
    """Remember the last log-in; noted by Core so that a log-in is no change of the person."""
    db.session.execute(
        db.update(User)
        .where(User.id == user.id)
        .values(last_login_at=utc_now())
        .execution_options(audited=True, synchronize_session=False)
    )
    db.session.commit()
