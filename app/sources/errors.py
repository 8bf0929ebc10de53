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
            "The address or the signing in was changed meanwhile; requests go to %(host)s now."
            " Look again before you decide.",
            host=host,
        )


class SnapshotIncrementalError(RejectedError):
    """Only what changed would make everything else vanish."""

    code = "snapshot_incremental"

    def __init__(self) -> None:
        super().__init__(
            "This contract loads the whole set each time: asking only for changes would make"
            " all other rows vanish. Use a contract of new and changed rows."
        )


class SamePersonError(RejectedError):
    """An approval is the word of a second person."""

    code = "same_person"

    def __init__(self) -> None:
        super().__init__(
            "You changed the address or the signing in of this source last: somebody else"
            " must approve it."
        )


class PlainTooLongError(RejectedError):
    code = "plain_too_long"

    def __init__(self) -> None:
        super().__init__("An exception from encryption lasts a year at most.")


class NotConfirmedError(RejectedError):
    """Nobody has said yet that requests may go there, or nobody may."""

    code = "not_confirmed"

    def __init__(self, pair: str, why: str) -> None:
        super().__init__(
            "Requests to %(host)s are not allowed: %(why)s", host=pair, why=why
        )


class OutsideSourceError(RejectedError):
    """A try is about the service of its source, and goes nowhere else."""

    code = "outside_source"

    def __init__(self, pair: str) -> None:
        super().__init__(
            "%(host)s is not an address of this source: a look from here goes to its own"
            " addresses only.",
            host=pair,
        )


class NoAgencyError(RejectedError):
    code = "no_agency"

    def __init__(self) -> None:
        super().__init__("Choose the agency that provides the data.")


class HalfWindowError(RejectedError):
    code = "half_window"

    def __init__(self) -> None:
        super().__init__("Maintenance hours need both a beginning and an end.")


class NoSampleError(RejectedError):
    code = "no_sample"

    def __init__(self) -> None:
        super().__init__("Look at the service first: the draft is made of its sample.")
