"""How the procedure refuses: each names what is wrong and what to do."""

from app.core.errors import RejectedError


class NoSuchActionError(RejectedError):
    code = "no_such_action"

    def __init__(self) -> None:
        super().__init__(
            "This is not possible in the step where the case stands now. Load the page again."
        )


class NotYourMoveError(RejectedError):
    code = "not_your_move"

    def __init__(self) -> None:
        super().__init__("This move belongs to another role.")


class OnHoldError(RejectedError):
    code = "on_hold"

    def __init__(self) -> None:
        super().__init__(
            "The case rests. The head of the office lets it go on before anything else is done."
        )


class NotOnHoldError(RejectedError):
    code = "not_on_hold"

    def __init__(self) -> None:
        super().__init__("The case does not rest: there is nothing to let go on.")


class NoReasonError(RejectedError):
    code = "no_reason"

    def __init__(self) -> None:
        super().__init__("Choose a reason and say in words what is meant.")


class NothingProposedError(RejectedError):
    code = "nothing_proposed"

    def __init__(self) -> None:
        super().__init__("There is nothing to decide yet: it has to be proposed first.")


class ProposedAlreadyError(RejectedError):
    code = "proposed_already"

    def __init__(self) -> None:
        super().__init__(
            "It was proposed already and waits for approval. Whoever approves may return it."
        )


class ApprovedAlreadyError(RejectedError):
    code = "approved_already"

    def __init__(self) -> None:
        super().__init__("This approval was given already; it is not needed twice.")


class OwnWorkError(RejectedError):
    """Four eyes are two persons."""

    code = "own_work"

    def __init__(self) -> None:
        super().__init__(
            "Nobody approves what they proposed themselves: a second person does. Where there is"
            " none, the head may, with a reason."
        )


class ProposalChangedError(RejectedError):
    code = "proposal_changed"

    def __init__(self) -> None:
        super().__init__(
            "What you were shown is not what is proposed any more. Look at it again."
        )
