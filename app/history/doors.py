"""How each kind of object is put back: through the form or the service that edits it.

There is no other way in: what a person could not type, the history cannot bring back. So
validations, rules of services, the permission to write, the scope and the database's own
policies hold for it as for any edit.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import orm
from werkzeug.datastructures import MultiDict

from app.audit.recorder import CENSORED, as_json
from app.contracts import drafts, services as contract_services
from app.contracts.errors import NotDraftError
from app.contracts.fields import FieldSpec
from app.contracts.models import ContractField, ContractVersion
from app.contracts.states import VersionStatus
from app.core.policy import Permission
from app.core.scope import NotFoundError, get_visible
from app.core.words import message_id
from app.history import words
from app.history.errors import NotRevertableError
from app.identity.models import Role
from app.sources import services as source_services
from app.sources.models import Source
from app.web import merging
from app.web.guard import principal_now

SECRET = message_id("A secret is not kept in the trail: type it in anew.")
APPROVAL = message_id("An approval is the word of a second person: it is given anew.")
FOLLOWS = message_id("It follows from other changes and is not put back by hand.")
RESTS = message_id("On its own page it is let to work again, together with its schedule.")
UNFIT = message_id("A value of then does not fit any more: change it by hand.")
GONE = message_id("It does not exist any more.")


class Door:
    """One kind of object: what of it may be put back, and how."""

    write: Permission

    model: Any

    def find(self, session: orm.Session, ident: str, *, lock: bool) -> Any:
        """Return the object as it is now, and with ``lock`` stays; None when it is gone."""
        try:
            found: Any = get_visible(session, self.model, ident, principal_now())
        except NotFoundError:
            return None
        if lock:
            session.refresh(found, with_for_update={"of": self.model})
        return found

    def refusal(self, obj: Any) -> str:
        """Return why nothing of the object may be put back, "" when it may."""
        del obj
        return ""

    def why_not(self, name: str, before: Any, others: frozenset[str]) -> str:
        """Return why one field is not put back, "" when it may be.

        ``others``: all names that were changed with it.
        """
        raise NotImplementedError

    def now(self, obj: Any, name: str) -> Any:
        """Return a field's value as the trail would write it now."""
        return as_json(getattr(obj, name, None))  # None: of a former version

    def put_back(self, session: orm.Session, obj: Any, values: Mapping[str, Any]) -> None:
        """Write former values; raises ``RejectedError`` for what the rules forbid."""
        raise NotImplementedError


def door_of(table: str) -> Door | None:
    """Return how objects of a table are put back, None when they are not."""
    if table in _OWN:
        return _OWN[table]
    view = words.view_of(table)
    return ViewDoor(view) if view is not None and view.write is not None else None


class ViewDoor(Door):
    """Objects with a form of Flask-Admin: put back by sending that form."""

    def __init__(self, view: Any) -> None:
        self._view = view
        self.model = view.model
        self.write = view.write

    def why_not(self, name: str, before: Any, others: frozenset[str]) -> str:
        del others
        if before == CENSORED or self._is_secret(name):
            return SECRET
        return "" if self._in_form(name) else FOLLOWS

    def _is_secret(self, name: str) -> bool:
        column = sa.inspect(self._view.model).columns.get(name)
        return column is not None and bool(column.info.get("secret"))

    def _in_form(self, name: str) -> bool:
        relation = self._relation(name)
        names = {name, self._view.form_stands_for.get(name), relation and relation.key}
        return bool(names & set(self._view.form_columns))

    def _relation(self, name: str) -> Any:
        """Return the relationship that a foreign key stands for."""
        mapper = sa.inspect(self._view.model)
        for relation in mapper.relationships:
            if name in {column.key for column in relation.local_columns} and name != "id":
                return relation
        return None

    def now(self, obj: Any, name: str) -> Any:
        value = getattr(obj, name, None)
        if name in sa.inspect(self._view.model).relationships:
            return sorted(str(each) for each in value or ())
        return CENSORED if value and self._is_secret(name) else as_json(value)

    def put_back(self, session: orm.Session, obj: Any, values: Mapping[str, Any]) -> None:
        with session.no_autoflush:
            for name, value in values.items():
                self._set(session, obj, name, value)
            standing = self._view.standing_form(obj)
            data: MultiDict[str, str] = MultiDict()
            for name, sent in merging.values_of(standing).items():
                data.setlist(name, sent)
        form = self._view.edit_form(obj, data)
        if not form.validate():
            raise NotRevertableError(" ".join(_errors(form)))
        form.populate_obj(obj)
        self._view.on_model_change(form, obj, False)
        session.flush()

    def _set(self, session: orm.Session, obj: Any, name: str, value: Any) -> None:
        relation = self._relation(name)
        if name == "roles":
            obj.roles = _roles(session, value)
        elif relation is not None:
            target = relation.mapper.class_
            found = (
                get_visible(session, target, value, principal_now()) if value else None
            )
            setattr(obj, relation.key, found)
        else:
            setattr(obj, name, _former(type(obj), name, value))


def _errors(form: Any) -> list[str]:
    return [f"{each.label.text}: {' '.join(each.errors)}" for each in form if each.errors]


def _roles(session: orm.Session, labels: list[str]) -> list[Role]:
    """Return roles by what the trail calls them."""
    found = session.scalars(sa.select(Role).where(Role.label.in_(labels))).all()
    if sorted(role.label for role in found) != sorted(labels):
        raise NotRevertableError("One of the roles is not there any more.")
    return list(found)


def from_json(model: Any, name: str, value: Any) -> Any:
    """Return a value out of the trail as the column has it."""
    kind = model.__table__.columns[name].type
    if value is None or isinstance(kind, sa.ARRAY | sa.JSON):
        return value
    if isinstance(kind, sa.Enum) and kind.enum_class is not None:
        return kind.enum_class(value)
    return msgspec.convert(value, kind.python_type, strict=False)


def _former(model: Any, name: str, value: Any) -> Any:
    try:
        return from_json(model, name, value)
    except (ValueError, msgspec.ValidationError):
        raise NotRevertableError(UNFIT) from None


class SourceDoor(Door):
    """Sources: put back by the service that saves their form."""

    model = Source
    write = Permission.SOURCE_WRITE
    _PLAIN = frozenset({"name", "enabled", "max_failures"})
    _APPROVALS = frozenset(
        {"approved_host", "approved_by_id", "approved_by", "approved_at", "settled_by_ids",
         "settled_at", "plain_until", "plain_reason"}
    )  # fmt: skip

    def why_not(self, name: str, before: Any, others: frozenset[str]) -> str:
        del before
        if name == "secrets":
            return SECRET
        if name in self._APPROVALS:
            return APPROVAL
        if name in {"enabled", "pause"} and "pause" in others:
            return RESTS
        is_setting = name.startswith("settings.")
        return "" if is_setting or name in self._PLAIN else FOLLOWS

    def now(self, obj: Source, name: str) -> Any:
        field, _dot, part = name.partition(".")
        value = as_json(getattr(obj, field, None))
        return value.get(part) if part else value

    def put_back(
        self, session: orm.Session, obj: Source, values: Mapping[str, Any]
    ) -> None:
        settings = dict(obj.settings)
        for name, value in values.items():
            field, _dot, part = name.partition(".")
            if part:
                settings[part] = value
            else:
                setattr(obj, field, _former(Source, field, value))
        source_services.save_source(session, obj, settings, secrets={})
        session.flush()


class LimitsDoor(Door):
    """The limits of a draft."""

    model = ContractVersion
    write = Permission.CONTRACT_WRITE

    def refusal(self, obj: ContractVersion) -> str:
        return _unless_draft(obj)

    def why_not(self, name: str, before: Any, others: frozenset[str]) -> str:
        del before, others
        return "" if name in drafts.LIMITS else FOLLOWS

    def put_back(
        self, session: orm.Session, obj: ContractVersion, values: Mapping[str, Any]
    ) -> None:
        _require_draft(session, obj)
        for name, value in values.items():
            setattr(obj, name, _former(ContractVersion, name, value))
        session.flush()


class FieldDoor(Door):
    """A field of a draft. ``WHOLE`` stands for the field itself, made or taken away."""

    model = ContractField
    write = Permission.CONTRACT_WRITE

    def refusal(self, obj: ContractField) -> str:
        session = orm.object_session(obj)
        version = _version(session, str(obj.version_id)) if session else None
        return _unless_draft(version) if version is not None else GONE

    def why_not(self, name: str, before: Any, others: frozenset[str]) -> str:
        del before, others
        return "" if name in {*drafts.COLUMNS, WHOLE} else FOLLOWS

    def put_back(
        self, session: orm.Session, obj: ContractField, values: Mapping[str, Any]
    ) -> None:
        version = _version(session, str(obj.version_id))
        if version is None:
            raise NotRevertableError(GONE)
        _require_draft(session, version)
        former = obj.name
        spec = msgspec.to_builtins(obj.spec()) | dict(values)
        specs = [_spec(spec) if each.name == former else each for each in version.specs()]
        contract_services.save_fields(session, version, specs)


WHOLE = "*"


def drop_field(session: orm.Session, field: ContractField) -> None:
    """Take a field away that was added; raises ``NotDraftError``."""
    version = session.get_one(ContractVersion, field.version_id)
    _require_draft(session, version)
    specs = [each for each in version.specs() if each.name != field.name]
    contract_services.save_fields(session, version, specs)


def bring_field(session: orm.Session, values: Mapping[str, Any]) -> None:
    """Bring a field back that was taken away, to its place; raises ``NotDraftError``."""
    version = _version(session, str(values.get("version_id")))
    if version is None:
        raise NotRevertableError(GONE)
    _require_draft(session, version)
    spec, specs = _spec(values), list(version.specs())
    specs.insert(min(int(values.get("position") or 0), len(specs)), spec)
    contract_services.save_fields(session, version, specs)


def standing_field(session: orm.Session, values: Mapping[str, Any]) -> bool:
    """Tell whether a field of this name stands in the version that a lost one was of."""
    version = _version(session, str(values.get("version_id")))
    names = {each.name for each in version.fields} if version is not None else set()
    return values.get("name") in names


def version_refusal(session: orm.Session, ident: Any) -> str:
    version = _version(session, str(ident))
    return _unless_draft(version) if version is not None else GONE


def _spec(values: Mapping[str, Any]) -> FieldSpec:
    known = {n: v for n, v in values.items() if n in FieldSpec.__struct_fields__}
    known["required"] = bool(known.get("required") or known.get("is_key"))
    try:
        return msgspec.convert(known, FieldSpec, strict=False)
    except msgspec.ValidationError:
        raise NotRevertableError(UNFIT) from None


def _version(session: orm.Session, ident: str) -> ContractVersion | None:
    try:
        return get_visible(session, ContractVersion, ident, principal_now())
    except NotFoundError:
        return None


def _unless_draft(version: ContractVersion) -> str:
    return "" if version.status is VersionStatus.DRAFT else NotDraftError().message


def _require_draft(session: orm.Session, version: ContractVersion) -> None:
    session.flush()
    if not contract_services.lock_draft(session, version):
        raise NotDraftError


_OWN: Mapping[str, Door] = {
    "source": SourceDoor(),
    "contract_version": LimitsDoor(),
    "contract_field": FieldDoor(),
}
