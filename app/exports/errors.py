"""How exports refuse and fail."""

from app.core.errors import PermanentError, RejectedError


class NothingToExportError(RejectedError):
    code = "nothing_to_export"

    def __init__(self) -> None:
        super().__init__("The dataset has no published rows yet.")


class ExpiredError(RejectedError):
    code = "expired"

    def __init__(self) -> None:
        super().__init__(
            "This download has expired: ask for a new one on the dataset's page."
        )


class ClosedError(RejectedError):
    """Its rows are not open to the person any more."""

    code = "closed"

    def __init__(self) -> None:
        super().__init__(
            "The data of this file is not open to you any more, so it is not handed out."
        )


class NotAllowedError(PermanentError):
    """The person's rights have changed between asking for the file and writing it."""

    code = "not_allowed"

    def __init__(self) -> None:
        super().__init__(
            "The person who asked for this file may no longer have its data."
        )


class CountMismatchError(PermanentError):
    """The file does not hold what the query counted; it is thrown away."""

    code = "count_mismatch"

    def __init__(self, written: int, counted: int) -> None:
        super().__init__(
            "The file would hold %(written)s rows where the table has %(counted)s: it was"
            " thrown away.",
            written=written,
            counted=counted,
        )
