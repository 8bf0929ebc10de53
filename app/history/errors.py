"""How putting back, the trash and what comes out of it refuse."""

from app.core.errors import RejectedError


class NotRevertableError(RejectedError):
    """What was changed cannot be put back, or not like this."""

    code = "not_revertable"


class StillUsedError(RejectedError):
    """Other rows know the object; what has left traces stays."""

    code = "still_used"

    def __init__(self, count: int, kind: str) -> None:
        super().__init__(
            "This cannot go to the trash: %(n)s × %(kind)s still belongs to it. Take that away"
            " first, or switch it off instead.",
            n=count,
            kind=kind,
        )


class HasActedError(RejectedError):
    """Somebody or something whose deeds stand in the trail."""

    code = "has_acted"

    def __init__(self) -> None:
        super().__init__(
            "This cannot go to the trash: what it did stands in the trail or in a log, which"
            " must be able to name it. Switch it off instead."
        )


class OneselfError(RejectedError):
    code = "oneself"

    def __init__(self) -> None:
        super().__init__("You cannot move yourself to the trash.")


class StandsInTrashError(RejectedError):
    """A unique value belongs to something in the trash, which could not come back then."""

    code = "stands_in_trash"

    def __init__(self, name: str) -> None:
        super().__init__(
            "Not saved: %(name)s stands in the trash with the same name, code or e-mail."
            " Bring it back from there, or choose another.",
            name=name,
        )


class NotRestorableError(RejectedError):
    """What is in the trash cannot come back as things are now."""

    code = "not_restorable"
