"""How contracts refuse."""

from collections.abc import Sequence

from app.contracts.rules import Problem
from app.core.errors import RejectedError


class ContractError(RejectedError):
    """The version cannot be saved or activated as it is; ``problems`` lists why."""

    code = "contract_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("The contract has %(n)s problems to mend.", n=len(problems))


class NotDraftError(RejectedError):
    code = "not_draft"

    def __init__(self) -> None:
        super().__init__(
            "This version is no draft any more: make a new version to change it."
        )


class PlanChangedError(RejectedError):
    code = "plan_changed"

    def __init__(self) -> None:
        super().__init__(
            "The plan has changed since you saw it: look at it again, then approve."
        )
