"""Everything that changes sources."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.connectors.addresses import (
    ApprovedHosts,
    canonical_host,
    forbidden_because,
    parse_url,
)
from app.connectors.registry import connector_for, settings_of
from app.contracts.models import Contract
from app.contracts.states import LoadMode
from app.core import db
from app.core.errors import SimpulError
from app.core.policy import Permission, acting_principal
from app.core.words import message_id
from app.identity.models import Role
from app.notifications import notices
from app.notifications.states import NoticeKind
from app.runs.errors import ReasonMissingError
from app.runs.kinds import KindName
from app.runs.models import JobRun
from app.runs.services import ring
from app.runs.states import RunStatus
from app.sources.errors import (
    AddressChangedError,
    NoSampleError,
    NotConfirmedError,
    PlainSecretError,
    PlainTooLongError,
    SamePersonError,
    SnapshotIncrementalError,
    SnapshotTakenError,
    SourceInvalidError,
)
from app.sources.models import Host, Source

Secrets = Mapping[str, str]
_NOTHING: tuple[Any, ...] = ("", None)
MAX_PLAIN = timedelta(days=366)
_SECRET_NAME = re.compile(
    r"^cookie$|authori[sz]ation|(^|[-_.])(auth|pwd|sandi)$"
    r"|(api|access|private|secret|subscription)[-_.]?key|^(key|kunci)$"
    r"|token|secret|password|passwd|signature",
    re.IGNORECASE,
)


# What an approval is about: where requests go, and what is shown there.
_APPROVED_OF = re.compile(r"^(base_url|auth|also|proxy|pin_sha256|extra_ca_pem)")
# What decides which records a mark stands for.
_MARKED_OF = re.compile(r"^(base_url|since_|until_|window|query|body|rows_path)")


def hosts_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the exact host:port pairs that requests with these settings go to.

    Raises the connectors' errors for an address that cannot be read.
    """
    addresses = settings_of(settings).addresses()
    return tuple(dict.fromkeys(parse_url(each).pair_name for each in addresses))


def asked_pairs(source: Source) -> tuple[str, ...]:
    """Return the pairs whose limits a pull keeps to: the service's and its tokens'."""
    addresses = settings_of(source.settings).asked()
    return tuple(dict.fromkeys(parse_url(each).pair_name for each in addresses))


def approvable(source: Source) -> str:
    """Return the pairs of a source as an approval names them; "" when they are unreadable."""
    try:
        return " ".join(hosts_of(source.settings))
    except SimpulError:
        return ""


def is_approved(source: Source, office_list: Sequence[str]) -> bool:
    """Tell whether requests may go to each of the source's addresses."""
    try:
        pairs = ApprovedHosts([*office_list, *source.approved_host.split()])
        for address in settings_of(source.settings).addresses():
            pairs.target(address)
    except SimpulError:
        return False
    return True


def open_pairs(settings: Mapping[str, Any], office_list: Sequence[str]) -> list[str]:
    """Return the pairs that are asked without encryption, beside those of the office."""
    try:
        office = ApprovedHosts(office_list)
        targets = [parse_url(url) for url in settings_of(settings).addresses()]
    except SimpulError:
        return []
    return [
        each.pair_name
        for each in targets
        if each.scheme == "http" and each.pair not in office
    ]


def plain_risk(source: Source, office_list: Sequence[str], today: date) -> str:
    """Return "", "excepted", "expired" or "refused": what asking without encryption is."""
    if not open_pairs(source.settings, office_list):
        return ""
    if source.plain_until is None:
        return "refused"
    return "excepted" if source.plain_until >= today else "expired"


def save_source(
    session: Session, source: Source, settings: Mapping[str, Any], *, secrets: Secrets
) -> None:
    """Check a new or changed source and write it. A secret that is not given stays.

    A changed address or way of signing in loses the approval, and one that is asked without
    encryption the exception for that. Raises ``SourceInvalidError``
    with the reason, ``PlainSecretError``, ``SnapshotTakenError`` or
    ``SnapshotIncrementalError``.
    """
    plain = {name: value for name, value in settings.items() if value not in _NOTHING}
    given = {name: value for name, value in secrets.items() if value}
    lock_source(session, source)
    before = source.settings or {}
    refuse_plain_secrets(plain)
    source.secrets = {**(source.secrets or {}), **given}
    source.settings = plain
    _require_sound(source)
    if given or _differ(before, plain, _APPROVED_OF):
        _lose_approval(session, source)
    if set(open_pairs(plain, ())) - set(open_pairs(before, ())):
        source.plain_until, source.plain_reason = None, ""
    if _differ(before, plain, _MARKED_OF):
        source.mark = None
    if source.contract.load_mode is LoadMode.SNAPSHOT:
        if plain.get("since_param"):
            raise SnapshotIncrementalError
        _require_only(session, source)
    source.agency_id = source.contract.agency_id
    session.add(source)


def ask_for_approval(session: Session, source: Source) -> None:
    """Tell who may approve addresses that this one waits for it."""
    notices.tell(
        session,
        NoticeKind.APPROVAL_ASKED,
        message_id("The source %(name)s waits for the approval of its address."),
        {"name": source.name},
        path=f"/pulls/source/{source.id}",
        agency_id=source.agency_id,
    )


def _differ(
    before: Mapping[str, Any], after: Mapping[str, Any], names: re.Pattern[str]
) -> bool:
    return any(
        before.get(name) != after.get(name)
        for name in {*before, *after}
        if names.match(name)
    )


def _lose_approval(session: Session, source: Source) -> None:
    """Begin anew to count who changed something when that before was approved."""
    before = [] if source.approved_host else list(source.settled_by_ids or [])
    source.approved_host, source.approved_by = "", ""
    source.approved_by_id = source.approved_at = None
    who = acting_principal().user_id
    new = [who] if who is not None and who not in before else []
    source.settled_by_ids = [*before, *new]
    with session.no_autoflush:  # a new source is not whole yet
        source.settled_at = db.now(session)


def refuse_plain_secrets(settings: Mapping[str, Any]) -> None:
    """Keep keys out of settings: those stand on pages and in the audit trail."""
    address = urlsplit(str(settings.get("base_url", "")))
    pairs = [
        *settings.get("headers", {}).items(),
        *settings.get("query", {}).items(),
        *settings.get("auth_fields", {}).items(),
        *settings.get("also_fields", {}).items(),
        *_leaves(settings.get("body", {})),
        *parse_qsl(address.query, keep_blank_values=True),
    ]
    for name, value in pairs:
        if _SECRET_NAME.search(name) and "{key}" not in str(value):
            raise PlainSecretError(name)


def _leaves(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield name, value


def _require_sound(source: Source) -> None:
    """Make the connector as a pull would; nothing is requested by that."""
    try:
        own = ApprovedHosts(hosts_of(source.settings))
        connector_for(source.kind, source.settings, source.secrets or {}, own)
    except SimpulError as error:
        raise SourceInvalidError(error) from error


def _require_only(session: Session, source: Source) -> None:
    with session.no_autoflush:
        # Two sources made at the same moment would not see each other.
        session.execute(
            sa.select(Contract.id)
            .where(Contract.id == source.contract.id)
            .with_for_update()
        )
        other = session.scalar(
            sa.select(Source.id).where(
                Source.contract_id == source.contract.id, Source.id != source.id
            )
        )
    if other is not None:
        raise SnapshotTakenError


def seen_of(source: Source) -> str:
    """Return what tells the state that an approver looks at from any later one."""
    return source.settled_at.isoformat() if source.settled_at else ""


def lock_source(session: Session, source: Source) -> None:
    """Have the source as it is now, and keep it so: two decisions must know of each other."""
    if sa.inspect(source).persistent:
        session.refresh(source, with_for_update={"of": Source})


def _require_second(session: Session, source: Source, seen: str) -> None:
    """Let only who changed nothing decide, and only on what they saw."""
    lock_source(session, source)
    if seen != seen_of(source):
        raise AddressChangedError(approvable(source))
    principal = acting_principal()
    if principal.user_id is not None and principal.user_id in source.settled_by_ids:
        raise SamePersonError


def approve_host(
    session: Session, source: Source, hosts: str, reason: str, *, seen: str
) -> None:
    """Let requests go to ``hosts``, the host:port pairs that the approver saw on the page.

    ``seen`` is ``seen_of`` that page's source. Raises ``AddressChangedError`` when address
    or signing in are others by now, ``SamePersonError`` for who changed them since the last
    approval, and ``ReasonMissingError``; the audit names the approval with its reason.
    """
    if not reason:
        raise ReasonMissingError
    _require_second(session, source, seen)
    if hosts != approvable(source) or not hosts:
        raise AddressChangedError(approvable(source))
    for pair in hosts.split():
        require_approvable(pair)
    principal = acting_principal()
    db.because(session, reason)
    source.approved_host = hosts
    source.approved_by_id, source.approved_by = principal.user_id, principal.label
    source.approved_at = db.now(session)
    session.add(source)


def approvers(session: Session) -> list[str]:
    """Return the roles whose people may approve addresses, as they are called."""
    may = sa.literal(Permission.SOURCE_APPROVE.value) == sa.any_(Role.permissions)
    return list(session.scalars(sa.select(Role.label).where(may).order_by(Role.label)))


def require_approvable(pair: str) -> None:
    """Raise ``NotConfirmedError`` for an address nobody but the operator may allow.

    This machine itself (its database listens there), link-local and metadata addresses.
    """
    host = pair.rpartition(":")[0]
    literal = canonical_host(host)[1]
    why = forbidden_because(literal) if literal is not None else None
    if why is not None:
        raise NotConfirmedError(pair, why)


def except_plain(
    session: Session, source: Source, until: date | None, reason: str, *, seen: str
) -> None:
    """Let a source be asked without encryption until a day; None takes it back.

    Raises ``ReasonMissingError``, ``PlainTooLongError``, ``AddressChangedError`` or
    ``SamePersonError``: it is an approval like the address's.
    """
    if not reason:
        raise ReasonMissingError
    if until is not None:
        if until > db.now(session).date() + MAX_PLAIN:
            raise PlainTooLongError
        _require_second(session, source, seen)
    db.because(session, reason)
    source.plain_until, source.plain_reason = until, reason if until else ""
    session.add(source)


def lift_rest(session: Session, host: Host, reason: str) -> None:
    """End a host's rest before its time, and wake the pulls that wait for it.

    Raises ``ReasonMissingError``: who lifts it says why.
    """
    if not reason:
        raise ReasonMissingError
    session.refresh(host, with_for_update=True)
    db.because(session, reason)
    host.wait_until, host.wait_code, host.failure_count = None, "", 0
    waiting = session.scalars(
        sa.select(JobRun).where(
            JobRun.kind == KindName.PULL,
            JobRun.status == RunStatus.QUEUED,
            JobRun.not_before > sa.func.clock_timestamp(),
        )
    )
    runs = [run.id for run in waiting if host.pair in _pairs_of(session, run)]
    session.execute(
        sa.update(JobRun)
        .where(JobRun.id.in_(runs), JobRun.status == RunStatus.QUEUED)
        .values(not_before=sa.func.clock_timestamp(), rung_at=None)
        .execution_options(audited=True, synchronize_session=False)
    )
    ring(session)


def _pairs_of(session: Session, run: JobRun) -> tuple[str, ...]:
    source = session.get(Source, UUID(str(run.params["source_id"])))
    try:
        return asked_pairs(source) if source else ()
    except SimpulError:
        return ()  # its settings name no address; the run will say so


def forget_mark(session: Session, source: Source, reason: str) -> None:
    """Let the next pull ask for everything once more; raises ``ReasonMissingError``."""
    if not reason:
        raise ReasonMissingError
    db.because(session, reason)
    source.mark = None
    session.add(source)


def require_readable(source: Source) -> None:
    """Raise ``SourceInvalidError`` when the stored settings name no address."""
    try:
        hosts_of(source.settings)
    except SimpulError as error:
        raise SourceInvalidError(error) from error


def no_sample() -> NoSampleError:
    """Return the refusal of a draft that has nothing to be made of."""
    return NoSampleError()
