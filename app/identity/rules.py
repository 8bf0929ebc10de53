"""What a password must be like, by a named profile: pure, the same for every door."""

import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.core.words import message_id
from config import PasswordProfile

# What people here choose before anything else, beside the lists of the world.
_LOCAL = frozenset(
    {"rahasia", "sayang", "bismillah", "indonesia", "pekanbaru", "provinsiriau", "diskominfo",
     "katasandi", "kata-sandi", "passwordku", "administrator", "simpul", "garuda", "merdeka"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """``classes``: how many of small letters, capitals, digits and signs it must have.

    ``remembered``: so many former ones may not come again. ``max_age`` None: it lives on.
    """

    min_length: int
    max_length: int
    classes: int = 0
    max_age: timedelta | None = None
    remembered: int = 0


POLICIES = {
    # BSSN 4/2021 as regional handbooks read it.
    PasswordProfile.BSSN: PasswordPolicy(
        12, 128, classes=3, max_age=timedelta(days=183), remembered=5
    ),
    # OWASP ASVS 5.0, 6.2: length and a list of common ones, neither mixture nor age.
    PasswordProfile.ASVS: PasswordPolicy(12, 256),
}

Refusal = tuple[str, dict[str, Any]]


def normal(password: str) -> str:
    """Return a password in the one form in which it is hashed, whatever keyboard it is from."""
    return unicodedata.normalize("NFKD", password)


def refusal(
    password: str, policy: PasswordPolicy, about: tuple[str, ...] = ()
) -> Refusal | None:
    """Return why a password will not do, as message id and values; None when it will.

    ``about`` are words of the person's own: name, address.
    """
    if len(password) < policy.min_length:
        return message_id("A password has at least %(length)s characters."), {
            "length": policy.min_length
        }
    if len(password) > policy.max_length:
        return message_id("A password has at most %(length)s characters."), {
            "length": policy.max_length
        }
    if _classes(password) < policy.classes:
        return message_id(
            "A password has three of these: small letters, capitals, digits, signs."
        ), {}
    if _is_common(password) or _is_monotonous(password):
        return message_id("This password is among the first that would be guessed."), {}
    if _tells_of(password, about):
        return message_id("A password must not hold your name or your address."), {}
    return None


def _classes(password: str) -> int:
    tests = (str.islower, str.isupper, str.isdecimal, lambda c: not c.isalnum())
    return sum(any(test(c) for c in password) for test in tests)


def _is_common(password: str) -> bool:
    """Tell whether it is a common one, or a common one with digits and signs about it."""
    from zxcvbn.frequency_lists import (
        FREQUENCY_LISTS,
    )  # a large module: when it is needed

    whole = password.casefold()
    core = whole.strip("0123456789!@#$%^&*()-_=+.,?/ ")
    known = FREQUENCY_LISTS["passwords"]
    return any(word in known or word in _LOCAL for word in (whole, core))


def _is_monotonous(password: str) -> bool:
    return password.isdecimal() or len(set(password.casefold())) < 5


def _tells_of(password: str, about: tuple[str, ...]) -> bool:
    whole = password.casefold()
    return any(len(word) >= 4 and word.casefold() in whole for word in about)
