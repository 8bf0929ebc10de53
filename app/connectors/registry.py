"""The kinds of service we can read, by name; a new kind is one line here."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.connectors import errors
from app.connectors.addresses import ApprovedHosts
from app.connectors.base import Connector, Param
from app.connectors.rest_json import RestJsonConnector
from app.connectors.settings import RestJsonSettings
from app.connectors.transport import Resolver, resolve

CONNECTORS: Mapping[str, type[Connector]] = {RestJsonConnector.kind: RestJsonConnector}


def params_of(kind: str) -> tuple[Param, ...]:
    """The settings of a kind, for the form; ``SourceSettingsError`` when unknown."""
    return _class_of(kind).params


def connector_for(
    kind: str,
    settings: Mapping[str, object],
    secrets: Mapping[str, str],
    approved: ApprovedHosts,
    *,
    resolver: Resolver = resolve,
    digest_salt: bytes = b"",
    since: str = "",
    before: Callable[[str], None] | None = None,
) -> Connector:
    """A connector ready to read, or ``SourceSettingsError`` / ``not_approved``.

    ``settings`` holds the values of the parameters that are no secret, ``secrets`` those
    that are. Nothing is requested yet; making one is also the check of a source at saving.
    ``before`` is told the host:port before each request.
    """
    _class_of(kind)
    return RestJsonConnector(
        settings_of(settings),
        approved=approved,
        secrets=secrets,
        resolver=resolver,
        digest_salt=digest_salt,
        since=since,
        before=before,
    )


def settings_of(settings: Mapping[str, object]) -> RestJsonSettings:
    """Stored settings, checked; ``SourceSettingsError`` says what does not fit."""
    try:
        return msgspec.convert(dict(settings), RestJsonSettings, strict=False)
    except msgspec.ValidationError as error:
        raise errors.SourceSettingsError(
            "The settings do not fit: %(problem)s", problem=str(error)
        ) from error


class ReadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to read a service, as plain data: it goes to another process.

    ``position`` is where to go on, ``digest_salt`` see ``base.digests_of``, ``since`` the
    mark from which a service is asked what changed. ``paced`` names the host:port pairs
    that are asked no faster than somebody else says, ``intranet`` those that may not lie in
    the public internet.
    """

    kind: str
    settings: dict[str, Any]
    secrets: dict[str, str]
    approved_hosts: list[str]
    digest_salt: bytes = b""
    position: dict[str, Any] | None = None
    since: str = ""
    paced: list[str] = []
    intranet: list[str] = []


def connector_for_order(
    order: ReadOrder, before: Callable[[str], None] | None = None
) -> Connector:
    return connector_for(
        order.kind,
        order.settings,
        order.secrets,
        ApprovedHosts(order.approved_hosts, order.intranet),
        digest_salt=order.digest_salt,
        since=order.since,
        before=before,
    )


def _class_of(kind: str) -> type[Connector]:
    try:
        return CONNECTORS[kind]
    except KeyError:
        raise errors.SourceSettingsError(
            "There is no kind of service named %(kind)s", kind=kind
        ) from None
