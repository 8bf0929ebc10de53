"""How work with lists is refused."""

from app.core.errors import PermanentError, RejectedError


class NamelessError(RejectedError):
    code = "nameless_view"

    def __init__(self) -> None:
        super().__init__("A view needs a name of 1 to 80 characters.")


class TooManyViewsError(RejectedError):
    code = "too_many_views"

    def __init__(self, limit: int) -> None:
        super().__init__(
            "You have %(limit)s views of this list already: delete one first.",
            limit=limit,
        )


class BadValueError(RejectedError):
    """``column`` and ``wanted`` are message ids: they are translated with the sentence."""

    code = "bad_value"

    def __init__(self, column: str, wanted: str) -> None:
        super().__init__(
            "%(column)s takes another value: %(wanted)s.", column=column, wanted=wanted
        )


class MovedOnError(RejectedError):
    code = "moved_on"

    def __init__(self) -> None:
        super().__init__(
            "Not saved: somebody else has changed this meanwhile, to what stands beside it now."
            " Save once more if yours shall stand."
        )


class NothingChosenError(RejectedError):
    code = "nothing_chosen"

    def __init__(self) -> None:
        super().__init__("Choose at least one row, and at least one column to change.")


class TooManyRowsError(RejectedError):
    code = "too_many_rows"

    def __init__(self, limit: int) -> None:
        super().__init__(
            "At most %(limit)s rows are changed at once: narrow the list first.",
            limit=limit,
        )


class RowRefusedError(RejectedError):
    """One of many rows cannot be changed so: none was. ``why`` is a sentence of its own."""

    code = "row_refused"

    def __init__(self, row: str, why: RejectedError) -> None:
        super().__init__(
            "Nothing was changed, because of %(name)s: %(why)s",
            name=row,
            why={"message": why.message, "params": why.params},
        )


class NoLongerAllowedError(PermanentError):
    code = "no_longer_allowed"

    def __init__(self) -> None:
        super().__init__("Who asked for this may not do it any more.")


class UnmappedError(RejectedError):
    code = "unmapped"

    def __init__(self, what: str) -> None:
        super().__init__(
            "Say which column holds %(what)s: rows are recognised by it.", what=what
        )


class WrongRowsError(RejectedError):
    code = "wrong_rows"

    def __init__(self, rows: int) -> None:
        super().__init__(
            "Nothing was brought in: %(rows)s rows are wrong. Mend them, or bring in the good"
            " ones alone.",
            rows=rows,
        )


class BroughtInError(RejectedError):
    code = "brought_in"

    def __init__(self) -> None:
        super().__init__("This file has been brought in already; nothing was done again.")


class ListMovedOnError(RejectedError):
    """Not what somebody agreed to: other rows match by now, or a filter says nothing."""

    code = "list_moved_on"

    def __init__(self) -> None:
        super().__init__(
            "Nothing was changed: other rows match the list by now. Look at it again."
        )


class NoFileError(RejectedError):
    code = "no_file"

    def __init__(self) -> None:
        super().__init__("Choose a file first: an Excel workbook (.xlsx) or a CSV file.")
