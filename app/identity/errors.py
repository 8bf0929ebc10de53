"""How changes of people are refused."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import RejectedError


class RoleMismatchError(RejectedError):
    code = "role_mismatch"

    def __init__(self, role: str) -> None:
        super().__init__(
            "The role %(role)s does not fit: people of agencies hold agency roles, staff of"
            " the office hold office roles.",
            role=role,
        )


class PasswordMissingError(RejectedError):
    code = "password_missing"

    def __init__(self) -> None:
        super().__init__("A new person needs a password of at least 12 characters.")


class WeakPasswordError(RejectedError):
    code = "weak_password"

    def __init__(self, message: str, values: Mapping[str, Any]) -> None:
        super().__init__(message, **values)


class SelfLockoutError(RejectedError):
    code = "self_lockout"

    def __init__(self) -> None:
        super().__init__(
            "You cannot switch yourself off or take away your own right to do this."
        )
