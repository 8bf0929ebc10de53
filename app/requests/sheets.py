"""A document on its page: what stands there, what was typed, what somebody else saved meanwhile."""

from flask import request
from flask_babel import gettext
from sqlalchemy.orm import Session

from app.requests import writing
from app.requests.documents import DOCUMENTS, DocumentKind
from app.requests.fields import Field, Form, Values, flat_text, missing, read
from app.requests.models import Document, IntegrationRequest
from app.web import merging


class Sheet:
    """A document as its page shows it: what stands there, or what was typed."""

    def __init__(self, kind: DocumentKind, document: Document | None) -> None:
        self.kind, self.form, self.document = kind, DOCUMENTS[kind], document
        self.values: Values = document.content if document else {}
        self.problems = writing.malformed(kind, self.values)
        self.status = 200
        self.desk = self._desk(merging.sent())

    def _desk(self, posted: str | None) -> merging.Desk:
        name = merging.name_of(self.document) if self.document else f"new:{self.kind}"
        version = self.document.row_version if self.document else 0
        return merging.Desk(
            name, version, _listed(self.form, self.values), _Fields(self.form), posted
        )

    @property
    def missing(self) -> set[str]:
        """The paths of required fields that are empty."""
        return {place.path for place in missing(self.form, self.values)}

    @property
    def remarks(self) -> dict[str, str]:
        return self.document.remarks if self.document else {}

    def take(self, session: Session, case: IntegrationRequest) -> bool:
        """Keep what was sent; False when somebody else saved meanwhile, and both are shown."""
        typed, _problems = read(self.form, request.form)
        mine = _listed(self.form, typed)
        for name, value in self.desk.taken().items():
            mine.pop(name, None)
            if value:
                mine[name] = value
        if not self.desk.may_save(mine):
            self._show(self.desk.merged)
            self.status = 409
            return False
        values, _problems = read(
            self.form, {name: each[0] for name, each in mine.items()}
        )
        writing.write_document(session, case, self.kind, values)
        return True

    def _show(self, merged: dict[str, list[str]]) -> None:
        sent = {name: each[0] for name, each in merged.items() if each}
        self.values, self.problems = read(self.form, sent)


def _listed(form: Form, values: Values) -> dict[str, list[str]]:
    return {path: [text] for path, text in flat_text(form, values).items()}


class _Fields(merging.Fields):
    """The fields of a document on the merge screen."""

    def __init__(self, form: Form) -> None:
        self._parts = {part.name: part for part in form.parts if part.is_many}
        self._single = {
            each.name: each for p in form.parts if not p.is_many for each in p.fields
        }

    def _field(self, name: str) -> Field:
        if name in self._single:
            return self._single[name]
        part_name, _number, field_name = name.split("-", 2)
        fields = self._parts[part_name].fields
        return next(each for each in fields if each.name == field_name)

    def label(self, name: str) -> str:
        label = str(gettext(self._field(name).label))
        if name in self._single:
            return label
        part_name, number, _field_name = name.split("-", 2)
        return f"{gettext(self._parts[part_name].row)} {int(number) + 1}: {label}"

    def words(self, name: str, value: list[str] | None) -> str:
        text = "\n".join(value or ()) or "–"
        choices = self._field(name).choices
        return str(gettext(choices[text])) if choices and text in choices else text
