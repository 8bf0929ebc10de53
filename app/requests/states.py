"""The procedure as data: steps, actions, and the table of what leads where.

The service as published has twelve steps (1 to 12); before them stands the check of the file
(0), and before that the applicant's own draft. In each step somebody *proposes* what the
step is for and others *approve* it; the last approval leads to the next step. Handing in is
the proposal of step 0. Two loops lead back: no agreement in step 3 (A), a dashboard that
does not fit in step 11 (B).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Step(StrEnum):
    """Where a case stands; the last three are ends."""

    DRAFT = "draft"
    FILE_CHECK = "file_check"
    COORDINATION = "coordination"
    DATA_DEFINITION = "data_definition"
    SCENARIO = "scenario"
    INTERCHANGE_DOCUMENT = "interchange_document"
    API = "api"
    CENTRAL_DATABASE = "central_database"
    RESULT_DELIVERY = "result_delivery"
    AGENCY_CHECK = "agency_check"
    FINAL_DATA = "final_data"
    RESULT_DOCUMENT = "result_document"
    DASHBOARD = "dashboard"
    REPORT = "report"
    CLOSED = "closed"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"

    @property
    def number(self) -> int | None:
        """The step's number as published; 0 is the check of the file, None no step of it."""
        order = list(Step)
        at = order.index(self) - order.index(Step.FILE_CHECK)
        return at if 0 <= at <= 12 else None


class Action(StrEnum):
    """What somebody does to a case."""

    HAND_IN = "hand_in"
    PROPOSE = "propose"
    APPROVE = "approve"
    RETURN = "return"
    DISAGREE = "disagree"
    NOT_FIT = "not_fit"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    HOLD = "hold"
    RESUME = "resume"
    REOPEN = "reopen"


PROPOSALS = frozenset({Action.HAND_IN, Action.PROPOSE})
DECISIONS = frozenset({Action.RETURN, Action.DISAGREE, Action.NOT_FIT})  # of a proposal


class Role(StrEnum):
    """The roles of the procedure, by the names of the office's rows of roles.

    ``PRODUCER`` is no such row: it is the head of the agency whose data it is, where that is
    not the applicant.
    """

    OPD_OPERATOR = "OPD_OPERATOR"
    OPD_PIMPINAN = "OPD_PIMPINAN"
    PIMPINAN = "PIMPINAN"
    TIM_TEKNIS = "TIM_TEKNIS"
    PENGAWAS_DATA = "PENGAWAS_DATA"
    PENGAWAS_TI = "PENGAWAS_TI"
    ADMINISTRATOR = "ADMINISTRATOR"
    PRODUCER = "PRODUCER"


class MarkKind(StrEnum):
    """What somebody did with a paper."""

    INITIAL = "initial"
    SIGNATURE = "signature"  # a file with signatures came back
    SCAN = "scan"  # signed by pen: a picture of it
    ATTEST = "attest"  # a second person saw the pen on the paper
    SEND_BACK = "send_back"
    DELIVER = "deliver"  # the agency was told that it is there
    OPEN = "open"  # somebody of the agency looked at it


class PaperState(StrEnum):
    """Where a paper stands on its way to being signed."""

    UNSIGNED = "unsigned"  # nobody signs its kind
    FOR_INITIALS = "for_initials"
    FOR_SIGNATURE = "for_signature"
    FOR_ATTEST = "for_attest"
    SIGNED = "signed"
    SENT_BACK = "sent_back"


class Party(StrEnum):
    """Who holds the ball: whose move a case waits for."""

    AGENCY = "agency"
    OFFICE = "office"
    NOBODY = "nobody"


OPD = frozenset({Role.OPD_OPERATOR, Role.OPD_PIMPINAN})
AGENCIES = OPD | {Role.PRODUCER}
# Where the agency that owns the data consents, when that is not the applicant.
CONSENT_STEPS = frozenset(
    {Step.DATA_DEFINITION, Step.SCENARIO, Step.INTERCHANGE_DOCUMENT}
)
TERMINAL = frozenset({Step.CLOSED, Step.REFUSED, Step.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Duty:
    """What a step asks for: who proposes, and each role that must approve."""

    proposed_by: frozenset[Role]
    approved_by: tuple[Role, ...]

    @property
    def party(self) -> Party:
        return Party.AGENCY if self.proposed_by <= OPD else Party.OFFICE


def _duty(proposed_by: set[Role], *approved_by: Role) -> Duty:
    return Duty(frozenset(proposed_by), approved_by)


# Who may approve alone what they proposed themselves, with a reason that is listed for review:
# where nobody second is there, a case must not stand still for ever.
HEADS: Mapping[Party, Role] = MappingProxyType(
    {Party.AGENCY: Role.OPD_PIMPINAN, Party.OFFICE: Role.PIMPINAN}
)


# Who does and who approves, by the published steps and the offices' roles (domain.md 5.2).
DUTIES: Mapping[Step, Duty] = MappingProxyType(
    {
        Step.FILE_CHECK: _duty({Role.OPD_OPERATOR, Role.OPD_PIMPINAN}, Role.TIM_TEKNIS),
        Step.COORDINATION: _duty({Role.TIM_TEKNIS}, Role.PIMPINAN),
        Step.DATA_DEFINITION: _duty({Role.OPD_OPERATOR}, Role.OPD_PIMPINAN),
        Step.SCENARIO: _duty({Role.TIM_TEKNIS}, Role.OPD_PIMPINAN, Role.TIM_TEKNIS),
        Step.INTERCHANGE_DOCUMENT: _duty(
            {Role.TIM_TEKNIS}, Role.OPD_PIMPINAN, Role.PENGAWAS_DATA, Role.PENGAWAS_TI
        ),
        Step.API: _duty({Role.TIM_TEKNIS}, Role.PENGAWAS_TI),
        Step.CENTRAL_DATABASE: _duty({Role.TIM_TEKNIS}, Role.PENGAWAS_DATA),
        Step.RESULT_DELIVERY: _duty({Role.TIM_TEKNIS}, Role.PENGAWAS_DATA),
        Step.AGENCY_CHECK: _duty({Role.OPD_OPERATOR}, Role.OPD_PIMPINAN),
        Step.FINAL_DATA: _duty({Role.TIM_TEKNIS}, Role.OPD_OPERATOR, Role.TIM_TEKNIS),
        Step.RESULT_DOCUMENT: _duty({Role.TIM_TEKNIS}, Role.PENGAWAS_TI),
        Step.DASHBOARD: _duty({Role.TIM_TEKNIS}, Role.ADMINISTRATOR),
        Step.REPORT: _duty({Role.TIM_TEKNIS}, Role.ADMINISTRATOR, Role.PIMPINAN),
    }
)


# A small change of what runs already goes through these steps alone.
AMENDMENT = (
    Step.FILE_CHECK,
    Step.INTERCHANGE_DOCUMENT,
    Step.API,
    Step.AGENCY_CHECK,
    Step.DASHBOARD,
)


def path_of(*, is_amendment: bool) -> tuple[Step, ...]:
    """Return the steps that a case goes through, from the check of the file on."""
    return AMENDMENT if is_amendment else tuple(DUTIES)


def led_to(target: Step, *, is_amendment: bool) -> Step:
    """Return where an arrow leads: in an amendment to its next step from there on."""
    path, order = path_of(is_amendment=is_amendment), list(DUTIES)
    if target not in order or target in path:
        return target
    later = (step for step in path if order.index(step) > order.index(target))
    return next(later, Step.CLOSED)


@dataclass(frozen=True, slots=True)
class Transition:
    """One arrow. ``target`` is where the last needed approval leads, for an approval.

    ``needs_reason``: a code out of ``Reason`` and a note that says what is meant.
    """

    target: Step
    roles: frozenset[Role]
    needs_reason: bool = False


class Reason(StrEnum):
    """Why a case went back, was refused or rests: what is counted."""

    FILE_INCOMPLETE = "file_incomplete"
    FIELD_WRONG = "field_wrong"
    DEFINITION_UNCLEAR = "definition_unclear"
    LEGAL_BASIS_MISSING = "legal_basis_missing"
    PERSONAL_DATA = "personal_data"
    TECHNICALLY_IMPOSSIBLE = "technically_impossible"
    DATA_WRONG = "data_wrong"
    NOT_NEEDED = "not_needed"
    OTHER = "other"


def _next(step: Step) -> Step:
    order = list(Step)
    return order[order.index(step) + 1]


def _table() -> dict[tuple[Step, Action], Transition]:
    table = {
        (Step.DRAFT, Action.HAND_IN): Transition(Step.FILE_CHECK, OPD),
        (Step.DRAFT, Action.WITHDRAW): Transition(Step.WITHDRAWN, OPD),
    }
    for step, duty in DUTIES.items():
        owner = {Role.PRODUCER} if step in CONSENT_STEPS else set()
        approvers = frozenset(duty.approved_by) | owner
        table[step, Action.PROPOSE] = Transition(step, duty.proposed_by)
        table[step, Action.APPROVE] = Transition(_next(step), approvers)
        # What was proposed goes back to who proposed it, within the step.
        table[step, Action.RETURN] = Transition(step, approvers, needs_reason=True)
        table[step, Action.HOLD] = Transition(
            step, frozenset({Role.PIMPINAN}), needs_reason=True
        )
        table[step, Action.RESUME] = Transition(step, frozenset({Role.PIMPINAN}))
        table[step, Action.REFUSE] = Transition(
            Step.REFUSED, frozenset({Role.PIMPINAN}), needs_reason=True
        )
        table[step, Action.WITHDRAW] = Transition(
            Step.WITHDRAWN, frozenset({Role.OPD_PIMPINAN}), needs_reason=True
        )
    del table[Step.FILE_CHECK, Action.PROPOSE]  # it was handed in
    # The file goes back to the applicant, with what is to be mended.
    table[Step.FILE_CHECK, Action.RETURN] = Transition(
        Step.DRAFT, frozenset({Role.TIM_TEKNIS}), needs_reason=True
    )
    table[Step.SCENARIO, Action.DISAGREE] = Transition(  # loop A
        Step.DATA_DEFINITION,
        frozenset({Role.OPD_PIMPINAN, Role.TIM_TEKNIS, Role.PRODUCER}),
        needs_reason=True,
    )
    table[Step.DASHBOARD, Action.NOT_FIT] = Transition(  # loop B
        Step.SCENARIO, frozenset({Role.ADMINISTRATOR}), needs_reason=True
    )
    # What never began is handed in anew; what was closed is decided anew in step 11.
    for end, again in (
        (Step.REFUSED, Step.DRAFT),
        (Step.WITHDRAWN, Step.DRAFT),
        (Step.CLOSED, Step.DASHBOARD),
    ):
        table[end, Action.REOPEN] = Transition(
            again, frozenset({Role.PIMPINAN}), needs_reason=True
        )
    return table


TRANSITIONS: Mapping[tuple[Step, Action], Transition] = MappingProxyType(_table())


def actions_open_to(step: Step, roles: frozenset[Role]) -> list[Action]:
    """Return what the holder of some roles could do in a step, guards apart."""
    return [
        action
        for action in Action
        if (arrow := TRANSITIONS.get((step, action))) and arrow.roles & roles
    ]


def as_markdown() -> str:
    """Return the table as ``docs/procedure.md`` holds it; a test keeps both equal."""
    lines = [
        "# The procedure",
        "",
        "Printed from `app/requests/states.py`; change it there. 0 is the check of the file, –",
        "is no step of the published service. The last approval that a step needs leads on.",
        "PRODUCER approves where the data is not the applicant's own. A small change of what runs",
        f"already goes through {_numbers(AMENDMENT)} alone and is closed then.",
        "",
        "| # | step | proposed by | approved by |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {step.number} | {step} | {_named(duty.proposed_by)}"
        f" | {', '.join(duty.approved_by)}{', PRODUCER' if step in CONSENT_STEPS else ''} |"
        for step, duty in DUTIES.items()
    ]
    lines += [
        "",
        "| # | step | action | leads to | roles | reason |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {'–' if step.number is None else step.number} | {step} | {action} | {arrow.target}"
        f" | {_named(arrow.roles)} | {'needed' if arrow.needs_reason else ''} |"
        for (step, action), arrow in sorted(
            TRANSITIONS.items(), key=lambda each: list(Step).index(each[0][0])
        )
    ]
    return "\n".join([*lines, ""])


def _numbers(steps: tuple[Step, ...]) -> str:
    return ", ".join(str(step.number) for step in steps)


def _named(roles: frozenset[Role]) -> str:
    return ", ".join(role for role in Role if role in roles)
