"""Why a pull cannot be done, or must begin anew."""

from app.core.errors import PermanentError, RejectedError, TransientError


class NotPullableError(PermanentError):
    """The source cannot be pulled as things stand; the message says what to do."""

    code = "not_pullable"


class VersionChangedError(TransientError):
    """A new contract version became active while the pull ran; it begins anew with it."""

    code = "version_changed"

    def __init__(self) -> None:
        super().__init__("The contract changed during the pull; it begins anew.")


class PublishedMeanwhileError(TransientError):
    """The table no longer stands at the answer that records were recognised by."""

    code = "published_meanwhile"

    def __init__(self) -> None:
        super().__init__("The dataset was changed during the pull; it begins anew.")


class RolledBackError(PermanentError):
    """A person brought the dataset back after this pull was asked for: theirs is the word."""

    code = "rolled_back"

    def __init__(self) -> None:
        super().__init__(
            "The dataset was rolled back while this pull was under way: what it read is not"
            " published. Pull again when the service answers rightly."
        )


class RollbackWaitsError(RejectedError):
    """A pull was asked for that a roll-back would undo, or that would undo it."""

    code = "rollback_waits"

    def __init__(self) -> None:
        super().__init__(
            "The dataset is being rolled back: pull again when that has ended."
        )


class AnswerGoneError(PermanentError):
    """The pages of a run that is to be replayed are kept no longer, or were never whole."""

    code = "answer_gone"

    def __init__(self) -> None:
        super().__init__(
            "The answer of that run is not kept any more: pull again, and decide on the new"
            " one."
        )


class NotReturnableError(RejectedError):
    """The dataset cannot be brought back to a publish; the message says why."""

    code = "not_returnable"


class NotReplayableError(RejectedError):
    """A run's answer shall not be published again; the message says why."""

    code = "not_replayable"
