"""How the procedure refuses: each names what is wrong and what to do."""

from collections.abc import Mapping, Sequence

from app.core.errors import RejectedError
from app.requests.documents import DocumentKind


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


class NotEditableError(RejectedError):
    code = "not_editable"

    def __init__(self) -> None:
        super().__init__(
            "This document is not written in the step where the case stands, or it is proposed"
            " already. Nothing was changed."
        )


class DocumentsLackingError(RejectedError):
    """``groups``: of each, one document at least is to be written or attached."""

    code = "documents_lacking"

    def __init__(self, groups: Sequence[tuple[DocumentKind, ...]]) -> None:
        self.groups = groups
        super().__init__(
            "Something is still to be written or attached before this can be done."
        )


class MalformedError(RejectedError):
    """``problems``: a sentence by the path of the field."""

    code = "malformed"

    def __init__(self, document: str, problems: Mapping[str, str]) -> None:
        self.document, self.problems = document, problems
        super().__init__(
            "Some fields are not filled in as they should be. Open the document: they are"
            " marked there."
        )


class OwnDataError(RejectedError):
    code = "own_data"

    def __init__(self) -> None:
        super().__init__(
            "This agency is the applicant itself: choose another one, or none."
        )


class EmptyTextError(RejectedError):
    code = "empty_text"

    def __init__(self) -> None:
        super().__init__("There is nothing written here yet.")


class TooManyFilesError(RejectedError):
    code = "too_many_files"

    def __init__(self, most: int) -> None:
        super().__init__(
            "A document takes at most %(n)s files: put them together, or remove one.",
            n=most,
        )


class BadPaperNumberError(RejectedError):
    code = "bad_paper_number"

    def __init__(self) -> None:
        super().__init__(
            "A number of a paper has letters, digits, blanks and . / - alone, at most 80."
        )


class PaperNumberTakenError(RejectedError):
    code = "paper_number_taken"

    def __init__(self, number: str) -> None:
        super().__init__(
            "Another paper has the number %(number)s already.", number=number
        )


class NoCaseYetError(RejectedError):
    code = "no_case_yet"

    def __init__(self) -> None:
        super().__init__("There is no case yet that a sample could be filled with.")


class NoDefinitionError(RejectedError):
    code = "no_definition"

    def __init__(self) -> None:
        super().__init__(
            "No data element has been defined: a contract is drafted out of step 2."
        )


class StepNotDoneError(RejectedError):
    """``obstacles`` are message ids of what keeps the step open."""

    code = "step_not_done"

    def __init__(self, obstacles: Sequence[str]) -> None:
        self.obstacles = obstacles
        super().__init__(obstacles[0])


class InitialsFirstError(RejectedError):
    code = "initials_first"

    def __init__(self) -> None:
        super().__init__(
            "This paper has no initials yet: somebody of the office reads and initials it before"
            " it is signed."
        )


class NotYourMarkError(RejectedError):
    code = "not_your_mark"

    def __init__(self) -> None:
        super().__init__(
            "This is not for you to do with this paper, or it has been done already. Load the"
            " page again."
        )


class SignedMeanwhileError(RejectedError):
    code = "signed_meanwhile"

    def __init__(self) -> None:
        super().__init__(
            "Somebody else was faster: the paper is not as it was when you took it. Download it"
            " again, so that all signatures stand on one file."
        )


class NothingToSignError(RejectedError):
    code = "nothing_new"

    def __init__(self) -> None:
        super().__init__("All signatures of this file are here already.")


class SameHandError(RejectedError):
    code = "same_hand"

    def __init__(self) -> None:
        super().__init__(
            "Who sent the scan does not attest it: a second person compares it with the paper."
        )


class NothingRunsError(RejectedError):
    code = "nothing_runs"

    def __init__(self) -> None:
        super().__init__(
            "Nothing of your agency runs by this contract: ask for an integration instead."
        )


class NothingToldError(RejectedError):
    code = "nothing_told"

    def __init__(self) -> None:
        super().__init__("Your agency has told nothing of this in an earlier request.")
