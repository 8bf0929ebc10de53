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


class UnfitPermissionsError(RejectedError):
    """A role is given what no role of its sort may allow."""

    code = "unfit_permissions"

    def __init__(self) -> None:
        super().__init__(
            "A role for people of agencies cannot allow this: it is work of the office."
        )


class NoSecondFactorError(RejectedError):
    code = "no_second_factor"

    def __init__(self) -> None:
        super().__init__("This person has no second factor that could be taken away.")


class InvitationOverError(RejectedError):
    code = "invitation_over"

    def __init__(self) -> None:
        super().__init__(
            "This code is not valid: it was used, is too old, or was mistyped. Ask whoever"
            " invited you for a new one."
        )


class NotByYourselfError(RejectedError):
    code = "not_by_yourself"

    def __init__(self) -> None:
        super().__init__(
            "Two other persons are needed for this: one asks, another confirms, and neither is"
            " the person it is about."
        )


class ResetOverError(RejectedError):
    code = "reset_over"

    def __init__(self) -> None:
        super().__init__("This wish is settled already, or older than seven days.")


class BadDutyDaysError(RejectedError):
    code = "bad_duty_days"

    def __init__(self) -> None:
        super().__init__(
            "The days do not fit: the last one comes after the first, is not over yet, and lies"
            " within a year of it."
        )


class DutyOverError(RejectedError):
    code = "duty_over"

    def __init__(self) -> None:
        super().__init__("This duty is over already.")


class NoDutiesError(RejectedError):
    code = "no_duties"

    def __init__(self) -> None:
        super().__init__("This person holds no role that could be handed over.")


class NotForOneselfError(RejectedError):
    code = "not_for_oneself"

    def __init__(self) -> None:
        super().__init__(
            "Duties go to another, active person of the same office or agency."
        )


class ActsAlreadyError(RejectedError):
    code = "acts_already"

    def __init__(self) -> None:
        super().__init__("This person acts for the other on some of these days already.")


class SelfGrantError(RejectedError):
    """Somebody of an agency gives themself a role."""

    code = "self_grant"

    def __init__(self) -> None:
        super().__init__(
            "Nobody gives a role to themself: another administrator of the agency does, or the"
            " office."
        )
