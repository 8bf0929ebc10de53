"""Log-in: Flask-Security on Flask-Login, and the principal that a session stands for."""

import time
from datetime import timedelta
from functools import partial, wraps
from http import HTTPStatus
from typing import Any

import email_validator
from flask import Flask, Response, current_app, g, request, session as cookie
from flask_babel import gettext
from flask_limiter.util import get_remote_address
from flask_login import current_user, logout_user, user_logged_out
from flask_security import (
    MailUtil,
    PasswordUtil,
    Security,
    SQLAlchemyUserDatastore,
    reset_password_instructions_sent,
    user_authenticated,
    wan_deleted,
    wan_registered,
)
from flask_security.tf_plugin import tf_clean_session
from flask_security.utils import hash_data, set_request_attr

from app.audit.recorder import record
from app.core import crypto
from app.core.clock import utc_now
from app.core.policy import ANONYMOUS, Permission, Principal, acting_as, acting_principal
from app.identity import login_sessions, passwords, second_factor
from app.identity.errors import WeakPasswordError
from app.identity.login_sessions import Limits
from app.identity.models import Agency, Passkey, Role, User
from app.identity.principals import onlooker_of, principal_of
from app.identity.rules import normal
from app.identity.second_factor import Codes, Passkeys, RecoveryCodes
from app.identity.services import normal_email
from app.web.extensions import db, limiter
from app.web.i18n import say
from config import Mode, Settings

LOGIN_LIMIT = "10 per minute; 60 per hour"
TOKEN = "sid"  # noqa: S105 - where the cookie keeps the token of its log-in
# Flask-Security's name for who has shown a password, and how long that is good for.
HALF_IN, HALF_IN_SINCE, HALF_IN_SECONDS = "tf_user_id", "tf_since", 600
LETTER_LIMIT = "3 per hour"
CODE_LIMIT = "5 per minute; 20 per hour"
datastore = SQLAlchemyUserDatastore(db, User, Role, webauthn_model=Passkey)


class Passwords(PasswordUtil):
    """Flask-Security's forms by the rules of this installation."""

    def validate(
        self,
        password: str,
        is_register: bool,  # noqa: FBT001 - Flask-Security's
        **kwargs: Any,
    ) -> tuple[list[str] | None, str]:
        """Return what is wrong with a new password, and its normal form."""
        del is_register
        try:
            passwords.check(kwargs["user"], password)
        except WeakPasswordError as error:
            return [say(error.message, error.params)], normal(password)
        return None, normal(password)


# What somebody who looks on as an agency does as themselves.
_AS_ONESELF = frozenset({"account.stop_viewing", "security.logout"})


def load_principal() -> Principal:
    """Return the principal of the request's session; anonymous without a log-in."""
    if not current_user.is_authenticated:
        return ANONYMOUS
    user: Any = current_user._get_current_object()  # noqa: SLF001 - Flask-Login's proxy
    if not user.is_active:
        logout_user()  # or the log-in page would take them for logged in, and send them back
        return ANONYMOUS
    person = principal_of(user)
    if g.viewing_agency_id is None or request.endpoint in _AS_ONESELF:
        return person
    if not person.may(Permission.AGENCY_VIEW_AS):  # it was taken away meanwhile
        return person
    onlooker = onlooker_of(db.session(), user, g.viewing_agency_id)
    # An agency's role does not see people of the office: nothing of them is read again.
    db.session.expunge(user)
    return onlooker


def detour() -> str | None:
    """Return the page that a person must go through before anything else, if there is one."""
    if acting_principal().read_only:
        return None
    if passwords.is_due(current_user):
        return "security.change_password"
    if current_user.needs_second_factor and not current_user.has_second_factor:
        return "security.two_factor_setup"
    return None


def limits(settings: Settings) -> Limits:
    """Return how long a log-in lives here."""
    return Limits(
        timedelta(minutes=settings.session_idle_minutes),
        timedelta(hours=settings.session_hours),
    )


def init_app(
    app: Flask, settings: Settings, translations: str, mails: type[MailUtil]
) -> None:
    """Set Flask-Security up: argon2, no registration, generic answers, limited attempts."""
    # The demo's people have addresses under .test, which never lead anywhere.
    email_validator.TEST_ENVIRONMENT = settings.mode is not Mode.PRODUCTION
    passwords.bind(settings)
    app.config.update(
        SECURITY_PASSWORD_HASH="argon2",  # noqa: S106 - the name of a method
        # argon2 salts each hash itself; tied to our secret, passwords would die with it.
        SECURITY_PASSWORD_SINGLE_HASH=["argon2"],
        SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS=passwords.hash_options(),
        SECURITY_PASSWORD_SALT=settings.secret_key,
        SECURITY_REGISTERABLE=False,
        SECURITY_RECOVERABLE=True,
        SECURITY_RESET_URL="/reset-password",
        # Not /verify: what stands there on every paper is open to all.
        SECURITY_VERIFY_URL="/fresh",
        SECURITY_RESET_PASSWORD_WITHIN=timedelta(hours=1),
        SECURITY_CHANGEABLE=True,
        SECURITY_CHANGE_URL="/change-password",
        # Of what happened to their account people are told by notices; what is left to mail
        # are links, in the person's language.
        SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
        SECURITY_SEND_PASSWORD_RESET_NOTICE_EMAIL=False,
        SECURITY_EMAIL_PLAINTEXT=False,
        SECURITY_EMAIL_HTML=False,
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
        SECURITY_POST_LOGIN_VIEW="/",
        SECURITY_POST_LOGOUT_VIEW="/login",
        SECURITY_LOGIN_USER_TEMPLATE="security/login_user.html",
        SECURITY_CHANGE_PASSWORD_TEMPLATE="security/change_password.html",  # noqa: S106
        SECURITY_I18N_DIRNAME=["builtin", translations],
        SECURITY_STATIC_FOLDER=None,
        SECURITY_REDIRECT_VALIDATE_MODE=["absolute", "regex"],
        SECURITY_DATETIME_FACTORY=utc_now,
        **_second_factors(),
    )
    Security(
        app,
        datastore,
        mail_util_cls=mails,
        password_util_cls=Passwords,
        totp_cls=Codes,
        mf_recovery_codes_util_cls=RecoveryCodes,
        webauthn_util_cls=Passkeys,
    )
    second_factor.init_app(app)
    app.context_processor(_words)
    _keep_sessions(app, limits(settings))
    _limit_attempts(app)
    app.before_request(_forget_half_log_in)
    app.after_request(_time_half_log_in)
    for signal, action in (
        (wan_registered, "add_passkey"),
        (wan_deleted, "drop_passkey"),
    ):
        signal.connect(partial(_record_passkey, action), app, weak=False)


def _second_factors() -> dict[str, Any]:
    """Return Flask-Security's settings of codes, recovery codes and passkeys."""
    return {
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "SECURITY_TWO_FACTOR_ALWAYS_VALIDATE": True,
        "SECURITY_TWO_FACTOR_AUTHENTICATOR_VALIDITY": 30,
        "SECURITY_TWO_FACTOR_RESCUE_EMAIL": False,
        "SECURITY_TWO_FACTOR_ERROR_VIEW": "/login",
        "SECURITY_TWO_FACTOR_POST_SETUP_VIEW": "/mf-recovery-codes",
        "SECURITY_TOTP_SECRETS": {"1": crypto.key_for("authenticator secrets")},
        "SECURITY_TOTP_ISSUER": "Simpul",
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_N": 8,
        # What opens doors is changed only by who has just shown a password or a key.
        "SECURITY_FRESHNESS": timedelta(minutes=15),
        "SECURITY_FRESHNESS_GRACE_PERIOD": timedelta(minutes=5),
        "SECURITY_WEBAUTHN": True,
        "SECURITY_WAN_RP_NAME": "Simpul",
        "SECURITY_WAN_ALLOW_USER_HINTS": False,
        "SECURITY_WAN_POST_REGISTER_VIEW": "/wan-register",
    }


def _time_half_log_in(response: Response) -> Response:
    """Note since when somebody has shown a password and no second factor yet."""
    if request.blueprint != "security":
        return (
            response  # elsewhere nothing of it changes; a file of ours asks for no cookie
        )
    if HALF_IN in cookie:
        cookie.setdefault(HALF_IN_SINCE, time.time())
    elif HALF_IN_SINCE in cookie:
        del cookie[HALF_IN_SINCE]
    return response


def _forget_half_log_in() -> None:
    """Let a password be shown anew when its second factor does not follow soon."""
    since = cookie.get(HALF_IN_SINCE) if request.blueprint == "security" else None
    if since is not None and time.time() - since > HALF_IN_SECONDS:
        tf_clean_session()  # type: ignore[no-untyped-call]
        cookie.pop(HALF_IN_SINCE, None)


def _limit_attempts(app: Flask) -> None:
    """Slow down who guesses passwords or codes. Only what failed counts.

    A whole office may sit behind one address; a code is guessed for one person, from
    however many addresses.
    """
    for endpoint, rate, key in (
        ("login", LOGIN_LIMIT, get_remote_address),
        ("verify", CODE_LIMIT, _guessed_at),
        ("two_factor_token_validation", CODE_LIMIT, _guessed_at),
        ("mf_recovery", CODE_LIMIT, _guessed_at),
        ("reset_password", LOGIN_LIMIT, get_remote_address),
    ):
        view: Any = app.view_functions[f"security.{endpoint}"]
        app.view_functions[f"security.{endpoint}"] = limiter.limit(
            rate,
            key_func=key,
            methods=["POST"],
            deduct_when=lambda response: response.status_code != HTTPStatus.FOUND,
        )(view)

    _limit_letters(app)


def _limit_letters(app: Flask) -> None:
    """Let nobody fill a mailbox with links, nor ask for those of a whole town."""
    view: Any = _as_slow_for_strangers(
        app.view_functions["security.forgot_password"], app
    )
    for rate, key in ((LETTER_LIMIT, _asked_for), (LOGIN_LIMIT, get_remote_address)):
        view = limiter.limit(rate, key_func=key, methods=["POST"])(view)
    app.view_functions["security.forgot_password"] = view


def _as_slow_for_strangers(view: Any, app: Flask) -> Any:
    """Have a link take as long for an address that nobody has: its token hashes slowly."""

    def note(_app: Flask, user: User, **_: Any) -> None:
        g.token_was_hashed = bool(user.password)

    reset_password_instructions_sent.connect(note, app, weak=False)

    @wraps(view)
    def asked(*args: Any, **kwargs: Any) -> Any:
        answer = view(*args, **kwargs)
        if request.method == "POST" and not g.get("token_was_hashed"):
            hash_data("nobody's password")
        return answer

    return asked


def _asked_for() -> str:
    """Return whose mailbox a link is asked for."""
    return "mailbox " + normal_email(request.form.get("email", ""))[:254]


def _guessed_at() -> str:
    """Return whose code is being tried."""
    return cookie.get("tf_user_id") or cookie.get("_user_id") or get_remote_address()


def _record_passkey(action: str, _app: Flask, *, user: Any, name: str, **_: Any) -> None:
    person: User = user if isinstance(user, User) else user._get_current_object()  # noqa: SLF001 - Flask-Login's proxy
    record(db.session(), action, person, after={"name": name})


def _words() -> dict[str, Any]:
    """Return what the log-in's pages say about passwords."""
    return {
        "password_hint": _hint,
        "looked_on_agency": _looked_on_agency,
        "mail_reaches_people": _mail_reaches_people,
        "password_is_due": lambda: passwords.is_due(current_user),
    }


def _looked_on_agency() -> str:
    """Return the name of the agency as which somebody looks on."""
    return db.session.get_one(Agency, acting_principal().agency_id).name


def _mail_reaches_people() -> bool:
    """Tell whether mails leave; in a demo they are read in the outbox."""
    settings: Settings = current_app.extensions["simpul_settings"]
    return bool(settings.smtp_url) or settings.mode is not Mode.PRODUCTION


def _hint() -> str:
    """Say in a sentence what a new password must be like."""
    rules = passwords.policy()
    text = gettext(
        "At least %(length)s characters; long and easy to remember beats short and strange.",
        length=rules.min_length,
    )
    if rules.classes:
        mixture = gettext("Three of these: small letters, capitals, digits, signs.")
        text = f"{text} {mixture}"
    return str(text)


def _keep_sessions(app: Flask, limits: Limits) -> None:
    """Have every request ask for its log-in's row; tokens beside the cookie are not taken."""
    manager: Any = app.login_manager  # type: ignore[attr-defined]
    manager.user_loader(lambda _key: _find_user(limits))
    manager.request_loader(lambda _request: None)
    user_authenticated.connect(_begin_session, app)
    user_logged_out.connect(_end_session, app)


def _find_user(limits: Limits) -> User | None:
    """Return the person of the request's cookie, if its log-in lives."""
    found = login_sessions.find(db.session(), cookie.get(TOKEN, ""), limits)
    if found is None or not found.user.active:
        return None
    g.login_session_id = found.session_id
    g.viewing_agency_id = found.as_agency_id
    if found.is_stale:
        login_sessions.note_seen(db.session(), found.session_id)
        db.session.commit()
    # What Flask-Security asks a request for: how, and when last, its person was recognised.
    set_request_attr("fs_authn_via", "session")
    set_request_attr("fs_paa", cookie.get("fs_paa", 0))
    return found.user


def _begin_session(_app: Flask, user: User, **_: Any) -> None:
    """Open a log-in with a token of its own: one that somebody planted is worth nothing.

    The time of it is noted by Core: a log-in is no change of the person.
    """
    former = cookie.get(TOKEN, "")
    if former:
        login_sessions.end_by_token(db.session(), former)
    cookie[TOKEN] = login_sessions.open_session(
        db.session(),
        user,
        address=request.remote_addr or "",
        agent=request.headers.get("User-Agent", ""),
    )
    cookie.pop("csrf_token", None)
    g.pop("csrf_token", None)
    db.session.execute(
        db.update(User)
        .where(User.id == user.id)
        .values(last_login_at=utc_now())
        .execution_options(audited=True, synchronize_session=False)
    )
    _record_login(user)
    db.session.commit()


def _record_login(user: User) -> None:
    """Write the log-in into the trail, as the person's own deed."""
    with acting_as(principal_of(user)):
        record(db.session(), "log_in", user, after={"address": request.remote_addr or ""})


def _end_session(_app: Flask, **_: Any) -> None:
    """End the log-in of the cookie, so that a copy of it is dead as well."""
    token = cookie.pop(TOKEN, "")
    if token:
        login_sessions.end_by_token(db.session(), token)
        db.session.commit()
