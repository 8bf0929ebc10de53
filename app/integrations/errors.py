"""Why something about an integration is refused."""

from app.core.errors import RejectedError


class NoTakeoverReasonError(RejectedError):
    code = "no_takeover_reason"

    def __init__(self) -> None:
        super().__init__(
            "Say why it is taken over without the twelve steps: the reason stands beside it."
        )
