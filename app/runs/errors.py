"""How the ledger refuses."""

from app.core.errors import RejectedError, TransientError


class LeaseLostError(TransientError):
    """Somebody else owns the run now; whatever this process wants to write is void."""

    code = "lease_lost"

    def __init__(self) -> None:
        super().__init__("This worker no longer owns the run.")


class AlreadyActiveError(RejectedError):
    """The same work is queued or running."""

    code = "already_active"

    def __init__(self) -> None:
        super().__init__(
            "This work is already waiting or running; wait until it has ended."
        )


class NotRetryableError(RejectedError):
    code = "not_retryable"

    def __init__(self) -> None:
        super().__init__(
            "Only a run that failed, was cancelled or is held can be tried again."
        )


class OutdatedWorkError(RejectedError):
    """Another version of the program asked for it."""

    code = "outdated_work"

    def __init__(self) -> None:
        super().__init__(
            "This version of the program cannot do this work any more: ask for it anew."
        )


class NotCancellableError(RejectedError):
    code = "not_cancellable"

    def __init__(self) -> None:
        super().__init__("This run is over already: there is nothing to cancel.")


class SupersededError(RejectedError):
    """What a person lets pass is the answer they looked at, and no later one."""

    code = "superseded"

    def __init__(self) -> None:
        super().__init__("This was asked for again since: decide on the newest run.")


class ReasonMissingError(RejectedError):
    code = "reason_missing"

    def __init__(self) -> None:
        super().__init__("Say why: the reason stands in the audit trail.")


class PutOffError(TransientError):
    """It is not the time for this run: it goes back, and no attempt is counted."""

    code = "put_off"

    def __init__(self, message: str, *, seconds: float, **params: object) -> None:
        super().__init__(message, code=None, **params)
        self.seconds = seconds


class BadScheduleError(RejectedError):
    code = "bad_schedule"


class HeldError(Exception):
    """Raised by a job when a gate stops it: the run waits for a person's decision."""

    def __init__(self, code: str, message: str, **params: object) -> None:
        self.code = code
        self.message = message
        self.params = params
        super().__init__(message % params)
