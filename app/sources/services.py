"""Everything that changes sources."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.connectors.addresses import ApprovedHosts, parse_url
from app.connectors.registry import connector_for
from app.contracts.models import Contract
from app.contracts.states import LoadMode
from app.core import db
from app.core.errors import SimpulError
from app.runs.errors import ReasonMissingError
from app.sources.errors import (
    AddressChangedError,
    PlainSecretError,
    SnapshotTakenError,
    SourceInvalidError,
)
from app.sources.models import Source

_SECRET_NAME = re.compile(
    r"^cookie$|authori[sz]ation|(^|[-_.])(auth|pwd|sandi)$"
    r"|(api|access|private|secret|subscription)[-_.]?key|^(key|kunci)$"
    r"|token|secret|password|passwd|signature",
    re.IGNORECASE,
)


def host_of(source: Source) -> str:
    """Return the exact host:port that this source's requests go to."""
    target = parse_url(str(source.settings.get("base_url", "")))
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def is_approved(source: Source, office_list: Sequence[str]) -> bool:
    """Tell whether requests may go to the source's address."""
    try:
        pairs = ApprovedHosts([*office_list, *filter(None, [source.approved_host])])
        pairs.target(str(source.settings.get("base_url", "")))
    except SimpulError:
        return False
    return True


def save_source(
    session: Session, source: Source, settings: Mapping[str, Any], *, secret: str
) -> None:
    """Check a new or changed source and write it. An empty secret keeps the one there is.

    A changed address loses its approval. Raises ``SourceInvalidError`` with the reason,
    ``PlainSecretError``, or ``SnapshotTakenError``.
    """
    plain = {name: value for name, value in settings.items() if value not in ("", None)}
    if secret:
        source.secret = secret
    _refuse_plain_secrets(plain)
    source.settings = plain
    _require_sound(source)
    if source.approved_host and source.approved_host != host_of(source):
        source.approved_host = ""
    if source.contract.load_mode is LoadMode.SNAPSHOT:
        _require_only(session, source)
    source.agency_id = source.contract.agency_id
    session.add(source)


def _refuse_plain_secrets(settings: Mapping[str, Any]) -> None:
    """Keep keys out of settings: those stand on pages and in the audit trail."""
    address = urlsplit(str(settings.get("base_url", "")))
    names = [
        *settings.get("headers", {}),
        *settings.get("query", {}),
        *(name for name, _ in parse_qsl(address.query, keep_blank_values=True)),
    ]
    for name in names:
        if _SECRET_NAME.search(name):
            raise PlainSecretError(name)


def _require_sound(source: Source) -> None:
    """Make the connector as a pull would; nothing is requested by that."""
    try:
        own = [host_of(source)]
        secrets = {"auth_secret": source.secret or ""}
        connector_for(source.kind, source.settings, secrets, ApprovedHosts(own))
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


def approve_host(session: Session, source: Source, host: str, reason: str) -> None:
    """Let requests go to ``host``, the host:port that the approver saw on the page.

    Raises ``AddressChangedError`` when the source leads elsewhere by now, and
    ``ReasonMissingError``; the audit names the approval with its reason.
    """
    if not reason:
        raise ReasonMissingError
    if host != host_of(source):
        raise AddressChangedError(host_of(source))
    db.because(session, reason)
    source.approved_host = host
    session.add(source)
