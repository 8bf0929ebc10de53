"""Looking at a service before it is saved: who may go where, and what a sample proposes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.audit import recorder
from app.connectors.addresses import ApprovedHosts, canonical_host
from app.connectors.looking import Look, LookOrder, look_apart
from app.connectors.registry import settings_of
from app.connectors.sampling import FoundField
from app.connectors.settings import RestJsonSettings
from app.contracts.fields import FieldSpec
from app.contracts.states import Classification, FieldType
from app.core import crypto
from app.core.errors import SimpulError
from app.core.policy import acting_principal
from app.core.sql import MAX_NAME_LENGTH
from app.core.words import message_id
from app.sources.errors import NotConfirmedError, OutsideSourceError
from app.sources.models import Host, Source
from app.sources.services import hosts_of, open_pairs, require_approvable

KEEP_SECONDS = 3_600


def sealed(secrets: Mapping[str, str], settings: Mapping[str, Any]) -> str:
    """Keys that were typed in, closed up for the next step of the same person's form."""
    if not secrets:
        return ""
    user = str(acting_principal().user_id)
    content = {"user": user, "hosts": hosts_of(settings), "secrets": dict(secrets)}
    return crypto.seal(msgspec.json.encode(content).decode())


def unsealed(token: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The keys of an earlier step; none for another person or another address."""
    opened = crypto.unseal(token, KEEP_SECONDS) if token else None
    if opened is None:
        return {}
    content = msgspec.json.decode(opened)
    is_own = content["user"] == str(acting_principal().user_id)
    if not is_own or not set(_hosts_or_none(settings)) <= set(content["hosts"]):
        return {}
    kept: dict[str, str] = content["secrets"]
    return kept


def _hosts_or_none(settings: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return hosts_of(settings)
    except SimpulError:
        return ("",)


def stored_secrets(source: Source | None, settings: Mapping[str, Any]) -> dict[str, str]:
    """A source's own keys, unless the settings would carry them to another host."""
    if source is None:
        return {}
    known = set(_hosts_or_none(source.settings))
    return dict(source.secrets or {}) if set(_hosts_or_none(settings)) <= known else {}


def to_confirm(
    settings: Mapping[str, Any], source: Source | None, office_list: Sequence[str]
) -> list[str]:
    """The pairs nobody has approved yet; raises what makes an address unusable."""
    approved = [*office_list, *(source.approved_host.split() if source else [])]
    known = ApprovedHosts(approved)
    missing = []
    for pair in hosts_of(settings):
        host, _, port = pair.rpartition(":")
        name = canonical_host(host)[0]
        if (name, int(port)) in known:
            continue
        require_approvable(pair)
        missing.append(pair)
    return missing


def look_at(
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    source: Source | None,
    *,
    office_list: Sequence[str],
    confirmed: Sequence[str] = (),
) -> Look:
    """Look at a service with settings as typed.

    Requests go to approved pairs, and to those the person has confirmed by their exact
    name. Raises ``NotConfirmedError`` for any other.
    """
    missing = to_confirm(settings, source, office_list)
    open_ones = [pair for pair in missing if pair not in confirmed]
    if open_ones:
        raise NotConfirmedError(open_ones[0], message_id("confirm the address first"))
    approved = [*office_list, *missing, *(source.approved_host.split() if source else [])]
    return _look_apart(settings, secrets, approved, office_list)


def _look_apart(
    settings: Mapping[str, Any],
    secrets: Mapping[str, str],
    approved: Sequence[str],
    office_list: Sequence[str],
) -> Look:
    plain = open_pairs(settings, office_list)
    order = LookOrder(dict(settings), dict(secrets), list(approved), intranet=plain)
    return look_apart(order)


# Settings that change how an answer is read, and nothing of what is asked but its size.
_READING = frozenset(
    {"rows_path", "total_path", "success_path", "success_value", "failure_path",
     "failure_text", "inner_path", "blank_is_empty", "page_size", "until_empty"}
)  # fmt: skip


def tried_otherwise(
    source: Source, settings: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Return the settings that differ from the saved ones: name, saved, tried."""
    saved, tried = settings_of(source.settings), settings_of(settings)
    names = [each.name for each in msgspec.structs.fields(RestJsonSettings)]
    pairs = [(name, getattr(saved, name), getattr(tried, name)) for name in names]
    return [(name, one, other) for name, one, other in pairs if one != other]


def keys_for(source: Source, settings: Mapping[str, Any]) -> dict[str, str]:
    """The office's keys, unless something else is asked than what was saved and approved.

    Whoever tries a source out must not aim them elsewhere: not at another path, query or
    header either, behind which a shared host may keep another agency's data.
    """
    changed = {name for name, _, _ in tried_otherwise(source, settings)}
    return dict(source.secrets or {}) if changed <= _READING else {}


def try_out(
    source: Source,
    settings: Mapping[str, Any],
    typed: Mapping[str, str],
    office_list: Sequence[str],
) -> Look:
    """Look at a source's service with settings as typed, and keys that the office may lend.

    Raises ``OutsideSourceError`` for another host than the saved ones, and
    ``NotConfirmedError`` for one that is not approved.
    """
    own = hosts_of(source.settings)
    outside = [pair for pair in hosts_of(settings) if pair not in own]
    if outside:
        raise OutsideSourceError(outside[0])
    missing = to_confirm(source.settings, source, office_list)
    if missing:
        raise NotConfirmedError(missing[0], message_id("the address is not approved yet"))
    secrets = {**keys_for(source, settings), **typed}
    return _look_apart(settings, secrets, own, office_list)


def record_look(
    session: Session, source: Source | None, settings: Mapping[str, Any]
) -> None:
    """Leave in the audit trail who looked where, and what was tried otherwise."""
    hosts = hosts_of(settings)
    after: dict[str, Any] = {"hosts": list(hosts)}
    if source is not None:
        after["changed"] = [name for name, _, _ in tried_otherwise(source, settings)]
        recorder.record(session, "preview", source, after=after)
        return
    values = {"pair": hosts[0], "per_second": 0, "at_once": 0, "note": "",
              "wait_code": "", "failure_count": 0}  # fmt: skip
    session.execute(
        insert(Host)
        .values(values)
        .on_conflict_do_nothing()
        .execution_options(audited=True)
    )
    host = session.scalars(sa.select(Host).where(Host.pair == hosts[0])).one()
    recorder.record(session, "preview", host, after=after)


# --- a contract out of a sample -------------------------------------------------------


def specs_from(fields: Sequence[FoundField]) -> list[FieldSpec]:
    """A draft's fields as the sample suggests them; what no type can take is left out."""
    taken: set[str] = set()
    return [_spec(each, _name(each.path, taken)) for each in fields if each.fits]


def _spec(found: FoundField, name: str) -> FieldSpec:
    kind = FieldType(found.type)
    is_person = found.is_personal
    return FieldSpec(
        name=name,
        source_path=found.path,
        label=_label(found.path),
        type=kind,
        required=found.is_key,
        is_key=found.is_key,
        allowed_values=tuple(found.choices) if not found.is_key else (),
        classification=Classification.PERSONAL if is_person else Classification.PUBLIC,
    )


def _name(path: str, taken: set[str]) -> str:
    """A column's name out of a path: small letters, digits and _."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path)
    base = re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
    base = base if base[:1].isalpha() else f"f_{base}"
    base = base[: MAX_NAME_LENGTH - 4].strip("_")
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    return name


def _label(path: str) -> str:
    last = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", path.replace(".", " "))
    words = re.sub(r"[_\-\s]+", " ", last).strip()
    return (words[:1].upper() + words[1:])[:200] or path


# --- a sample beside a contract -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of the contract or the sample. ``level``: good, warn or bad."""

    path: str
    level: str
    message: str
    wanted: str = ""
    found: str = ""


def compare(fields: Sequence[FoundField], specs: Sequence[FieldSpec]) -> list[Difference]:
    """Field by field: missing, of another type, empty though required, or extra."""
    found = {each.path: each for each in fields}
    lines = [_compared(spec, found.get(spec.source_path)) for spec in specs]
    wanted = {spec.source_path for spec in specs}
    lines += [
        Difference(
            each.path,
            "warn",
            message_id("not in the contract: it is left out"),
            found=each.type,
        )
        for each in fields
        if each.path not in wanted
    ]
    return lines


def _compared(spec: FieldSpec, found: FoundField | None) -> Difference:
    path, wanted = spec.source_path, spec.type.value
    if found is None:
        level = "bad" if spec.required else "warn"
        return Difference(path, level, message_id("missing in the answer"), wanted)
    if found.filled and wanted not in found.fits:
        return Difference(path, "bad", message_id("of another type"), wanted, found.type)
    if spec.required and found.empty:
        return Difference(
            path,
            "bad",
            message_id("required, and empty in some records"),
            wanted,
            found.type,
        )
    if not found.filled:
        return Difference(
            path, "warn", message_id("empty in every record of the sample"), wanted
        )
    return Difference(path, "good", message_id("fits"), wanted, found.type)
