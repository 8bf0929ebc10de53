"""Words: Indonesian first, English second; message ids are the English sentences.

Catalogues are compiled into the data folder at start when their ``.po`` is newer, so that
nothing compiled is kept in the repository and no build step can be forgotten.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from flask import Flask, request, session
from flask_babel import Domain, format_decimal, get_locale, gettext, lazy_gettext

from app.web.extensions import babel

FOLDER = Path(__file__).parent.parent / "translations"
LANGUAGES = ("id", "en")

__all__ = ["LANGUAGES", "compiled", "init_app", "lazy_gettext", "say"]


def compiled(home: Path) -> Path:
    """Compile every catalogue that changed; return the folder that holds them."""
    target = home / "translations"
    for source in FOLDER.glob("*/LC_MESSAGES/*.po"):
        made = target / source.relative_to(FOLDER).with_suffix(".mo")
        if made.exists() and made.stat().st_mtime_ns >= source.stat().st_mtime_ns:
            continue
        made.parent.mkdir(parents=True, exist_ok=True)
        half = made.with_suffix(f".{os.getpid()}.part")
        with source.open("rb") as po, half.open("wb") as mo:
            write_mo(mo, read_po(po, locale=source.parts[-3]))
        half.replace(made)  # whole or not at all: several processes may do this at once
    return target


class _Words(Domain):  # type: ignore[misc]
    """The words of all pages: a page asks for hundreds, each of the request's language."""

    def get_translations(self) -> Any:
        locale = get_locale()
        if locale is None or locale.language not in self.cache:
            found = super().get_translations()
            if locale is not None:
                self.cache[locale.language] = found
            return found
        return self.cache[locale.language]


def _select() -> str:
    chosen = session.get("language") if request else None
    return chosen if chosen in LANGUAGES else LANGUAGES[0]


def init_app(app: Flask, time_zone: str, home: Path) -> Path:
    """Bind Flask-Babel and the words of all forms; return the folder of the catalogues."""
    folder = compiled(home)
    babel.init_app(
        app,
        default_locale=LANGUAGES[0],
        default_timezone=time_zone,
        locale_selector=_select,
        default_translation_directories=str(folder),
    )
    babel.domain_instance = _Words()
    import flask_admin.babel

    words = Domain(str(folder), domain="wtforms")
    flask_admin.babel.wtforms_domain = words
    app.extensions["simpul_form_words"] = words
    return folder


# Parameters that count something; a port, a status or a page is no quantity.
_QUANTITIES = frozenset(
    {"n", "known", "total", "rows", "bytes", "limit", "length", "inserted", "changed", "unchanged",
     "vanished", "written", "counted"}
)  # fmt: skip


# What people or services wrote: a field that is called "source" is not to be translated.
_AS_WRITTEN = frozenset(
    {"name", "host", "pair", "path", "p", "line", "cron", "role", "table", "what"}
)


def _filler(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return say(value["message"], value["params"])
    if isinstance(value, str) and value and name not in _AS_WRITTEN:
        return gettext(value)
    if name in _QUANTITIES and isinstance(value, int):
        return format_decimal(value)
    return value


def say(message: str, params: Mapping[str, Any] | None = None) -> str:
    """Translate a stored message id and fill it; one that does not fit is shown bare.

    What fills it may be a message id too: the name of a type, a reason; or a sentence with
    its own ``message`` and ``params``.
    """
    text: str = gettext(message) if message else ""
    if not params:
        return text.replace("%%", "%")
    try:
        return text % {name: _filler(name, value) for name, value in params.items()}
    except (KeyError, TypeError, ValueError):
        return text
