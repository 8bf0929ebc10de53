"""How agreements refuse."""

from app.core.errors import RejectedError


class BadAgreementError(RejectedError):
    """An agreement that cannot be as it was entered; says why."""

    code = "bad_agreement"


class NotProposedError(RejectedError):
    """It is decided already."""

    code = "agreement_decided"

    def __init__(self) -> None:
        super().__init__(
            "This agreement is decided already, and nothing of it changes any more. Propose"
            " another one: with the owner's consent it takes this one's place."
        )


class AgreementChangedError(RejectedError):
    """It is not what the person has seen."""

    code = "agreement_changed"

    def __init__(self) -> None:
        super().__init__(
            "The agreement was changed while you looked at it. Read it once more, then decide."
        )


class NoReasonGivenError(RejectedError):
    code = "no_reason_given"

    def __init__(self) -> None:
        super().__init__("Say why in a few words: the other side reads it.")


class NotYoursToEndError(RejectedError):
    code = "not_yours_to_end"

    def __init__(self) -> None:
        super().__init__(
            "The office ends an agreement, or the head of the agency whose data it is."
        )


class NobodyToTellError(RejectedError):
    code = "nobody_to_tell"

    def __init__(self) -> None:
        super().__init__("Nobody is to be told: all whom this change hits know of it.")


class AnsweredAlreadyError(RejectedError):
    code = "answered_already"

    def __init__(self) -> None:
        super().__init__("Your agency has answered already.")


class LongRemarkError(RejectedError):
    code = "long_remark"

    def __init__(self, most: int) -> None:
        super().__init__("This is too long: at most %(n)s letters.", n=most)


class NotAnnouncedError(RejectedError):
    """A change that may break something is not known long enough to whom it hits."""

    code = "not_announced"
