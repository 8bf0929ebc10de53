"""Small pictures of the menu, one by one out of Bootstrap's own file: no page loads them all."""

import re
from functools import cache
from pathlib import Path

import flask_bootstrap
from flask import Flask
from markupsafe import Markup

FILE = (
    Path(flask_bootstrap.__file__).parent / "static" / "bootstrap5" / "icons" / "bootstrap-icons.svg"
)  # fmt: skip


@cache
def icon(name: str) -> Markup:
    """Return a picture that readers of the screen pass over; raises ``KeyError`` for none."""
    found = re.search(
        rf'<symbol[^>]*\bid="{re.escape(name)}"[^>]*>(.*?)</symbol>', _all()
    )
    if found is None:
        raise KeyError(name)
    shapes = Markup(found[1])  # noqa: S704 - a file of the wheel's
    return Markup(
        '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true">{}</svg>'
    ).format(shapes)


@cache
def _all() -> str:
    return FILE.read_text(encoding="utf-8")


def init_app(app: Flask) -> None:
    """Give templates the pictures."""
    app.jinja_env.globals["icon"] = icon
