"""What every template knows: the menu, the person's permissions, names of states."""

from typing import Any

from flask import Flask, request, url_for
from flask_babel import get_locale, gettext

from app.core.policy import Permission
from app.web.guard import principal_now
from app.web.i18n import lazy_gettext

STATES = {
    "queued": lazy_gettext("waiting"),
    "running": lazy_gettext("running"),
    "succeeded": lazy_gettext("done"),
    "failed": lazy_gettext("failed"),
    "dead": lazy_gettext("given up"),
    "held": lazy_gettext("held"),
    "skipped": lazy_gettext("left out"),
    "draft": lazy_gettext("draft"),
    "active": lazy_gettext("active"),
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
    "retry": lazy_gettext("tried again"),
    "True": lazy_gettext("yes"),
    "False": lazy_gettext("no"),
}
MENU = (
    (lazy_gettext("Data"), ("datasets", "downloads")),
    (
        lazy_gettext("Exchange"),
        ("contracts", "sources", "schedules", "runs", "quarantine"),
    ),
    (lazy_gettext("Administration"), ("agencies", "users", "roles", "audit")),
)


def state_label(value: object) -> Any:
    """Return a state's name as a lazy text, for forms that are built before a request."""
    return STATES[str(value)]


def state_name(value: object) -> str:
    """Name a state, kind, type or class in the reader's language."""
    text = str(value)
    return str(STATES.get(text, text))


def init_app(app: Flask, office_name: str) -> None:
    """Give every template the same small vocabulary."""

    def menu() -> list[tuple[Any, list[dict[str, Any]]]]:
        views = app.extensions["simpul_admin_views"]
        here = (request.endpoint or "").partition(".")[0]
        groups = []
        for name, endpoints in MENU:
            items = [
                {
                    "name": views[endpoint].name,
                    "url": url_for(f"{endpoint}.{views[endpoint]._default_view}"),  # noqa: SLF001
                    "active": endpoint == here,
                }
                for endpoint in endpoints
                if views[endpoint].is_accessible()
            ]
            if items:
                groups.append((name, items))
        return groups

    def may(permission: str) -> bool:
        return principal_now().may(Permission(permission))

    def page_url(page: int) -> str:
        values = request.args.to_dict()
        values["page"] = str(page)
        address: dict[str, Any] = {**(request.view_args or {}), **values}
        return url_for(request.endpoint or "home.index", **address)

    @app.context_processor
    def words() -> dict[str, Any]:
        return {
            "office_menu": menu,
            "office_name": office_name,
            "may": may,
            "status_name": state_name,
            "page_url": page_url,
            "get_locale": get_locale,
            "_": gettext,
        }
