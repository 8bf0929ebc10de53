"""Password hashes and the rules of this installation; no web application, for commands too."""

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from app.core.clock import utc_now
from app.identity.errors import WeakPasswordError
from app.identity.models import User
from app.identity.rules import POLICIES, PasswordPolicy, normal, refusal
from config import Mode, PasswordProfile, Settings


class _Policy:
    now: PasswordPolicy = POLICIES[PasswordProfile.BSSN]
    hasher: PasswordHasher = PasswordHasher()


def bind(settings: Settings) -> None:
    """Have passwords follow the settings; call once per process.

    In test mode a hash costs nothing: a thousand log-ins would take minutes.
    """
    _Policy.now = POLICIES[settings.password_profile]
    is_test = settings.mode is Mode.TEST
    _Policy.hasher = PasswordHasher(1, 8, 1) if is_test else PasswordHasher()


def hash_options() -> dict[str, int]:
    """Return what a hash costs, as Flask-Security's library names it: both hash alike."""
    hasher = _Policy.hasher
    return {
        "argon2__time_cost": hasher.time_cost,
        "argon2__memory_cost": hasher.memory_cost,
        "argon2__parallelism": hasher.parallelism,
    }


def policy() -> PasswordPolicy:
    """Return the rules that hold here."""
    return _Policy.now


def hash_of(password: str) -> str:
    """Return the argon2id hash (PHC text, its own random salt) under which it is stored."""
    return _Policy.hasher.hash(normal(password))


def check(user: User, password: str) -> None:
    """Raise ``WeakPasswordError`` when a person may not take this password."""
    local = user.email.partition("@")[0]
    found = refusal(normal(password), _Policy.now, (local, *user.name.split()))
    if found is not None:
        raise WeakPasswordError(*found)
    if _is_former(user, password):
        raise WeakPasswordError("This password was yours before: choose another one.", {})


def is_due(user: User) -> bool:
    """Tell whether a person must choose a new password before anything else."""
    age = _Policy.now.max_age
    old = age is not None and utc_now() - user.password_changed_at > age
    return user.password is not None and (user.must_change_password or old)


def _is_former(user: User, password: str) -> bool:
    if not _Policy.now.remembered:
        return False
    # Of somebody who is not stored yet the column has no value.
    hashes = [user.password, *(user.former_passwords or ())][: _Policy.now.remembered]
    return any(each is not None and _is_of(each, password) for each in hashes)


def _is_of(hashed: str, password: str) -> bool:
    try:
        return _Policy.hasher.verify(hashed, normal(password))
    except VerificationError:
        return False
