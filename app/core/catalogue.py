"""Sentences in a person's language, where there is no request that says which."""

from functools import cache
from pathlib import Path

from babel.support import NullTranslations, Translations

ENGLISH = "en"  # the language of the message ids


def said_in(language: str, message: str, folder: Path) -> str:
    """Return a message in a language; ``folder`` holds the compiled catalogues."""
    if not message or language == ENGLISH:
        return message
    found: str = _catalogue(folder, language).gettext(message)
    return found


@cache
def _catalogue(folder: Path, language: str) -> NullTranslations:
    return Translations.load(str(folder), [language])
