"""The few kinds of failure the whole system tells apart."""


class SimpulError(Exception):
    """Base of every error raised on purpose.

    ``code`` is stable and greppable; ``message`` is an English message id that the pages
    translate; ``params`` fills its ``%(name)s`` places and never holds a secret.
    """

    code = "error"

    def __init__(
        self, message: str, *, code: str | None = None, **params: object
    ) -> None:
        self.message = message
        self.params = params
        if code is not None:
            self.code = code
        super().__init__(message % params if params else message)


class RejectedError(SimpulError):
    """The caller asked for something the rules forbid. Shown to the person, HTTP 4xx."""

    code = "rejected"


class TransientError(SimpulError):
    """The world failed; the same call may succeed later. The ledger tries again."""

    code = "transient"
    retry_after_seconds: float | None = None


class PermanentError(SimpulError):
    """The same call will fail again. The ledger records it and stops."""

    code = "permanent"
