"""Turning the pages of a list by its address."""

from typing import Any

from flask import flash, request, url_for
from flask_babel import gettext

from app.core.lists import Slice, Turn


def turn() -> Turn:
    """Return the place that the request's page of a list begins or ends at."""
    return Turn(request.args.get("after", ""), request.args.get("before", ""))


def tell_lost(page: Slice) -> None:
    """Say so when an address that somebody may have typed named no place of the list."""
    if page.is_lost:
        flash(
            gettext("This address names no place of the list; here is its beginning."),
            "warning",
        )


def address_here(*dropped: str, **changed: str) -> str:
    """Return the address of the page at hand, some of its parts dropped or changed."""
    kept = {name: many for name, many in request.args.lists() if name not in dropped}
    parts: dict[str, Any] = {**kept, **(request.view_args or {}), **changed}
    return url_for(request.endpoint or "home.index", **parts)
