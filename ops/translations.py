"""Keeps the Indonesian catalogue complete: ``python -m ops.translations`` lists what lacks.

Message ids are the English sentences in the code. Besides ``gettext`` and its kin, every
place that stores an id for later (errors, log lines, plan steps, field errors) counts.
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from ops.places import PROJECT

CATALOGUE = PROJECT / "app" / "translations" / "id" / "LC_MESSAGES" / "messages.po"
METHODS = [
    ("app/**.py", "python"),
    ("jobs/**.py", "python"),
    ("app/templates/**.html", "jinja2"),
]
# Libraries whose sentences people read: catalogue, package.
LIBRARIES = {
    "admin": "flask_admin", "wtforms": "wtforms", "flask_security": "flask_security",
}  # fmt: skip
# Callable -> which argument is a message id (counted from 1).
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "gettext": None,
    "lazy_gettext": None,
    "ngettext": (1, 2),
    "log": (1,),
    "log_in": (2,),
    "__init__": (1,),
    "FieldError": (3,),
    "Note": (2,),
    "blame": (2,),
    "_atom": (2,),
    "_value_atom": (2,),
    "Step": (2,),
    "Refusal": (1,),
    "Problem": (2,),
    "HeldError": (2,),
    "Kind": (2,),
    "Param": (2,),
    "Refused": (3,),
    "RejectedError": (1,),
    "BadAgreementError": (1,),
    "NotAnnouncedError": (1,),
    "BadGrantError": (1,),
    "BadComplaintError": (1,),
    "TransientError": (1,),
    "PermanentError": (1,),
    "PutOffError": (1,),
    "_said": (2,),
    "Said": (2,),
    "SourceSettingsError": (1,),
    "SourceUnavailableError": (1,),
    "SourceRefusedError": (1,),
    "SourceAnswerError": (1,),
    "BadScheduleError": (1,),
    "NotPullableError": (1,),
    "NotReturnableError": (1,),
    "NotRevertableError": (1,),
    "NotRestorableError": (1,),
    "NotReplayableError": (1,),
    "WeakPasswordError": (1,),
    "MemoryLimitError": (1,),
    "TimeLimitError": (1,),
    "DatabaseLostError": (1,),
    "DiskFullError": (1,),
    "ScarcityError": (1,),
    "InternalError": (1,),
    "UnfinishedError": (1,),
    "message_id": None,
}


def message_ids() -> set[str]:
    """Every message id that the code can show to a person."""
    return {text for text in _extracted() if text and not text.isspace()}


def _extracted() -> Iterator[str]:
    for _file, _line, message, _comments, _context in extract_from_dir(
        PROJECT,
        method_map=METHODS,
        keywords=KEYWORDS,
        directory_filter=lambda path: Path(path).name not in {".venv", "var", ".git"},
    ):
        yield from message if isinstance(message, tuple) else (message,)


def catalogue() -> Catalog:
    with CATALOGUE.open("rb") as file:
        return read_po(file, locale="id")


def untranslated() -> list[str]:
    """Message ids without an Indonesian sentence, one line each."""
    known = {message.id: message.string for message in catalogue() if message.id}
    return sorted(text for text in message_ids() if not known.get(text))


def misfilled() -> list[str]:
    """Translations whose ``%(name)s`` places are not those of their message id."""
    return [
        f"{message.id!r}: {error}"
        for message in catalogue()
        if message.id
        for error in message.check()
    ]


def unused() -> list[str]:
    """Sentences of the catalogue that nothing shows any more."""
    shown = message_ids()
    return sorted(str(m.id) for m in catalogue() if m.id and m.id not in shown)


def library_gaps() -> list[str]:
    """What of the libraries' own sentences lacks Indonesian, or is theirs no more."""
    gaps = []
    for domain, package in LIBRARIES.items():
        with CATALOGUE.with_name(f"{domain}.po").open("rb") as file:
            known = {
                _first(m.id) for m in read_po(file, locale="id") if m.id and m.string
            }
        theirs = set(_library_ids(package))
        gaps += [f"{package}: {text!r}" for text in sorted(theirs ^ known)]
    return gaps


def _library_ids(package: str) -> Iterator[str]:
    """Yield a library's sentences: out of its template of translations, else of its code."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(package)
    folder = Path(found.origin).parent
    template = next(folder.rglob("*.pot"), None)
    if template is not None:
        with template.open("rb") as file:
            yield from (_first(m.id) for m in read_po(file) if m.id)
        return
    methods = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
    words: dict[str, tuple[int, ...] | None] = {
        "gettext": None, "_": None, "lazy_gettext": None, "_gettext": None, "ngettext": (1, 2),
    }  # fmt: skip
    for each in extract_from_dir(folder, method_map=methods, keywords=words):
        yield _first(each[2])


def _first(text: str | tuple[str, ...] | list[str]) -> str:
    """Return the singular of a sentence that has a plural."""
    return text if isinstance(text, str) else text[0]


def update() -> None:
    """Write the catalogue anew: ids that are gone leave, new ones stand there empty."""
    known = {m.id: m.string for m in catalogue() if m.id} if CATALOGUE.exists() else {}
    fresh = Catalog(locale="id", project="Simpul", charset="utf-8", fuzzy=False)
    for text in sorted(message_ids()):
        flags = ("python-format",) if "%(" in text else ()
        fresh.add(text, known.get(text, ""), flags=flags)
    with CATALOGUE.open("wb") as file:
        write_po(file, fresh, width=100, omit_header=False, sort_output=True)


def main() -> int:
    if "--update" in sys.argv:
        update()
    problems = [
        *(f"untranslated: {text!r}" for text in untranslated()),
        *(f"unused: {text!r}" for text in unused()),
        *misfilled(),
        *library_gaps(),
    ]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
