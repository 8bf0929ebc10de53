"""What steps, roles, deeds and reasons are called, and what each step asks: message ids."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from app.core.words import message_id as _
from app.requests.states import Action, Party, Reason, Role, Step

STEPS: Mapping[Step, str] = MappingProxyType(
    {
        Step.DRAFT: _("Draft of the agency"),
        Step.FILE_CHECK: _("Check of the file"),
        Step.COORDINATION: _("Coordination"),
        Step.DATA_DEFINITION: _("Definition of the data"),
        Step.SCENARIO: _("Scenario of the integration"),
        Step.INTERCHANGE_DOCUMENT: _("Interchange document"),
        Step.API: _("Setting up the API"),
        Step.CENTRAL_DATABASE: _("Central database"),
        Step.RESULT_DELIVERY: _("Handing over the result"),
        Step.AGENCY_CHECK: _("Check by the agency"),
        Step.FINAL_DATA: _("Final interchange data"),
        Step.RESULT_DOCUMENT: _("Result document"),
        Step.DASHBOARD: _("Dashboard"),
        Step.REPORT: _("Final report"),
        Step.CLOSED: _("closed"),
        Step.REFUSED: _("refused"),
        Step.WITHDRAWN: _("withdrawn"),
    }
)
ASKED: Mapping[Step, str] = MappingProxyType(
    {
        Step.DRAFT: _("Fill in or attach the letter, the list of staff, and the design of the application or the specification of the server. Then hand the request in."),
        Step.FILE_CHECK: _("The technical team looks whether the file is complete. If it is, the three months begin; if not, it goes back with a remark at each field."),
        Step.COORDINATION: _("The head of the office gives the disposition, and the agency is asked to define which data is to be integrated."),
        Step.DATA_DEFINITION: _("The agency defines the data it needs, element by element; its head hands the definition to the technical team."),
        Step.SCENARIO: _("Agency and technical team work out how the data is exchanged over web services. Both agree, or it goes back to the definition."),
        Step.INTERCHANGE_DOCUMENT: _("What was agreed becomes the interchange document, signed by both sides."),
        Step.API: _("The technical team sets up the API and proves by a test that it keeps to the contract."),
        Step.CENTRAL_DATABASE: _("All data is taken into the central database, and what came in is compared with what was sent."),
        Step.RESULT_DELIVERY: _("The result is delivered to the agency with a letter and as Excel."),
        Step.AGENCY_CHECK: _("The agency compares with its own system, writes down what differs, and mends it there."),
        Step.FINAL_DATA: _("The mended data is pulled once more; both sides confirm that it agrees."),
        Step.RESULT_DOCUMENT: _("The documents of the interchange and of the integration are delivered."),
        Step.DASHBOARD: _("The agency says whether the integrated data fits. The Pejabat Administrator decides: done, or back to the scenario."),
        Step.REPORT: _("The report on the result ends the procedure. The pulls go on."),
    }
)  # fmt: skip
ROLES: Mapping[Role, str] = MappingProxyType(
    {
        Role.OPD_OPERATOR: _("operator of the agency"),
        Role.OPD_PIMPINAN: _("head of the agency"),
        Role.PIMPINAN: _("head of the office"),
        Role.TIM_TEKNIS: _("technical team"),
        Role.PENGAWAS_DATA: _("supervisor of data"),
        Role.PENGAWAS_TI: _("supervisor of information technology"),
        Role.ADMINISTRATOR: _("Pejabat Administrator"),
        Role.PRODUCER: _("head of the agency whose data it is"),
    }
)
PARTIES: Mapping[Party, str] = MappingProxyType(
    {
        Party.AGENCY: _("the agency"),
        Party.OFFICE: _("the office"),
        Party.NOBODY: _("nobody"),
    }
)


class Deed(NamedTuple):
    """How a deed is called on its button, and in the list of what was done."""

    button: str
    done: str


DEEDS: Mapping[Action, Deed] = MappingProxyType(
    {
        Action.HAND_IN: Deed(_("Hand in"), _("handed in")),
        Action.PROPOSE: Deed(_("Submit for approval"), _("submitted for approval")),
        Action.APPROVE: Deed(_("Approve"), _("approved")),
        Action.RETURN: Deed(_("Return"), _("returned")),
        Action.DISAGREE: Deed(_("Not agreed"), _("not agreed: back to the definition")),
        Action.NOT_FIT: Deed(_("Does not fit"), _("does not fit: back to the scenario")),
        Action.REFUSE: Deed(_("Refuse"), _("refused")),
        Action.WITHDRAW: Deed(_("Withdraw"), _("withdrawn")),
        Action.HOLD: Deed(_("Let it rest"), _("put to rest")),
        Action.RESUME: Deed(_("Let it go on"), _("let go on")),
        Action.REOPEN: Deed(_("Open again"), _("opened again")),
    }
)
REASONS: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.FILE_INCOMPLETE: _("the file is not complete"),
        Reason.FIELD_WRONG: _("something is filled in wrongly"),
        Reason.DEFINITION_UNCLEAR: _("the definition is not clear"),
        Reason.LEGAL_BASIS_MISSING: _("the legal basis is missing"),
        Reason.PERSONAL_DATA: _("personal data"),
        Reason.TECHNICALLY_IMPOSSIBLE: _("technically not possible"),
        Reason.DATA_WRONG: _("the data is wrong"),
        Reason.NOT_NEEDED: _("not needed any more"),
        Reason.OTHER: _("another reason"),
    }
)
