"""What every template knows: the menu, the person's permissions, names of states."""

from typing import Any

from flask import Flask, request, url_for
from flask_babel import get_locale, gettext

from app.core.policy import Permission
from app.web.guard import principal_now
from app.web.i18n import lazy_gettext
from app.web.paging import address_here

STATES = {
    "queued": lazy_gettext("waiting"),
    "running": lazy_gettext("running"),
    "succeeded": lazy_gettext("done"),
    "failed": lazy_gettext("failed"),
    "dead": lazy_gettext("given up"),
    "held": lazy_gettext("held"),
    "skipped": lazy_gettext("left out"),
    "cancelled": lazy_gettext("cancelled"),
    "catch_up": lazy_gettext("make up for each of them"),
    "coalesce": lazy_gettext("one run for all of them"),
    "skip": lazy_gettext("leave them out"),
    "national": lazy_gettext("national holiday"),
    "collective": lazy_gettext("collective leave"),
    "draft": lazy_gettext("draft"),
    "received": lazy_gettext("received"),
    "in_hand": lazy_gettext("being worked on"),
    "answered": lazy_gettext("answered"),
    "turned_down": lazy_gettext("not taken up"),
    "closed": lazy_gettext("closed"),
    "complaint": lazy_gettext("complaint"),
    "suggestion": lazy_gettext("suggestion"),
    "input": lazy_gettext("input"),
    "aspiration": lazy_gettext("aspiration"),
    "information": lazy_gettext("request for information"),
    "letter": lazy_gettext("letter"),
    "email": lazy_gettext("e-mail"),
    "phone": lazy_gettext("telephone"),
    "fax": lazy_gettext("fax"),
    "in_person": lazy_gettext("in person"),
    "lapor": "LAPOR!",
    "portal": lazy_gettext("portal"),
    "form": lazy_gettext("form for everybody"),
    "receive": lazy_gettext("came in"),
    "assign": lazy_gettext("given to"),
    "forward": lazy_gettext("passed on to"),
    "reply": lazy_gettext("replied"),
    "answer": lazy_gettext("answered"),
    "refuse": lazy_gettext("not taken up"),
    "close": lazy_gettext("closed"),
    "reopen": lazy_gettext("taken up once more"),
    "unsigned": lazy_gettext("nobody signs it"),
    "for_initials": lazy_gettext("waits for initials"),
    "for_signature": lazy_gettext("waits for signatures"),
    "for_attest": lazy_gettext("waits for who attests it"),
    "signed": lazy_gettext("signed"),
    "sent_back": lazy_gettext("sent back"),
    "initial": lazy_gettext("initials"),
    "signature": lazy_gettext("signature"),
    "scan": lazy_gettext("scan of what was signed by pen"),
    "attest": lazy_gettext("attested"),
    "send_back": lazy_gettext("sent back"),
    "deliver": lazy_gettext("delivered"),
    "open": lazy_gettext("opened"),
    "finding_open": lazy_gettext("waits for a pull"),
    "finding_settled": lazy_gettext("settled by a pull"),
    "finding_given_up": lazy_gettext("given up"),
    "finding_unclear": lazy_gettext("cannot be compared"),
    "proposed": lazy_gettext("proposed"),
    "ahead": lazy_gettext("begins later"),
    "over": lazy_gettext("its last day is past"),
    "ended": lazy_gettext("ended"),
    "declined": lazy_gettext("declined"),
    "active": lazy_gettext("active"),
    "healthy": lazy_gettext("in order"),
    "needs_look": lazy_gettext("needs a look"),
    "stopped": lazy_gettext("stands still"),
    "retired": lazy_gettext("retired"),
    "master": lazy_gettext("master data"),
    "transaction": lazy_gettext("transactions"),
    "reference": lazy_gettext("reference data"),
    "snapshot": lazy_gettext("whole set each time"),
    "upsert": lazy_gettext("new and changed rows"),
    "text": lazy_gettext("text"),
    "integer": lazy_gettext("whole number"),
    "number": lazy_gettext("number"),
    "boolean": lazy_gettext("yes or no"),
    "date": lazy_gettext("date"),
    "timestamp": lazy_gettext("point in time"),
    "umum": lazy_gettext("open"),
    "terbatas": lazy_gettext("restricted"),
    "pribadi_umum": lazy_gettext("personal"),
    "pribadi_spesifik": lazy_gettext("personal, sensitive"),
    "create": lazy_gettext("created"),
    "update": lazy_gettext("changed"),
    "delete": lazy_gettext("removed"),
    "plt": lazy_gettext("acting official (Plt)"),
    "plh": lazy_gettext("daily acting official (Plh)"),
    "delegation": lazy_gettext("by delegation"),
    "always": lazy_gettext("always"),
    "on_problem": lazy_gettext("only when something is wrong"),
    "daily_digest": lazy_gettext("once a day, all together"),
    "never": lazy_gettext("never"),
    "waiting": lazy_gettext("waiting"),
    "sending": lazy_gettext("being sent"),
    "sent": lazy_gettext("sent"),
    "undeliverable": lazy_gettext("undeliverable"),
    "add_passkey": lazy_gettext("passkey added"),
    "drop_passkey": lazy_gettext("passkey taken away"),
    "view_as": lazy_gettext("looked on as an agency"),
    "log_in": lazy_gettext("logged in"),
    "retry": lazy_gettext("tried again"),
    "cancel": lazy_gettext("called off"),
    "replay": lazy_gettext("done again from the kept answer"),
    "rollback": lazy_gettext("rolled back"),
    "export": lazy_gettext("asked for"),
    "preview": lazy_gettext("tried out"),
    "revert": lazy_gettext("put back"),
    "restore": lazy_gettext("brought back from the trash"),
    "empty": lazy_gettext("forgotten for good"),
    "pulls": lazy_gettext("pulls"),
    "checks": lazy_gettext("activations"),
    "exports": lazy_gettext("exports"),
    "notices": lazy_gettext("housekeeping and notices"),
    "worker": lazy_gettext("worker"),
    "scheduler": lazy_gettext("scheduler"),
    "api": lazy_gettext("API"),
    "xlsx": lazy_gettext("Excel file"),
    "whole": lazy_gettext("at once"),
    "begin": lazy_gettext("begun"),
    "end": lazy_gettext("sent whole"),
    "broken": lazy_gettext("broken off"),
    "True": lazy_gettext("yes"),
    "False": lazy_gettext("no"),
}
OBJECTS = {
    "agency": lazy_gettext("agency"),
    "office": lazy_gettext("office"),
    "holiday": lazy_gettext("holiday"),
    "user": lazy_gettext("person"),
    "role": lazy_gettext("role"),
    "duty": lazy_gettext("duty for somebody else"),
    "invitation": lazy_gettext("invitation"),
    "factor_reset": lazy_gettext("lost second factor"),
    "integration_request": lazy_gettext("request"),
    "document": lazy_gettext("document"),
    "paper": lazy_gettext("paper"),
    "paper_wording": lazy_gettext("wording of a paper"),
    "document_file": lazy_gettext("file"),
    "document_version": lazy_gettext("document as it was handed in"),
    "request_message": lazy_gettext("message"),
    "request_note": lazy_gettext("note of the office"),
    "complaint": lazy_gettext("complaint or question"),
    "complaint_sender": lazy_gettext("sender of a complaint"),
    "contract": lazy_gettext("contract"),
    "contract_version": lazy_gettext("contract version"),
    "contract_field": lazy_gettext("contract field"),
    "source": lazy_gettext("source"),
    "host": lazy_gettext("host"),
    "schedule": lazy_gettext("schedule"),
    "dataset": lazy_gettext("dataset"),
    "agreement": lazy_gettext("agreement"),
    "integration": lazy_gettext("integration"),
    "change_notice": lazy_gettext("notice of a change"),
    "job_run": lazy_gettext("run"),
    "api_client": lazy_gettext("API client"),
    "api_key": lazy_gettext("API key"),
    "api_grant": lazy_gettext("API grant"),
    "trash": lazy_gettext("thing in the trash"),
}
PERMISSIONS = {
    Permission.AGENCY_READ: lazy_gettext("see agencies"),
    Permission.AGENCY_WRITE: lazy_gettext("change agencies"),
    Permission.AGENCY_VIEW_AS: lazy_gettext("look on as an agency"),
    Permission.OFFICE_WRITE: lazy_gettext(
        "change the office's name, letterhead and deadlines"
    ),
    Permission.USER_READ: lazy_gettext("see people"),
    Permission.USER_WRITE: lazy_gettext("change people"),
    Permission.CONTRACT_READ: lazy_gettext("see contracts"),
    Permission.CONTRACT_WRITE: lazy_gettext("write contracts"),
    Permission.CONTRACT_ACTIVATE: lazy_gettext("activate contracts"),
    Permission.SOURCE_READ: lazy_gettext("see sources"),
    Permission.SOURCE_WRITE: lazy_gettext("change sources"),
    Permission.SOURCE_APPROVE: lazy_gettext("approve addresses of sources"),
    Permission.SOURCE_RUN: lazy_gettext("pull now"),
    Permission.SOURCE_PREVIEW: lazy_gettext("try sources out"),
    Permission.SCHEDULE_READ: lazy_gettext("see schedules"),
    Permission.SCHEDULE_WRITE: lazy_gettext("change schedules"),
    Permission.RUN_READ: lazy_gettext("see runs"),
    Permission.RUN_RETRY: lazy_gettext("try runs again"),
    Permission.RUN_CANCEL: lazy_gettext("cancel runs"),
    Permission.LEDGER_READ: lazy_gettext("see queues and workers"),
    Permission.QUARANTINE_READ: lazy_gettext("see records set aside"),
    Permission.QUARANTINE_RELEASE: lazy_gettext("let held pulls pass"),
    Permission.DATASET_READ: lazy_gettext("see datasets"),
    Permission.DATASET_EXPORT: lazy_gettext("download Excel"),
    Permission.DATASET_ROLLBACK: lazy_gettext("roll datasets back"),
    Permission.AGREEMENT_READ: lazy_gettext("see agreements"),
    Permission.AGREEMENT_WRITE: lazy_gettext("propose and end agreements"),
    Permission.AGREEMENT_CONSENT: lazy_gettext(
        "agree that another agency receives our data"
    ),
    Permission.API_READ: lazy_gettext("see API clients and grants"),
    Permission.API_WRITE: lazy_gettext("give and take API access"),
    Permission.EXCHANGE_READ: lazy_gettext("see the exchange log"),
    Permission.REQUEST_READ: lazy_gettext("see requests"),
    Permission.REQUEST_ACT: lazy_gettext("act in requests, as the role says"),
    Permission.COMPLAINT_READ: lazy_gettext("see complaints and questions"),
    Permission.COMPLAINT_SEND: lazy_gettext(
        "send complaints and questions, reply to those passed on"
    ),
    Permission.COMPLAINT_WRITE: lazy_gettext("enter and answer complaints and questions"),
    Permission.MAIL_READ: lazy_gettext("see the outbox of mails"),
    Permission.MAIL_WRITE: lazy_gettext("have mails sent again"),
    Permission.AUDIT_READ: lazy_gettext("see the audit trail"),
    Permission.TRASH_READ: lazy_gettext("see what is in the trash"),
    Permission.TRASH_WRITE: lazy_gettext("move things to the trash and bring them back"),
}
MENU = (
    ("", ("home",)),
    (lazy_gettext("Service"), ("requests", "papers", "complaints", "expiring")),
    (
        lazy_gettext("Data"),
        ("datasets", "integrations", "agreements", "changes", "downloads"),
    ),
    (
        lazy_gettext("Exchange"),
        ("contracts", "sources", "hosts", "schedules", "runs", "quarantine"),
    ),
    (
        lazy_gettext("Access by programs"),
        ("developers", "api_clients", "api_grants", "exchange"),
    ),
    (
        lazy_gettext("Administration"),
        (
            "office",
            "holidays",
            "wordings",
            "agencies",
            "users",
            "roles",
            "outbox",
            "audit",
            "trash",
            "ledger",
        ),
    ),
)
ICONS = {
    "home": "house", "requests": "inbox", "papers": "pen", "datasets": "database", "agreements": "file-earmark-check", "downloads": "download", "complaints": "chat-left-text", "integrations": "diagram-3", "changes": "megaphone", "expiring": "hourglass-split", "contracts": "file-earmark-text",
    "sources": "plug", "hosts": "hdd-network", "schedules": "calendar3", "runs": "activity",
    "quarantine": "shield-exclamation", "developers": "code-slash", "api_clients": "cpu",
    "api_grants": "key", "exchange": "arrow-left-right", "agencies": "building", "users": "people",
    "roles": "person-badge", "outbox": "envelope", "audit": "clock-history", "trash": "trash3",
    "ledger": "stack", "office": "bank", "holidays": "calendar-heart", "wordings": "fonts",
}  # fmt: skip


def state_label(value: object) -> Any:
    """Return a state's name as a lazy text, for forms that are built before a request."""
    return STATES[str(value)]


def state_name(value: object) -> str:
    """Name a state, kind, type or class in the reader's language."""
    text = str(value)
    return str(STATES.get(text, text))


def object_name(table: str) -> str:
    """Name a kind of object in the reader's language."""
    return str(OBJECTS.get(table, table))


def permission_name(code: str) -> str:
    """Name what a role may do; a code that is no permission any more stays as it is."""
    return str(PERMISSIONS[Permission(code)]) if code in set(Permission) else code


def _is_looking_on() -> bool:
    """Tell whether somebody of the office looks on as an agency."""
    return principal_now().read_only


def init_app(app: Flask) -> None:
    """Give every template the same small vocabulary."""

    def menu() -> list[tuple[Any, list[dict[str, Any]]]]:
        views = app.extensions["simpul_admin_views"]
        here = (request.endpoint or "").partition(".")[0]
        groups = []
        for name, endpoints in MENU:
            items = [
                {
                    "name": views[endpoint].name,
                    "endpoint": endpoint,
                    "icon": ICONS[endpoint],
                    "url": url_for(f"{endpoint}.{views[endpoint]._default_view}"),  # noqa: SLF001
                    "active": endpoint == here,
                }
                for endpoint in endpoints
                if views[endpoint].is_accessible()
            ]
            if items:
                groups.append((name, items))
        return groups

    def pages_named(text: str) -> list[dict[str, Any]]:
        """Return the pages of the menu that have all words of a text in their names."""
        words = text.casefold().split()
        pages = [page for _group, some in menu() for page in some]
        return [
            page
            for page in pages
            if all(word in str(page["name"]).casefold() for word in words)
        ]

    def may(permission: str) -> bool:
        return principal_now().may(Permission(permission))

    def place_url(**place: str) -> str:
        """Return the address of the list at hand at another place, narrowed as it is."""
        return address_here("after", "before", **place)

    @app.context_processor
    def words() -> dict[str, Any]:
        return {
            "office_menu": menu,
            "pages_named": pages_named,
            "object_name": object_name,
            "may": may,
            "is_looking_on": _is_looking_on,
            "status_name": state_name,
            "place_url": place_url,
            "get_locale": get_locale,
            "_": gettext,
        }
