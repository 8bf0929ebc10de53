"""How the API refuses: a status, a stable code, and words in two languages."""

from app.core.errors import RejectedError
from app.core.words import message_id


class Refused(RejectedError):  # noqa: N818 - the word of the house for it
    """One request is not answered with data (RFC 9457 on the wire).

    ``headers`` go into the answer; ``retry_after_seconds`` into its Retry-After.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        retry_after_seconds: int | None = None,
        **params: object,
    ) -> None:
        super().__init__(message, code=code, **params)
        self.status = status
        self.headers = headers
        if retry_after_seconds is not None:
            self.headers += (("Retry-After", str(retry_after_seconds)),)


class TooManyKeysError(RejectedError):
    """A third key at once."""

    code = "too_many_keys"

    def __init__(self) -> None:
        super().__init__(
            "This client has two working keys already: revoke one before you make another."
        )


class BadGrantError(RejectedError):
    """A grant or a key that cannot be as it was entered; says why."""

    code = "bad_grant"


def not_found() -> Refused:
    """Return the one answer for what is not there and for what is not granted."""
    return Refused(
        404, "not_found", "There is no such dataset, or this key has no grant for it."
    )


def bad_value(name: str, wanted: str) -> Refused:
    """Return the refusal of a value; ``wanted`` is a message id of what it should be."""
    return Refused(
        400, "bad_value", "The value of %(name)s must be %(wanted)s.", name=name, wanted=wanted,
    )  # fmt: skip


def bad_token() -> Refused:
    """Return the refusal of a token that is one, but not of this query."""
    return Refused(
        409,
        "bad_token",
        "This token was not made for this query: begin again without it, and change"
        " neither filters nor sorting between pages.",
    )


def unavailable() -> Refused:
    return Refused(
        503,
        "unavailable",
        "The database does not answer just now, so nothing can be handed out. Try again"
        " in a moment.",
        retry_after_seconds=5,
    )


TITLES = {
    400: message_id("The request is not right"),
    401: message_id("No valid key"),
    403: message_id("Not allowed"),
    404: message_id("Not found"),
    405: message_id("Only GET is answered here"),
    406: message_id("This format is not offered"),
    409: message_id("The parts of the request do not go together"),
    410: message_id("No longer there"),
    422: message_id("The query is too heavy"),
    429: message_id("A limit is reached"),
    500: message_id("A fault in Simpul"),
    503: message_id("Not available just now"),
}
