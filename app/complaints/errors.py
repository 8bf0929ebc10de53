"""How complaints refuse."""

from app.core.errors import RejectedError


class NotNowError(RejectedError):
    code = "not_now"

    def __init__(self) -> None:
        super().__init__(
            "That cannot be done to it any more, or not by you: look where it stands."
        )


class NoWordsError(RejectedError):
    code = "no_words"

    def __init__(self) -> None:
        super().__init__("Write it in words: whoever asked reads it.")


class TooManyWordsError(RejectedError):
    code = "too_many_words"

    def __init__(self, most: int) -> None:
        super().__init__("This is too long: at most %(n)s letters.", n=most)


class BadComplaintError(RejectedError):
    """Something of what was entered is not right; says what."""

    code = "bad_complaint"
