"""How sources are refused."""

from app.core.errors import RejectedError, SimpulError


class SourceInvalidError(RejectedError):
    """The settings cannot work; says what their connector says."""

    code = "source_invalid"

    def __init__(self, reason: SimpulError) -> None:
        super().__init__(reason.message)
        self.params = reason.params


class PlainSecretError(RejectedError):
    """A key outside the one field that is encrypted and never shown."""

    code = "plain_secret"

    def __init__(self, name: str) -> None:
        super().__init__(
            "%(name)s looks like a key or a password. Put it into the field for the key:"
            " only there it is encrypted and never shown.",
            name=name[:60],
        )


class SnapshotTakenError(RejectedError):
    """A second source would make the first one's rows vanish, and the other way round."""

    code = "snapshot_taken"

    def __init__(self) -> None:
        super().__init__(
            "This contract loads the whole set each time and has a source already: two would"
            " wipe out each other's rows."
        )


class AddressChangedError(RejectedError):
    """Somebody changed the address between the approver's look and their word."""

    code = "address_changed"

    def __init__(self, host: str) -> None:
        super().__init__(
            "The address was changed meanwhile and leads to %(host)s now. Look again before"
            " you approve it.",
            host=host,
        )
