"""Second factors as Flask-Security keeps them, with what it leaves to us."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from flask import (
    Flask,
    Response,
    current_app,
    flash,
    redirect,
    request,
    session as cookie,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from flask_security import MfRecoveryCodesUtil, Totp, WebauthnUtil, current_user
from passlib.exc import UsedTokenError
from sqlalchemy.orm.attributes import set_committed_value
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from app.core import crypto
from app.core.policy import acting_as, acting_principal
from app.identity.models import User
from app.identity.principals import principal_of
from app.web.extensions import db

_SETTING_UP = frozenset(
    {"security.two_factor_setup", "security.two_factor_setup_validate"}
)


class Codes(Totp):
    """Codes of an authenticator app, each good for one use."""

    def get_last_counter(self, user: Any) -> int | None:
        """Return the time step of the last code that was taken."""
        counter: int | None = user.tf_last_counter
        return counter

    def set_last_counter(self, user: Any, tmatch: Any) -> None:
        """Note the code that is taken now; no change of the person, so no audit row.

        Raises ``UsedTokenError``, which is a wrong code, when another request was faster.
        """
        last = User.tf_last_counter
        taken = db.session.execute(
            sa.update(User)
            .where(User.id == user.id, sa.or_(last.is_(None), last < tmatch.counter))
            .values(tf_last_counter=tmatch.counter)
            .execution_options(audited=True, synchronize_session=False)
        )
        if getattr(taken, "rowcount", 0) != 1:
            raise UsedTokenError
        set_committed_value(user, "tf_last_counter", tmatch.counter)


def init_app(app: Flask) -> None:
    """Let who mistypes the first code of a new app type it again."""
    app.extensions["security"].tf_setup_context_processor(_setting_up)
    app.before_request(_nothing_new_in_between)
    app.after_request(_once_more)


def _nothing_new_in_between() -> ResponseReturnValue | None:
    """Refuse a new second factor in the middle of a log-in to who has one, a passkey too.

    Else whoever knows the password alone would bring an authenticator of their own.
    """
    if request.endpoint not in _SETTING_UP or current_user.is_authenticated:
        return None
    half_in = cookie.get("tf_user_id")
    user = db.session.scalar(sa.select(User).where(User.fs_uniquifier == half_in))
    if half_in is None or user is None or not user.has_second_factor:
        return None
    for name in [each for each in cookie if each.startswith("tf_")]:
        cookie.pop(name)
    flash(
        gettext(
            "This account has a passkey: log in with it. A new second factor is added from the"
            " account's page."
        ),
        "warning",
    )
    return redirect(url_for("security.wan_signin"))


def _once_more(response: Response) -> Response:
    """Send who mistyped it back to the same picture, which their app has by now."""
    if (
        request.endpoint == "security.two_factor_setup_validate"
        and response.location
        and response.location.endswith("/tf-setup")
    ):
        response.location += "?again=1"
    return response


def _setting_up() -> dict[str, Any]:
    """Return the picture and the key that were shown before, if they are to be shown again."""
    secret = cookie.get("tf_totp_secret")
    if not (request.args.get("again") and secret and current_user.is_authenticated):
        return {"shown_before": None}
    security = current_app.extensions["security"]
    state = {"totp_secret": secret, "method": "authenticator", "phone": None}
    return {
        "shown_before": security.totp_factory.fetch_setup_values(secret, current_user),
        "same_token": security.tf_setup_serializer.dumps(state),
    }


class RecoveryCodes(MfRecoveryCodesUtil):
    """Recovery codes as keyed hashes: shown once, when they are made."""

    def get_recovery_codes(self, user: Any) -> list[str]:
        """Return none: nobody can say what they were."""
        del user
        return []

    def check_recovery_code(self, user: Any, code: str) -> bool:
        """Tell whether a person has this code left."""
        return _code_hash(code) in (user.mf_recovery_codes or ())

    def delete_recovery_code(self, user: Any, code: str) -> bool:
        """Use a code up; the trail names who showed it, though nobody is logged in yet."""
        person = principal_of(user)
        showing = replace(acting_principal(), label=person.label, user_id=person.user_id)
        left = user.mf_recovery_codes or []
        with acting_as(showing):
            user.mf_recovery_codes = [each for each in left if each != _code_hash(code)]
            db.session().flush()  # what the trail is told of is what is written now
        return True

    def _encrypt_codes(self, codes: list[str]) -> list[str]:
        return [_code_hash(code) for code in codes]


def _code_hash(code: str) -> str:
    """Return the hash of a code, however it was typed."""
    plain = "".join(c for c in code.casefold() if c.isalnum())
    key = crypto.key_for("recovery codes").encode()
    return hmac.new(key, plain.encode(), hashlib.sha256).hexdigest()


class Passkeys(WebauthnUtil):
    """Keys that log in alone must know their owner (PIN, finger); a second factor need not."""

    def authenticator_selection(
        self, user: Any, usage: str
    ) -> AuthenticatorSelectionCriteria:
        """Return what a new key must be able to do."""
        del user
        if usage == "first":
            return AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            )
        return AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.DISCOURAGED,
        )

    def user_verification(
        self, user: Any, usage: list[str]
    ) -> UserVerificationRequirement:
        """Return whether a key must know its owner for this log-in."""
        del user
        if "secondary" in usage:
            return UserVerificationRequirement.DISCOURAGED
        return UserVerificationRequirement.REQUIRED
