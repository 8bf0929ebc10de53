"""How work with lists is refused."""

from app.core.errors import RejectedError


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
