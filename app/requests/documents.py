"""The documents of a request: what each of them asks for, and in which step it is written.

The first four are what an applicant hands in; the others come out of the steps. Fields are
those that offices of this kind use (domain.md 1.6); the service itself asks for no more than
the documents, so a missing field is told and never refused.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from app.core.words import message_id as _
from app.requests.fields import Field, FieldKind, Form, Part, Values, places
from app.requests.states import Step


class DocumentKind(StrEnum):
    """One kind of document: at most one of each in a request, in any number of versions."""

    LETTER = "letter"
    STAFF = "staff"
    APPLICATION_DESIGN = "application_design"
    SERVER = "server"
    DISPOSITION = "disposition"
    DATA_DEFINITION = "data_definition"
    SCENARIO = "scenario"
    INTERCHANGE = "interchange"
    CONNECTION_TEST = "connection_test"
    STORAGE = "storage"
    RESULT_LETTER = "result_letter"
    AGENCY_CHECK = "agency_check"
    RECONCILIATION = "reconciliation"
    RESULT_DOCUMENT = "result_document"
    DASHBOARD = "dashboard"
    REPORT = "report"


# What must be handed in: each group asks for one of its documents.
ALWAYS = ((DocumentKind.LETTER,), (DocumentKind.STAFF,))
# What an agency has told once and is offered again: its staff, its system, its servers.
LASTING = frozenset(
    {DocumentKind.STAFF, DocumentKind.APPLICATION_DESIGN, DocumentKind.SERVER}
)
EITHER = ((DocumentKind.APPLICATION_DESIGN, DocumentKind.SERVER),)
BOTH = ((DocumentKind.APPLICATION_DESIGN,), (DocumentKind.SERVER,))

STEP_DOCUMENTS: Mapping[Step, tuple[DocumentKind, ...]] = MappingProxyType(
    {
        Step.DRAFT: (
            DocumentKind.LETTER,
            DocumentKind.STAFF,
            DocumentKind.APPLICATION_DESIGN,
            DocumentKind.SERVER,
        ),
        Step.COORDINATION: (DocumentKind.DISPOSITION,),
        Step.DATA_DEFINITION: (DocumentKind.DATA_DEFINITION,),
        Step.SCENARIO: (DocumentKind.SCENARIO,),
        Step.INTERCHANGE_DOCUMENT: (DocumentKind.INTERCHANGE,),
        Step.API: (DocumentKind.CONNECTION_TEST,),
        Step.CENTRAL_DATABASE: (DocumentKind.STORAGE,),
        Step.RESULT_DELIVERY: (DocumentKind.RESULT_LETTER,),
        Step.AGENCY_CHECK: (DocumentKind.AGENCY_CHECK,),
        Step.FINAL_DATA: (DocumentKind.RECONCILIATION,),
        Step.RESULT_DOCUMENT: (DocumentKind.RESULT_DOCUMENT,),
        Step.DASHBOARD: (DocumentKind.DASHBOARD,),
        Step.REPORT: (DocumentKind.REPORT,),
    }
)

_LONG, _DATE, _WHOLE, _YES = (
    FieldKind.LONG, FieldKind.DATE, FieldKind.WHOLE, FieldKind.YES,
)  # fmt: skip
_PDF = _("The signed document as a PDF or a picture")


def _field(
    name: str, label: str, kind: FieldKind = FieldKind.TEXT, hint: str = ""
) -> Field:
    """Return a field that the forms of these offices ask for always."""
    return Field(name, label, kind, is_required=True, hint=hint)


def _choice(
    name: str, label: str, choices: Mapping[str, str], *, is_required: bool = False
) -> Field:
    return Field(name, label, FieldKind.CHOICE, is_required, MappingProxyType(choices))


CLASSES = {
    "umum": _("open"),
    "terbatas": _("restricted"),
    "pribadi_umum": _("personal"),
    "pribadi_spesifik": _("personal, sensitive"),
}
ELEMENT_TYPES = {
    "text": _("text"),
    "integer": _("whole number"),
    "number": _("number"),
    "boolean": _("yes or no"),
    "date": _("date"),
    "timestamp": _("point in time"),
}
AGREED = {"agreed": _("agreed"), "not_agreed": _("not agreed")}
_PEOPLE = Part(
    _("Who was present"),
    (
        _field("name", _("Name")),
        Field("nip", _("NIP"), FieldKind.NIP),
        _field("position", _("Job title")),
        _field("institution", _("Agency or office")),
    ),
    name="people",
    row=_("Person"),
)
_MEETING = Part(
    _("Meeting"),
    (
        _field("held_on", _("Date"), _DATE),
        _field("place", _("Place")),
        Field("agenda", _("Agenda"), _LONG),
    ),
)

DOCUMENTS: Mapping[DocumentKind, Form] = MappingProxyType(
    {
        DocumentKind.LETTER: Form(
            _("Letter of request"),
            (
                Part(
                    _("The letter"),
                    (
                        _field("number", _("Number of the letter")),
                        _field("date", _("Date of the letter"), _DATE),
                        _choice("secrecy", _("Secrecy"), {"biasa": _("ordinary"), "terbatas": _("restricted"), "rahasia": _("secret")}),
                        _field("subject", _("Subject")),
                        Field("attachments", _("Number of attachments"), _WHOLE),
                        Field("copies", _("Copies to"), _LONG),
                    ),
                ),
                Part(
                    _("Who signs"),
                    (
                        _field("signer_name", _("Name")),
                        _field("signer_position", _("Job title"), hint=_("The head of the agency, or who acts for the head.")),
                        _field("signer_nip", _("NIP"), FieldKind.NIP),
                    ),
                ),
                Part(
                    _("What is asked for"),
                    (
                        _field("purpose", _("Purpose and use"), _LONG),
                        _field("legal_basis", _("Legal basis or task of the agency"), _LONG),
                        _choice("direction", _("Direction"), {"provides": _("the agency provides data"), "needs": _("the agency needs data"), "both": _("both")}, is_required=True),
                        _field("system", _("System of the agency")),
                        Field("counterpart", _("Other agency concerned")),
                        Field("wanted_on", _("Wanted by"), _DATE),
                    ),
                ),
                Part(
                    _("Who is responsible"),
                    (
                        _field("responsible", _("Responsible official")),
                        _field("technician", _("Technical contact")),
                        _field("technician_phone", _("Telephone of the technical contact"), FieldKind.PHONE),
                        _field("technician_email", _("E-mail of the technical contact"), FieldKind.EMAIL),
                    ),
                ),
            ),
            lead=_("The letter by which the head of the agency asks for the integration."),
            file=_PDF,
        ),
        DocumentKind.STAFF: Form(
            _("List of the staff who run the application or server"),
            (
                Part(
                    _("Decree on the team"),
                    (
                        Field("decree", _("Number of the decree")),
                        Field("decree_date", _("Date of the decree"), _DATE),
                        Field("decree_until", _("Valid until"), _DATE),
                    ),
                ),
                Part(
                    _("People on the list"),
                    (
                        _field("name", _("Name")),
                        Field("nip", _("NIP"), FieldKind.NIP, hint=_("Empty for who is no civil servant.")),
                        Field("rank", _("Rank")),
                        _field("position", _("Job title")),
                        _choice("role", _("Role"), {"application": _("runs the application"), "server": _("runs the server"), "database": _("runs the database"), "developer": _("develops"), "operator": _("operates")}, is_required=True),
                        _field("institution", _("Agency or vendor")),
                        _field("email", _("E-mail"), FieldKind.EMAIL),
                        _field("phone", _("Telephone"), FieldKind.PHONE),
                        Field("until", _("Active until"), _DATE),
                    ),
                    name="people",
                    row=_("Person"),
                ),
            ),
            lead=_("At least one technical contact and one deputy, whom the office may call."),
            file=_PDF,
        ),
        DocumentKind.APPLICATION_DESIGN: Form(
            _("Application design document"),
            (
                Part(
                    _("Application"),
                    (
                        _field("name", _("Name of the application")),
                        _field("function", _("What it does and for whom"), _LONG),
                        Field("service", _("Public service that it serves")),
                        _choice("status", _("State"), {"active": _("in use"), "planned": _("planned"), "ended": _("ended")}),
                        Field("built_in", _("Built in the year"), _WHOLE),
                    ),
                ),
                Part(
                    _("Technology"),
                    (
                        _field("language", _("Programming language and framework")),
                        _field("database", _("Database and its version")),
                        Field("apis", _("APIs that there are"), _LONG),
                        Field("sign_in", _("How programs sign in")),
                        Field("volume", _("How many rows, and how many more each month")),
                    ),
                ),
                Part(
                    _("Who made it"),
                    (
                        _field("developer", _("Developer")),
                        Field("maintained_until", _("Maintained by contract until"), _DATE),
                        _field("owner", _("Who owns the source code")),
                    ),
                ),
                Part(
                    _("Security"),
                    (
                        _choice("category", _("Category of the electronic system"), {"low": _("low"), "high": _("high"), "strategic": _("strategic")}),
                        Field("tested", _("Result of the security test"), _LONG),
                    ),
                ),
            ),
            lead=_("How the application is built that gives or takes the data."),
            file=_("Drawings, data dictionary or description of the API, as a PDF or a picture"),
        ),
        DocumentKind.SERVER: Form(
            _("Server specification document"),
            (
                Part(
                    _("Servers"),
                    (
                        _field("host", _("Name of the server")),
                        _choice("environment", _("Environment"), {"production": _("production"), "test": _("test"), "development": _("development")}, is_required=True),
                        _field("local_ip", _("Local address (IP)")),
                        Field("public_ip", _("Public address (IP)")),
                        _field("system", _("Operating system and its version")),
                        Field("size", _("CPU, memory, disk")),
                        _field("web_server", _("Web server")),
                        _field("ports", _("Open ports")),
                        Field("tls_until", _("TLS certificate valid until"), _DATE),
                        Field("network", _("Network, firewall")),
                        Field("location", _("Where it stands")),
                    ),
                    name="servers",
                    row=_("Server"),
                ),
                Part(
                    _("Backup"),
                    (
                        _field("backup", _("When it is backed up")),
                        Field("monitoring", _("How it is monitored")),
                        Field("administrator", _("Who runs it")),
                    ),
                ),
            ),
            lead=_("Where the application runs, and how the office's server reaches it."),
            file=_PDF,
        ),
        DocumentKind.DISPOSITION: Form(
            _("Disposition and request to define the data"),
            (
                Part(
                    _("Disposition"),
                    (
                        Field("agenda_number", _("Number in the book of incoming letters")),
                        _field("to", _("Passed on to")),
                        _field("instruction", _("Instruction"), _LONG),
                        Field("due_on", _("To be done by"), _DATE),
                    ),
                ),
                Part(
                    _("Request to define"),
                    (
                        _field("team", _("Technical team")),
                        _field("asked", _("What the agency is asked to define"), _LONG),
                    ),
                ),
            ),
            lead=_("The head of the office gives the request to a team and has the agency define its data."),
        ),
        DocumentKind.DATA_DEFINITION: Form(
            _("Data definition document"),
            (
                Part(
                    _("Purpose"),
                    (
                        _field("purpose", _("What the data is used for"), _LONG),
                        _field("legal_basis", _("Legal basis"), _LONG),
                        _field("dataset", _("Name of the dataset")),
                        _choice("kind", _("Kind of data"), {"master": _("master data"), "transaction": _("transactions"), "reference": _("reference data")}, is_required=True),
                        Field("frequency", _("How often it changes")),
                    ),
                ),
                Part(
                    _("Data elements"),
                    (
                        _field("name", _("Name")),
                        _choice("type", _("Type"), ELEMENT_TYPES, is_required=True),
                        Field("is_key", _("Part of the key"), _YES),
                        Field("is_needed", _("Must be filled in"), _YES),
                        _field("definition", _("Definition")),
                        Field("unit", _("Unit")),
                        Field("code_list", _("Code list")),
                        _choice("classification", _("Class"), CLASSES, is_required=True),
                        Field("example", _("Example, masked")),
                    ),
                    name="elements",
                    row=_("Element"),
                ),
            ),
            lead=_("Which data is to be joined up, element by element. The contract is drafted from it."),
        ),
        DocumentKind.SCENARIO: Form(
            _("Minutes of the integration scenario"),
            (
                Part(_("Legal"), (_field("legal", _("Basis, consent of the owner of the data, personal data"), _LONG),)),
                Part(_("Organisational"), (_field("organisational", _("Who does what on both sides, and who is called when something breaks"), _LONG),)),
                Part(_("Semantic"), (_field("semantic", _("What elements and codes mean, and which side is the truth"), _LONG),)),
                Part(
                    _("Technical"),
                    (
                        _field("technical", _("Web service, direction, how often, how programs sign in"), _LONG),
                        Field("trial", _("Result of the trial call on masked sample data"), _LONG),
                    ),
                ),
                _MEETING,
                _PEOPLE,
                Part(_("Outcome"), (_field("decision", _("What was agreed"), _LONG), Field("follow_up", _("What is to be done, by whom and when"), _LONG))),
            ),
            lead=_("What both sides agreed. Who does not agree says so below: it goes back to the definition."),
            file=_("The signed minutes as a PDF or a picture"),
        ),
        DocumentKind.INTERCHANGE: Form(
            _("Interchange document"),
            (
                Part(
                    _("Between whom"),
                    (
                        _field("provider", _("Who provides the data, by whom and on what authority"), _LONG),
                        _field("receiver", _("Who receives it, by whom and on what authority"), _LONG),
                        _field("purpose", _("Purpose"), _LONG),
                        _field("legal_basis", _("Legal basis"), _LONG),
                    ),
                ),
                Part(
                    _("Exchange"),
                    (
                        _field("method", _("Direction and method")),
                        _field("frequency", _("How often and at what hours")),
                        _field("service_level", _("Availability and longest delay")),
                        _field("quality", _("Rules of quality and their limits"), _LONG),
                        Field("faults", _("What is done about faults"), _LONG),
                    ),
                ),
                Part(
                    _("Protection"),
                    (
                        _field("onward", _("Further processing, and what may not be passed on"), _LONG),
                        _field("retention", _("How long it is kept and how it is destroyed"), _LONG),
                        _field("security", _("Security measures"), _LONG),
                        Field("impact", _("Assessment of the impact on personal data, in short"), _LONG),
                        Field("incidents", _("Whom to call about an incident, within 3 × 24 hours")),
                    ),
                ),
                Part(
                    _("Term"),
                    (
                        _field("valid_from", _("Valid from"), _DATE),
                        _field("valid_until", _("Valid until"), _DATE),
                        Field("changes", _("Changes and their notice")),
                        Field("ending", _("How it ends")),
                    ),
                ),
            ),
            lead=_("The agreement on the exchange of data over web services, signed by all sides."),
            file=_("The signed document as a PDF"),
        ),
        DocumentKind.CONNECTION_TEST: Form(
            _("Minutes of the connection test"),
            (
                _MEETING,
                _PEOPLE,
                Part(
                    _("Result"),
                    (
                        _field("tested", _("What was tested, and how"), _LONG),
                        _field("result", _("Result"), _LONG),
                        Field("open_points", _("What is still open"), _LONG),
                    ),
                ),
            ),
            lead=_("The API is there, and a test proves that it keeps to the contract."),
        ),
        DocumentKind.STORAGE: Form(
            _("Minutes of the storage in the central database"),
            (
                Part(
                    _("Result"),
                    (
                        _field("source_rows", _("Rows that the agency counts"), _WHOLE),
                        _field("differences", _("Differences and what became of them"), _LONG),
                        Field("quality", _("What was set aside, and why"), _LONG),
                    ),
                ),
            ),
            lead=_("All data, master and transactions, stands in one database; what came in agrees with what was sent."),
        ),
        DocumentKind.RESULT_LETTER: Form(
            _("Result letter"),
            (
                Part(
                    _("Letter"),
                    (
                        _field("recipient", _("To")),
                        _field("text", _("What is delivered"), _LONG),
                        Field("check_until", _("The agency is asked to check by"), _DATE),
                        Field("copies", _("Copies to"), _LONG),
                    ),
                ),
            ),
            lead=_("Tells the agency that its data is there, and asks it to check."),
        ),
        DocumentKind.AGENCY_CHECK: Form(
            _("Result of the agency's check"),
            (
                Part(
                    _("Findings"),
                    (
                        _choice("wrong", _("What is wrong"), {"value": _("a value"), "missing": _("the record is missing"), "surplus": _("the record should not be there")}, is_required=True),
                        _field("key", _("Key of the record"), hint=_("Several parts with ; between them.")),
                        Field("element", _("Element")),
                        Field("found", _("What stands there")),
                        Field("expected", _("What it should be"), hint=_("Empty: nothing should stand there.")),
                        Field("cause", _("Cause")),
                        Field("is_done", _("Mended in the agency's own system"), _YES),
                        Field("given_up", _("Not upheld any more, because")),
                    ),
                    name="findings",
                    row=_("Finding"),
                ),
                Part(
                    _("Result"),
                    (
                        _field("checked_by", _("Checked by")),
                        _field("checked_on", _("Checked on"), _DATE),
                        _field("result", _("Result"), _LONG),
                    ),
                ),
            ),
            lead=_("The agency compares with its own system and mends that. Silence is no consent."),
        ),
        DocumentKind.RECONCILIATION: Form(
            _("Minutes of the reconciliation"),
            (
                _MEETING,
                _PEOPLE,
                Part(
                    _("Result"),
                    (
                        _field("source_rows", _("Rows that the agency counts"), _WHOLE),
                        _field("result", _("Result"), _LONG),
                    ),
                ),
            ),
            lead=_("The final data as both sides have it."),
        ),
        DocumentKind.RESULT_DOCUMENT: Form(
            _("Document on the result of the interchange and integration"),
            (
                Part(
                    _("Content"),
                    (
                        _field("summary", _("Summary"), _LONG),
                        _field("architecture", _("Servers, network, security"), _LONG),
                        Field("tests", _("Tests and their results"), _LONG),
                        Field("handover", _("What is handed over"), _LONG),
                    ),
                ),
            ),
            lead=_("What was built and tested, for the files of both sides."),
        ),
        DocumentKind.DASHBOARD: Form(
            _("Decision on the dashboard"),
            (
                Part(
                    _("Word of the agency"),
                    (
                        _choice("agency_says", _("The agency says"), {"fits": _("it fits"), "does_not_fit": _("it does not fit")}, is_required=True),
                        _field("agency_reason", _("In its own words"), _LONG),
                        Field("agency_person", _("Who said so, and when")),
                    ),
                ),
                Part(_("Decision"), (_field("decision", _("Why the decision is so"), _LONG),)),
            ),
            lead=_("The agency says whether the integrated data fits; the Pejabat Administrator decides."),
        ),
        DocumentKind.REPORT: Form(
            _("Report on the result of the integration"),
            (
                Part(
                    _("Report"),
                    (
                        _field("summary", _("Summary"), _LONG),
                        _field("scope", _("What was integrated"), _LONG),
                        Field("obstacles", _("Obstacles"), _LONG),
                        _field("recommendations", _("Recommendations"), _LONG),
                        _field("updates", _("How the data is kept up to date"), _LONG),
                        _field("review_on", _("To be reviewed on"), _DATE),
                    ),
                ),
            ),
            lead=_("The report with which the procedure ends; the pulls go on."),
        ),
    }
)  # fmt: skip


def proposed_in(step: Step) -> tuple[DocumentKind, ...]:
    """Return what a step's approval is about: the check of the file is about the draft's."""
    return STEP_DOCUMENTS.get(Step.DRAFT if step is Step.FILE_CHECK else step, ())


def lacking(
    present: frozenset[DocumentKind], *, asks_for_both: bool, is_amendment: bool = False
) -> list[tuple[DocumentKind, ...]]:
    """Return the groups of which no document is there: one of each is to be handed in.

    ``asks_for_both``: design and server are groups of their own. Of an amendment the letter
    alone is asked: the rest is known.
    """
    groups = (*ALWAYS, *(BOTH if asks_for_both else EITHER))
    if is_amendment:
        groups = ((DocumentKind.LETTER,),)
    return [group for group in groups if not present & set(group)]


def is_present(form: Form, values: Values, *, has_file: bool) -> bool:
    """Tell whether a document counts as handed in: by its file, or filled in here."""
    return has_file or any(place.value for place in places(form, values))
