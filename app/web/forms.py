"""The base of our own forms: what WTForms says in the reader's language, how files are called."""

from typing import Any

from flask import current_app
from flask_wtf import FlaskForm


class _Words:
    """WTForms' sentences out of our catalogue; its own has no Indonesian."""

    def gettext(self, text: str) -> str:
        said: str = current_app.extensions["simpul_form_words"].gettext(text)
        return said

    def ngettext(self, singular: str, plural: str, n: int) -> str:
        """Return the sentence with its gaps: WTForms fills them, a domain's own way would too."""
        words = current_app.extensions["simpul_form_words"].get_translations()
        said: str = words.ngettext(singular, plural, n)
        return said


class Form(FlaskForm):  # type: ignore[misc]
    """A form with a token, whose refusals are in the reader's language."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def get_translations(self, form: Any) -> _Words:
            del form
            return _Words()


def plain_name(name: str) -> str:
    """Return the last part of a file's name, without what a system could stumble over."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return (
        "".join(sign for sign in last if sign.isprintable() and sign not in '"<>|:*?')[
            :120
        ]
        or "file"
    )
