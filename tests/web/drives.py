"""How each route of the application is driven: what object it names, and by which argument.

The matrix of scope walks the URL map by this table. A route that nobody wrote down here
fails it; so does an entry whose route is gone.
"""

from typing import NamedTuple

from flask import Flask
from werkzeug.routing import Rule

from app.web.guard import Everyone, Shut, policy_of
from app.web.views import ScopedView


class Drive(NamedTuple):
    """A route about one object: which kind (its table), named by which argument.

    ``fixed`` fills the other arguments. ``always``: who may see the object may see the page.
    """

    kind: str
    argument: str = "ident"
    fixed: tuple[tuple[str, str], ...] = ()
    always: bool = True


# The routes of every ScopedView name the row in the query.
OF_A_ROW = frozenset({"details_view", "edit_view", "delete_view", "action_view"})

OBJECTS = {
    "account.end": Drive("login_session"),
    "account.end_duty": Drive("duty"),
    "activation.activate": Drive("contract_version"),
    "activation.plan": Drive("contract_version", always=False),  # of a draft alone
    "agencies.view_as": Drive("agency"),
    "agreements.consent": Drive("agreement"),
    "agreements.end": Drive("agreement"),
    "api_clients.make_key": Drive("api_client"),
    "api_clients.revoke_key": Drive("api_key"),
    "audit.request_view": Drive("request", "request_id"),
    "audit.revert_event": Drive("audit_event", always=False),
    "audit.revert_request": Drive("request", "request_id", always=False),
    "changes.announce": Drive("contract_version", always=False),  # of a draft alone
    "changes.answer": Drive("change_notice"),
    "changes.impact": Drive("contract_version", always=False),
    "complaints.act": Drive("complaint", fixed=(("deed", "answer"),)),
    "complaints.note": Drive("complaint"),
    "complaints.show": Drive("complaint"),
    "contract_files.apply": Drive("contract"),
    "contract_files.as_odcs": Drive("contract_version"),
    "contract_files.as_workbook": Drive("contract_version"),
    "contract_files.of": Drive("contract"),
    "contracts.listed": Drive("contract"),
    "contracts.next_draft": Drive("contract_version"),
    "contracts.show": Drive("contract"),
    "contracts.version": Drive("contract_version"),
    "datasets.dictionary": Drive("dataset", "slug"),
    "datasets.row": Drive("dataset", "slug", (("token", "WyIwMDAxIl0"),), always=False),
    "datasets.show": Drive("dataset", "slug"),
    "developers.show": Drive("dataset", "slug"),
    "developers.trial": Drive("dataset", "slug"),
    "downloads.fetch": Drive("export_run"),
    "downloads.request_export": Drive("dataset", "slug"),
    "edits.undo": Drive("job_run", always=False),  # of a change of many rows alone
    "hosts.lift": Drive("host"),
    "imports.apply": Drive("data_import"),
    "imports.file": Drive("data_import", always=False),  # before it is brought in
    "imports.show": Drive("data_import", always=False),
    "notifications.open": Drive("notification", "number"),
    "outbox.again": Drive("mail"),
    "pulls.again": Drive("source"),
    "pulls.replay": Drive("source"),
    "pulls.rollback": Drive("source"),
    "pulls.run": Drive("source"),
    "pulls.schedule": Drive("source"),
    "pulls.source": Drive("source"),
    "papers.anew": Drive("paper"),
    "papers.attest": Drive("paper"),
    "papers.file": Drive("paper", always=False),  # where the store has it
    "papers.page": Drive("paper", fixed=(("page", "0"),), always=False),
    "papers.scan": Drive("paper"),
    "papers.scan_picture": Drive("paper", always=False),
    "papers.send_back": Drive("paper"),
    "papers.show": Drive("paper", always=False),
    "quarantine.show": Drive("quarantined_record"),
    # Named by its number, which the matrix does not.
    "requests.by_number": Drive("integration_request", "number", always=False),
    "requests.report": Drive(
        "integration_request", fixed=(("form", "json"),), always=False
    ),
    "requests.whole": Drive("integration_request", always=False),  # one that has ended
    "requests.act": Drive("integration_request"),
    "requests.contract": Drive("integration_request"),
    "requests.trial": Drive("integration_request"),
    "requests.again": Drive("integration_request", fixed=(("kind", "staff"),)),
    "requests.attach": Drive("integration_request", fixed=(("kind", "letter"),)),
    "requests.detach": Drive("document_file"),
    "requests.file": Drive("document_file", always=False),  # where the store has it
    "requests.paper": Drive("paper", always=False),  # where the store has it
    "requests.page": Drive("document_file", fixed=(("page", "0"),), always=False),
    "requests.document": Drive("integration_request", fixed=(("kind", "letter"),)),
    "requests.message": Drive("integration_request"),
    "requests.note": Drive("integration_request"),
    "requests.producer": Drive("integration_request"),
    "requests.remark": Drive("integration_request", fixed=(("kind", "letter"),)),
    "requests.show": Drive("integration_request"),
    "runs.accept": Drive("job_run"),
    "runs.cancel": Drive("job_run"),
    "runs.part": Drive("job_run"),
    "runs.retry": Drive("job_run"),
    "runs.show": Drive("job_run"),
    "saved_views.delete": Drive("saved_view"),
    "sources.approve": Drive("source"),
    "sources.edit": Drive("source"),
    "sources.look": Drive("source"),
    "sources.plain": Drive("source"),
    "sources.whole": Drive("source"),
    "trash.put": Drive("agency", fixed=(("table", "agency"),)),
    "trash.restore": Drive("trash"),
    "users.answer_factor_reset": Drive("factor_reset", fixed=(("answer", "yes"),)),
    "users.ask_factor_reset": Drive("user"),
    "users.end_duty": Drive("duty"),
    "users.hand_over": Drive("user"),
    "users.invite": Drive("user", fixed=(("way", "paper"),)),
}

# Lists that tell how many rows they have, beside those of each ScopedView.
LISTS = {
    "complaints.index": "complaint",
    "quarantine.index": "quarantined_record",
    "requests.index": "integration_request",
    "runs.index": "job_run",
    "trash.index": "trash",
}

# Pages without an object in their address: lists, one's own things, and what a form names.
PAGES = frozenset(
    {
        "account.delegate", "account.end_others", "account.index", "account.stop_viewing",
        "activation.index", "contract_files.create", "contract_files.index", "contracts.index", "contracts.new", "datasets.index",
        "developers.index", "downloads.index", "downloads.pending", "edits.apply",
        "edits.cell", "complaints.counts", "complaints.new", "edits.index", "expiring.index", "find.index", "find.part", "home.index",
        "home.language", "imports.index", "imports.template", "ledger.index",
        "papers.index", "papers.initial", "papers.signed", "papers.together", "notifications.index", "notifications.read_all", "notifications.wishes",
        "pulls.index", "pulls.many", "requests.board", "requests.mine", "requests.new", "requests.review", "runs.retry_all", "runs.retry_many",
        "saved_views.index", "wordings.edit", "wordings.index", "wordings.preview", "sources.index", "sources.new", *LISTS,
    }
)  # fmt: skip

# The log-in's own routes: about who sends the request and nobody else.
OWN_LOG_IN = frozenset(
    {
        "security.change_password", "security.logout", "security.mf_recovery_codes",
        "security.two_factor_setup_validate", "security.verify", "security.wan_delete",
        "security.wan_register", "security.wan_register_response", "security.wan_verify",
        "security.wan_verify_response",
    }
)  # fmt: skip


def drive_of(app: Flask, endpoint: str) -> Drive | None:
    """Return how a route about one object is driven; None for a page without one."""
    if endpoint in OBJECTS:
        return OBJECTS[endpoint]
    name, _, method = endpoint.partition(".")
    view = app.extensions["simpul_admin_views"].get(name)
    if isinstance(view, ScopedView) and method in OF_A_ROW:
        return Drive(view.model.__tablename__, "id")
    return None


def listed_table(app: Flask, endpoint: str) -> str | None:
    """Return the table of a list that tells how many rows it has."""
    name, _, method = endpoint.partition(".")
    view = app.extensions["simpul_admin_views"].get(name)
    if isinstance(view, ScopedView) and method == "index_view":
        return str(view.model.__tablename__)
    return LISTS.get(endpoint)


def is_declared(app: Flask, endpoint: str) -> bool:
    """Tell whether somebody wrote down how a route is driven."""
    method = endpoint.partition(".")[2]
    return (
        policy_of(app, endpoint) in {Everyone, Shut}  # test_access counts them
        or drive_of(app, endpoint) is not None
        or listed_table(app, endpoint) is not None
        or endpoint in PAGES | OWN_LOG_IN
        or (method == "create_view" and endpoint not in OBJECTS)
    )


def address(app: Flask, rule: Rule, drive: Drive, ident: object) -> str:
    """Return the address of a route for one object."""
    values = {"export_type": "csv", **dict(drive.fixed), drive.argument: str(ident)}
    return str(app.url_map.bind("localhost").build(rule.endpoint, values))
